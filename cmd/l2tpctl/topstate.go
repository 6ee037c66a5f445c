package main

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/observe"
)

// topTable is what top shows.
type topTable uint8

// Tables of top.
const (
	topSessions topTable = iota
	topTunnels
	topCauses
)

// String names the table, as the line at the bottom does.
func (v topTable) String() string { return [...]string{"sessions", "tunnels", "ended sessions"}[v] }

// topOrder is what rows are ordered by.
type topOrder uint8

// Orders of rows.
const (
	byRate topOrder = iota
	byAge
	byName
	byID
)

// String names the order, as the line at the bottom does.
func (o topOrder) String() string { return [...]string{"rate", "age", "name", "id"}[o] }

// bitRate is what passes in a second, in bits.
type bitRate struct{ in, out float64 }

func (r bitRate) plus(x bitRate) bitRate { return bitRate{r.in + x.in, r.out + x.out} }

// topSample is what a look at the daemon brings: a picture and the events since the last, or why there is none.
type topSample struct {
	snap   *api.Snapshot
	events []api.Event
	cursor string // behind events
	err    error
	untold error // why there are no events
}

// keptEnds is how many sessions that have ended are kept for the table of causes.
const keptEnds = 200

// topState is what top knows and shows. It is a value: who changes it gets another. It reads no clock and asks nobody.
type topState struct {
	width, height int
	zone          *time.Location

	table           topTable
	order           topOrder
	reverse         bool
	filter          string
	typing          bool // the keys go into the filter
	paused, helping bool
	offset          int // rows above the first that is shown

	snap  *api.Snapshot
	rates map[string]bitRate // of sessions, by name; only those seen twice
	total bitRate
	known bool // total is
	ended []api.Event
	after string // the cursor of the last event
	lost  string // that there is no newer picture, and why; empty: there is

	untold string // why nothing is known of sessions that have ended
}

// take takes what a look has brought.
func (s topState) take(x topSample) topState {
	for _, e := range x.events {
		if e.Fields["cause"] != "" && (e.Fields["session"] != "" || e.Fields["line"] != "") {
			s.ended = append(slices.Clip(s.ended), e)
		}
	}
	s.ended = s.ended[max(0, len(s.ended)-keptEnds):]
	s.after = cmp.Or(x.cursor, s.after)
	if x.err != nil {
		s.lost = "no answer from l2tpd; trying again"
		if _, gone := errors.AsType[*api.UnreachableError](x.err); gone {
			s.lost = "l2tpd has stopped; waiting for it to come back"
		}
		s.lost += " (" + observe.Clean(x.err.Error()) + ")"
		return s
	}
	s.lost, s.untold = "", ""
	if x.untold != nil {
		s.untold = observe.Clean(x.untold.Error())
	}
	s.rates, s.known = ratesOf(s.snap, x.snap)
	s.snap, s.total = x.snap, bitRate{}
	for i := range s.snap.Sessions {
		if c := &s.snap.Sessions[i]; c.TunnelID != 0 { // a subscriber's line would be counted twice, by the session that carries its frames too
			s.total = s.total.plus(s.rates[sessionName(c)])
		}
	}
	return s.scroll(0)
}

// ratesOf is what passed between two pictures. A session is known by its name and its start: ids are used again. The rates as a whole
// are known when there are two pictures of one daemon.
func ratesOf(before, after *api.Snapshot) (rates map[string]bitRate, known bool) {
	rates = map[string]bitRate{}
	if before == nil {
		return rates, false
	}
	took := after.TakenAt.Sub(before.TakenAt).Seconds()
	if took <= 0 {
		return rates, false
	}
	was := map[string]*api.Session{}
	for i := range before.Sessions {
		was[sessionName(&before.Sessions[i])] = &before.Sessions[i]
	}
	for i := range after.Sessions {
		c := &after.Sessions[i]
		b := was[sessionName(c)]
		if b == nil || b.Data == nil || c.Data == nil || !b.StartedAt.Equal(c.StartedAt) ||
			c.Data.InOctets < b.Data.InOctets || c.Data.OutOctets < b.Data.OutOctets {
			continue
		}
		rates[sessionName(c)] = bitRate{
			float64(c.Data.InOctets-b.Data.InOctets) * 8 / took, float64(c.Data.OutOctets-b.Data.OutOctets) * 8 / took,
		}
	}
	return rates, before.Status == nil || after.Status == nil || before.Status.StartedAt.Equal(after.Status.StartedAt)
}

// key takes a key by its name, with the text that it types. quit: it was to end top; look: what is shown wants a look at once.
func (s topState) key(name, text string) (next topState, quit, look bool) {
	if name == "ctrl+c" {
		return s, true, false
	}
	if s.typing {
		return s.typed(name, text), false, false
	}
	page := max(s.rows()-1, 1)
	switch name {
	case "q":
		return s, true, false
	case "s":
		s.table, s.offset, s.helping = topSessions, 0, false
	case "t":
		s.table, s.offset, s.helping = topTunnels, 0, false
	case "c":
		s.table, s.offset, s.helping = topCauses, 0, false
		return s, false, !s.paused
	case "r":
		s = s.sortBy(byRate)
	case "a":
		s = s.sortBy(byAge)
	case "n":
		s = s.sortBy(byName)
	case "i":
		s = s.sortBy(byID)
	case "/":
		s.typing, s.helping, s.filter = true, false, ""
	case "esc":
		s.filter, s.helping, s.offset = "", false, 0
	case "?", "h":
		s.helping, s.offset = !s.helping, 0
	case "space":
		s.paused = !s.paused
		return s, false, !s.paused
	case "up", "k":
		s = s.scroll(-1)
	case "down", "j":
		s = s.scroll(1)
	case "pgup":
		s = s.scroll(-page)
	case "pgdown":
		s = s.scroll(page)
	case "home", "g":
		s.offset = 0
	}
	return s, false, false
}

// sortBy orders rows; the same order again is the other way round.
func (s topState) sortBy(o topOrder) topState {
	s.reverse = s.order == o && !s.reverse
	s.order, s.offset = o, 0
	return s
}

// typed takes a key into the filter.
func (s topState) typed(name, text string) topState {
	switch name {
	case "enter":
		s.typing = false
	case "esc":
		s.typing, s.filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(s.filter)
		s.filter = s.filter[:len(s.filter)-n]
	default:
		s.filter += text
	}
	s.offset = 0
	return s
}

// scroll moves by n rows, as far as there are any.
func (s topState) scroll(n int) topState {
	s.offset = max(0, min(s.offset+n, s.lines()-s.rows()))
	return s
}

// lines is how many rows there are to scroll through.
func (s topState) lines() int {
	switch {
	case s.helping:
		return len(topKeys)
	case s.table == topSessions:
		return len(s.sessions())
	case s.table == topTunnels:
		return len(s.tunnels())
	}
	return 0
}

// wants reports whether the filter lets through what has these words.
func (s topState) wants(words ...string) bool {
	if s.filter == "" {
		return true
	}
	want := strings.ToLower(s.filter)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(observe.Clean(w)), want) })
}

// sessions are those that the filter lets through, in their order.
func (s topState) sessions() []*api.Session {
	if s.snap == nil {
		return nil
	}
	var all []*api.Session
	for i := range s.snap.Sessions {
		c := &s.snap.Sessions[i]
		device, peer := whereTo(c)
		if s.wants(sessionName(c), c.User, c.Call, c.Subscriber, c.Access, c.Interface, device, peer, port(c.Remote), addr(c.PeerIPv4), addr(c.PeerIPv6)) {
			all = append(all, c)
		}
	}
	order(all, s.reverse, func(a, b *api.Session) int {
		switch s.order {
		case byRate:
			return cmp.Compare(s.sortRate(sessionName(b)), s.sortRate(sessionName(a)))
		case byAge:
			return a.StartedAt.Compare(b.StartedAt)
		case byName:
			return strings.Compare(whose(a), whose(b))
		case byID:
			return cmp.Or(cmp.Compare(a.TunnelID, b.TunnelID), cmp.Compare(a.ID, b.ID))
		}
		return 0
	})
	return all
}

// sortRate puts sessions whose rate is not known behind those that carry nothing.
func (s topState) sortRate(name string) float64 {
	r, ok := s.rates[name]
	if !ok {
		return -1
	}
	return r.in + r.out
}

// order sorts. The daemon's own order, that of ids, stays where compare finds no difference.
func order[T any](all []T, reverse bool, compare func(a, b T) int) {
	slices.SortStableFunc(all, compare)
	if reverse {
		slices.Reverse(all)
	}
}

// tunnels are those that the filter lets through, in their order.
func (s topState) tunnels() []*api.Tunnel {
	if s.snap == nil {
		return nil
	}
	var all []*api.Tunnel
	for i := range s.snap.Tunnels {
		if c := &s.snap.Tunnels[i]; s.wants(id(c.ID), c.HostName, port(c.Remote)) {
			all = append(all, c)
		}
	}
	rates := s.tunnelRates()
	rate := func(c *api.Tunnel) float64 {
		r, ok := rates[c.ID]
		if !ok {
			return -1
		}
		return r.in + r.out
	}
	order(all, s.reverse, func(a, b *api.Tunnel) int {
		switch s.order {
		case byRate:
			return cmp.Compare(rate(b), rate(a))
		case byAge:
			return a.StartedAt.Compare(b.StartedAt)
		case byName:
			return strings.Compare(a.HostName, b.HostName)
		case byID:
			return cmp.Compare(a.ID, b.ID)
		}
		return 0
	})
	return all
}

// tunnelRates are those of tunnels with a session whose rate is known.
func (s topState) tunnelRates() map[uint16]bitRate {
	sum := map[uint16]bitRate{}
	for i := range s.snap.Sessions {
		c := &s.snap.Sessions[i]
		if r, ok := s.rates[sessionName(c)]; ok {
			sum[c.TunnelID] = sum[c.TunnelID].plus(r)
		}
	}
	return sum
}

// causes are why sessions have ended since the daemon started, the most frequent first.
func (s topState) causes() []string {
	if s.snap == nil || s.snap.Status == nil {
		return nil
	}
	n := s.snap.Status.Counters.SessionEnds
	return slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), strings.Compare(a, b)) })
}

// latest are the sessions that have ended last and that the filter lets through, the last first.
func (s topState) latest() []*api.Event {
	var all []*api.Event
	for i := range s.ended {
		f := s.ended[i].Fields
		if s.wants(endedName(f), f["user"], f["call"], f["peer"], f["interface"], f["cause"]) {
			all = append(all, &s.ended[i])
		}
	}
	slices.Reverse(all)
	return all
}

// endedName is what the session of an event was called.
func endedName(f map[string]string) string {
	if f["line"] != "" {
		return api.LineRef + f["line"]
	}
	return f["tunnel"] + "/" + f["session"]
}

// whose says whose a session is: its call, its user, or the subscriber whose frames it carries.
func whose(c *api.Session) string { return cmp.Or(c.Call, c.User, c.Subscriber) }

// whereTo says where a session ends here and whom it leads to: its interface and address, or the session that has its frames.
func whereTo(c *api.Session) (device, peer string) {
	switch {
	case c.Forwarded != nil:
		return "to " + ids(c.Forwarded.TunnelID, c.Forwarded.SessionID), port(c.Forwarded.Address)
	case c.CarriesFor != "":
		return "for " + c.CarriesFor, ""
	}
	return c.Interface, ""
}
