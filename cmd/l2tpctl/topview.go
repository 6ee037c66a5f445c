package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/observe"
)

// topColumn is one column of a table of top.
type topColumn struct {
	head   string
	least  int  // width, also when it is narrowed
	narrow bool // it may be narrowed
	right  bool
	drop   int // where the table is too wide still, columns with the largest go first; 0: it stays
}

// topKeys are what the help shows.
var topKeys = []string{
	"s  sessions        t  tunnels",
	"c  why sessions have ended",
	"r  order by rate   a  by age",
	"n  by name         i  by id",
	"   the same again: the other way round",
	"/  filter: user, call, peer, id,",
	"   interface; Esc drops it",
	"Space  stop here, and go on",
	"arrows, PgUp, PgDn, Home  scroll",
	"?  this help       q  quit",
}

// rows is how many rows fit between the two lines above, the head of the table and the line below.
func (s topState) rows() int { return max(s.height-4, 1) }

// lay sets a table of cells, which are clean, in lines no wider than width; 0: as wide as it comes.
func lay(columns []topColumn, rows [][]string, width int) []string {
	wide := make([]int, len(columns))
	left := make([]bool, len(columns))
	for i, c := range columns {
		wide[i] = max(ansi.StringWidth(c.head), c.least)
		for _, r := range rows {
			wide[i] = max(wide[i], ansi.StringWidth(r[i]))
		}
	}
	gap := 2
	for width > 0 {
		sum, widest, last := -gap, -1, -1
		for i, c := range columns {
			if left[i] {
				continue
			}
			sum += wide[i] + gap
			if c.narrow && wide[i] > c.least && (widest < 0 || wide[i] > wide[widest]) {
				widest = i
			}
			if c.drop > 0 && (last < 0 || c.drop > columns[last].drop) {
				last = i
			}
		}
		if sum <= width {
			break
		}
		switch {
		case gap > 1:
			gap--
		case widest >= 0:
			wide[widest] -= min(sum-width, max(1, wide[widest]-columns[widest].least)/2+1)
			wide[widest] = max(wide[widest], columns[widest].least)
		case last >= 0:
			left[last] = true
		default:
			width = 0 // narrower it does not get: who shows it cuts it
		}
	}
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	lines := make([]string, 0, 1+len(rows))
	for _, r := range append([][]string{heads}, rows...) {
		var l strings.Builder
		for i, c := range columns {
			if left[i] {
				continue
			}
			cell := ansi.Truncate(r[i], wide[i], "…")
			pad := strings.Repeat(" ", wide[i]-ansi.StringWidth(cell))
			if c.right {
				cell, pad = pad+cell, ""
			}
			l.WriteString(cell + pad + strings.Repeat(" ", gap))
		}
		lines = append(lines, strings.TrimRight(l.String(), " "))
	}
	return lines
}

// bits is a rate as a person reads it.
func bits(r float64) string {
	units := []string{"bit", "kbit", "Mbit", "Gbit", "Tbit"}
	i := 0
	for r >= 999.5 && i < len(units)-1 {
		r /= 1000
		i++
	}
	digits := 0
	switch {
	case i == 0 || r >= 99.95:
	case r >= 9.995:
		digits = 1
	default:
		digits = 2
	}
	return strconv.FormatFloat(r, 'f', digits, 64) + units[i]
}

// rateCells are the cells of a rate.
func rateCells(r bitRate, ok bool) (rx, tx string) {
	if !ok {
		return "-", "-"
	}
	return bits(r.in), bits(r.out)
}

// cells cleans words, and has a dash where there is none.
func cells(words ...string) []string {
	for i, w := range words {
		words[i] = observe.Clean(or(w))
	}
	return words
}

// window is the part of n rows that is shown; without a height it is all.
func (s topState) window(n int) (from, to int) {
	if s.height == 0 {
		return 0, n
	}
	from = min(s.offset, n)
	return from, min(from+s.rows(), n)
}

func (s topState) sessionLines() []string {
	columns := []topColumn{
		{head: "SESSION"},
		{head: "USER OR CALL", least: 8, narrow: true},
		{head: "INTERFACE", least: 6, narrow: true, drop: 3},
		{head: "RX/s", least: 8, right: true},
		{head: "TX/s", least: 8, right: true},
		{head: "AGE", least: 6, right: true, drop: 1},
		{head: "STATE", least: 6, narrow: true, drop: 2},
	}
	all := s.sessions()
	from, to := s.window(len(all))
	var rows [][]string
	for _, c := range all[from:to] {
		r, ok := s.rates[sessionName(c)]
		rx, tx := rateCells(r, ok)
		device, _ := whereTo(c)
		rows = append(rows, cells(sessionName(c), whose(c), device, rx, tx, age(s.snap.TakenAt, c.StartedAt), c.State))
	}
	return lay(columns, rows, s.width)
}

// remoteEnd leaves out the port that all use.
func remoteEnd(a netip.AddrPort) string {
	if a.IsValid() && a.Port() == 1701 {
		return a.Addr().String()
	}
	return port(a)
}

func (s topState) tunnelLines() []string {
	columns := []topColumn{
		{head: "TUNNEL"},
		{head: "REMOTE", least: 15, narrow: true},
		{head: "HOST NAME", least: 6, narrow: true, drop: 3},
		{head: "SESSIONS", right: true, drop: 4},
		{head: "RX/s", least: 8, right: true},
		{head: "TX/s", least: 8, right: true},
		{head: "AGE", least: 6, right: true, drop: 1},
		{head: "STATE", least: 6, narrow: true, drop: 2},
	}
	all := s.tunnels()
	from, to := s.window(len(all))
	var rows [][]string
	if len(all) > 0 {
		rates := s.tunnelRates()
		for _, c := range all[from:to] {
			r, ok := rates[c.ID]
			rx, tx := rateCells(r, ok)
			rows = append(rows, cells(id(c.ID), remoteEnd(c.Remote), c.HostName, strconv.Itoa(c.SessionCount), rx, tx, age(s.snap.TakenAt, c.StartedAt), c.State))
		}
	}
	return lay(columns, rows, s.width)
}

// causeLines are two tables that share the space: why sessions ended and how many, and the latest.
func (s topState) causeLines() []string {
	causes := s.causes()
	room := max((s.rows()-1)/2, 1)
	more := ""
	if len(causes) > room {
		more = fmt.Sprintf("and %d more: l2tpctl status --counters", len(causes)-room+1)
		causes = causes[:room-1]
	}
	var rows [][]string
	for _, c := range causes {
		rows = append(rows, cells(c, strconv.FormatUint(s.snap.Status.Counters.SessionEnds[c], 10)))
	}
	lines := lay([]topColumn{{head: "CAUSE", least: 18, narrow: true}, {head: "ENDED", right: true}}, rows, s.width)
	if more != "" {
		lines = append(lines, more)
	}
	latest := s.latest()
	latest = latest[:min(len(latest), max(s.rows()-len(lines)-1, 0))]
	rows = nil
	for _, e := range latest {
		f := e.Fields
		rows = append(rows, cells(e.Time.In(s.zone).Format("15:04:05"), endedName(f), cmp.Or(f["user"], f["call"], f["peer"]), f["cause"], cmp.Or(f["why"], e.Message)))
	}
	columns := []topColumn{
		{head: "LATEST", least: 8},
		{head: "SESSION", drop: 2},
		{head: "USER OR CALL", least: 8, narrow: true},
		{head: "CAUSE", least: 8, narrow: true},
		{head: "WHY", least: 12, narrow: true, drop: 1},
	}
	lines = append(append(lines, ""), lay(columns, rows, s.width)...)
	if s.untold != "" {
		lines = append(lines, "! "+s.untold)
	}
	return lines
}

// headline is the daemon in one line.
func (s topState) headline() string {
	if s.snap == nil || s.snap.Status == nil {
		return "l2tpd"
	}
	rx, tx := rateCells(s.total, s.known)
	c := s.snap.Status
	text := counting(c.Sessions, "session")
	if s.width == 0 || s.width >= 60 {
		text += ", " + counting(c.Tunnels, "tunnel")
	}
	text += fmt.Sprintf("  rx %s tx %s", rx, tx)
	if n := len(c.Problems); n > 0 {
		text += "  " + counting(n, "problem")
	}
	if c.State != api.StateRunning {
		text += "  " + string(c.State)
	}
	clock := s.snap.TakenAt.In(s.zone).Format("15:04:05")
	if room := s.width - ansi.StringWidth(text) - len(clock); s.width > 0 && room > 0 {
		return text + strings.Repeat(" ", room) + clock
	}
	return text + "  " + clock
}

// notice is what is wrong, in one line.
func (s topState) notice() string {
	switch {
	case s.lost != "":
		return "! " + s.lost
	case s.snap != nil && s.snap.Status != nil && len(s.snap.Status.Problems) > 0:
		return "! " + observe.Clean(s.snap.Status.Problems[0])
	}
	return ""
}

// footer says what is shown, and how to go on.
func (s topState) footer() string {
	if s.typing {
		return "filter: " + observe.Clean(s.filter) + "_"
	}
	text := s.table.String()
	if s.table != topCauses {
		n := s.lines()
		if s.helping {
			n = 0
		}
		if from, to := s.window(n); to-from < n {
			text += fmt.Sprintf(" %d-%d of %d", from+1, to, n)
		}
		text += " by " + s.order.String()
		if s.reverse {
			text += " reversed"
		}
	}
	if s.paused {
		text = "paused  " + text
	}
	if s.filter != "" {
		text += "  filter: " + observe.Clean(s.filter)
	}
	return text + "  ? help  q quit"
}

// body is the table that is shown, the first line being its head.
func (s topState) body() []string {
	switch {
	case s.helping:
		from, to := s.window(len(topKeys))
		return append([]string{"KEYS"}, topKeys[from:to]...)
	case s.table == topTunnels:
		return s.tunnelLines()
	case s.table == topCauses:
		return s.causeLines()
	}
	return s.sessionLines()
}

// screen is what top shows: no more lines and columns than there are.
func (s topState) screen() []string {
	lines := append([]string{s.headline(), s.notice()}, s.body()...)
	lines = lines[:min(len(lines), max(s.height-1, 0))]
	for len(lines) < s.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines, s.footer())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, s.width, "…")
	}
	return lines
}

// text is one picture for paper and pipes.
func (s topState) text() string {
	lines := []string{s.headline()}
	if n := s.notice(); n != "" {
		lines = append(lines, n)
	}
	return strings.Join(append(lines, s.sessionLines()...), "\n") + "\n"
}
