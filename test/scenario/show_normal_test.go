//go:build kernel

package scenario

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// names are what stands for that which differs between runs, so that goldens can be compared:
//
//	<t1>, <T1>     a tunnel's id at our end, and at the peer's; tunnels are numbered by their peers' addresses
//	<s1>, <S1>     a session's id at our end, and at the peer's; sessions are numbered by whose they are
//	<n>            a number: of packets, octets, milliseconds, of a PPPoE session
//	<age>, <time>  how long something has been, and a moment
//	<link-local>   an IPv6 address that PPP has made up
//	<version>, <release>, <core>  of l2tpd, of the kernel, and which of the two L2TP cores that has
//
// Lists that are ordered by ids are ordered by what stands for them. Nothing else is changed.
type names struct {
	tunnels, peersTunnels   map[string]string
	sessions, peersSessions map[string]string
}

// names gives names to the tunnels and sessions that there are.
func (x *deployment) names() *names {
	n := &names{tunnels: map[string]string{}, peersTunnels: map[string]string{}, sessions: map[string]string{}, peersSessions: map[string]string{}}
	tunnels := x.d.Tunnels()
	slices.SortFunc(tunnels, func(a, b api.Tunnel) int { return a.Remote.Compare(b.Remote) })
	for i, c := range tunnels {
		n.tunnels[strconv.Itoa(int(c.ID))], n.peersTunnels[strconv.Itoa(int(c.PeerID))] = fmt.Sprintf("<t%d>", i+1), fmt.Sprintf("<T%d>", i+1)
	}
	var sessions []api.Session
	for _, c := range x.d.Sessions() {
		if c.TunnelID != 0 { // a line is numbered as it comes
			sessions = append(sessions, c)
		}
	}
	whose := func(c api.Session) string { return c.Call + c.User + c.Subscriber }
	slices.SortFunc(sessions, func(a, b api.Session) int { return cmp.Compare(whose(a), whose(b)) })
	for i, c := range sessions {
		n.sessions[strconv.Itoa(int(c.ID))], n.peersSessions[strconv.Itoa(int(c.PeerID))] = fmt.Sprintf("<s%d>", i+1), fmt.Sprintf("<S%d>", i+1)
	}
	return n
}

// numbers are the keys of JSON whose numbers depend on the clock, the processor, or on what passes unasked: HELLOs, acknowledgements,
// echoes, router advertisements.
var numbers = regexp.MustCompile(`\.(pid|goroutines|heap_octets|total_octets|congestion_window|slow_start_threshold|rtt_ms|rto_ms|idle_seconds|in_messages|` +
	`out_messages|serial_number|(listener|tunnel_sockets|ppp_frames)\.(in|out)[a-z_]*|data\.(in|out)_(packets|octets)|pppoe\.(in|out)\.pad[a-z]|` +
	`(control|tunnels\[\]\.counters)\.[a-z_]+|tunnels\[\]\.(ns|nr|peer_nr))$`)

// others are keys whose values are replaced as they are, by what.
var others = map[string]*regexp.Regexp{
	`"<time>"`:       regexp.MustCompile(`\.(taken_at|started_at|established_at|up_since|config_loaded|since|at)$`),
	`"<version>"`:    regexp.MustCompile(`^\.status\.version$`),
	`"<release>"`:    regexp.MustCompile(`^\.status\.kernel\.release$`),
	`<core>`:         regexp.MustCompile(`^\.status\.kernel\.new_core$`),
	`"<link-local>"`: regexp.MustCompile(`\.(local|peer)_ipv6$`),
}

// value replaces in JSON what stands at path.
func (n *names) value(v *jsonValue, path string) {
	for i, item := range v.items {
		if v.kind == '[' {
			n.value(item, path+"[]")
		} else {
			n.value(item, path+"."+v.keys[i])
		}
	}
	if v.kind == '[' {
		slices.SortStableFunc(v.items, func(a, b *jsonValue) int { return cmp.Compare(a.order(), b.order()) })
		return
	}
	if v.kind != 0 {
		return
	}
	if numbers.MatchString(path) {
		v.raw = "<n>"
	}
	for by, re := range others {
		if re.MatchString(path) {
			v.raw = by
		}
	}
	for suffix, of := range map[string]map[string]string{
		".tunnels[].id": n.tunnels, ".tunnels[].peer_id": n.peersTunnels, ".tunnel_id": n.tunnels, ".peer_tunnel_id": n.peersTunnels, ".peers[].tunnels[]": n.tunnels,
		".sessions[].id": n.sessions, ".session_id": n.sessions, ".sessions[].peer_id": n.peersSessions,
	} {
		if name := of[v.raw]; strings.HasSuffix(path, suffix) && name != "" {
			v.raw = name
		}
	}
	v.raw = n.line("", v.raw)
}

// pairs are the names of sessions in a text: TUNNEL/SESSION, by ids of one end.
func (n *names) pairs(text string) (all []string) {
	for _, m := range regexp.MustCompile(`\b(\d+)/(\d+)\b`).FindAllStringSubmatch(text, -1) {
		if t, s := n.tunnels[m[1]], n.sessions[m[2]]; t != "" && s != "" {
			all = append(all, m[0], t+"/"+s)
		} else if t, s := n.peersTunnels[m[1]], n.peersSessions[m[2]]; t != "" && s != "" {
			all = append(all, m[0], t+"/"+s)
		}
	}
	return all
}

// lines are what is replaced in lines of text.
var lines = []struct{ what, by string }{
	{`\bfe80::[0-9a-f:]+`, `<link-local>`},
	{`\b(for|loaded|counted for) (?:\d+[dhms])+`, `$1 <age>`},
	{`^l2tpd \S+, `, `l2tpd <version>, `},
	{`\bpid \d+`, `pid <n>`},
	{`^(  kernel +)\S+, (old|new) L2TP core`, `$1<release>, <core> L2TP core`},
	{`^(  started +)\S+`, `$1<time>`},
	{`^(  idle +)\S+`, `$1<age>`},
	{`\bserial \d+`, `serial <n>`},
	{`\bNs \d+, Nr \d+, acknowledged \d+`, `Ns <n>, Nr <n>, acknowledged <n>`},
	{`\b(in|out)( +)\d+ packets, \d+ octets`, `$1$2<n> packets, <n> octets`},
	{`\bpc1/\d+ `, `pc1/<n> `},
	{`^(  round trip +).*( ms; next retransmission after )\d+`, `$1<n>$2<n>`},
	{`congestion window \d+, threshold \d+`, `congestion window <n>, threshold <n>`},
}

// counting are the labels of rows in which every number differs.
var countingRows = []string{"control in", "control out", "messages", "listening sockets", "tunnel sockets", "PPP frames, this daemon", "memory"}

// text replaces in what is for people.
func (n *names) text(text string) string {
	var b strings.Builder
	label := ""
	for block := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n\n") {
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		all := strings.Split(block, "\n")
		if tableHead.MatchString(all[0]) {
			b.WriteString(strings.TrimRight(n.table(all), "\n"))
			continue
		}
		for i, line := range all {
			if i > 0 {
				b.WriteByte('\n')
			}
			if m := regexp.MustCompile(`^  (\S+(?: \S+)*)`).FindStringSubmatch(line); m != nil {
				label, _, _ = strings.Cut(m[1], "  ")
			}
			b.WriteString(n.line(label, line))
		}
	}
	return b.String() + strings.Repeat("\n", strings.Count(text, "\n")-strings.Count(strings.TrimRight(text, "\n"), "\n"))
}

func (n *names) line(label, line string) string {
	for _, x := range lines {
		line = regexp.MustCompile(x.what).ReplaceAllString(line, x.by)
	}
	if slices.Contains(countingRows, label) {
		line = regexp.MustCompile(`\b\d+\b`).ReplaceAllString(line, "<n>")
	}
	if label == "tunnels" || strings.HasPrefix(line, "tunnel ") {
		for id, name := range n.tunnels {
			line = regexp.MustCompile(`\b`+id+`\b`).ReplaceAllString(line, name)
		}
		for id, name := range n.peersTunnels {
			line = strings.Replace(line, "(peer's "+id+")", "(peer's "+name+")", 1)
		}
	}
	return strings.NewReplacer(n.pairs(line)...).Replace(line)
}

// tableHead is the first line of a table.
var tableHead = regexp.MustCompile(`^[A-Z][A-Z0-9/' -]*  [A-Z0-9/' -]+$`)

// table replaces in a table, by the columns, and lays it out anew.
func (n *names) table(lines []string) string {
	var starts []int
	for _, m := range regexp.MustCompile(`\S+(?: \S+)*`).FindAllStringIndex(lines[0], -1) {
		starts = append(starts, m[0])
	}
	rows := make([][]string, len(lines))
	width := make([]int, len(starts))
	for i, line := range lines {
		text := []rune(line)
		for j, from := range starts {
			to := len(text)
			if j+1 < len(starts) {
				to = min(to, starts[j+1])
			}
			cell := strings.TrimSpace(string(text[min(from, len(text)):to]))
			if i > 0 {
				cell = n.cell(rows[0][j], cell)
			}
			rows[i] = append(rows[i], cell)
			width[j] = max(width[j], utf8.RuneCountInString(cell))
		}
	}
	slices.SortStableFunc(rows[1:], slices.Compare)
	var b strings.Builder
	for _, row := range rows {
		var l strings.Builder
		for j, cell := range row {
			l.WriteString(cell + strings.Repeat(" ", width[j]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	return b.String()
}

// cell replaces in one cell.
func (n *names) cell(column, cell string) string {
	if cell == "-" {
		return cell
	}
	switch column {
	case "AGE", "SINCE":
		return "<age>"
	case "RTT MS", "SENT AGAIN":
		return "<n>"
	case "TUNNEL":
		return cmp.Or(n.tunnels[cell], cell)
	case "PEER'S":
		cell = cmp.Or(n.peersTunnels[cell], cell)
	}
	return n.line("", cell)
}

// jsonValue is JSON with its keys in their order.
type jsonValue struct {
	kind  byte         // '{', '[', or 0: a scalar
	keys  []string     // of an object
	items []*jsonValue // of a list, or of an object
	raw   string       // of a scalar
}

func parseJSON(b []byte) (*jsonValue, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readJSON(d)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	return v, err
}

func readJSON(d *json.Decoder) (*jsonValue, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		raw, err := json.Marshal(token)
		return &jsonValue{raw: string(raw)}, err
	}
	v := &jsonValue{kind: byte(delim)}
	for d.More() {
		if v.kind == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v.keys = append(v.keys, key.(string))
		}
		item, err := readJSON(d)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return v, nil
}

// String writes it as l2tpctl does.
func (v *jsonValue) String() string {
	var b strings.Builder
	v.write(&b, "\n")
	return b.String()
}

func (v *jsonValue) write(b *strings.Builder, newline string) {
	if v.kind == 0 {
		b.WriteString(v.raw)
		return
	}
	b.WriteByte(v.kind)
	for i, item := range v.items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(newline + "  ")
		if v.kind == '{' {
			fmt.Fprintf(b, "%q: ", v.keys[i])
		}
		item.write(b, newline+"  ")
	}
	if len(v.items) > 0 {
		b.WriteString(newline)
	}
	b.WriteByte(v.kind + 2) // the other bracket
}

// order is by what items of a list are sorted: configuration stays as it is.
func (v *jsonValue) order() string {
	if v.kind == '{' && (v.keys[0] == "id" || v.keys[0] == "tunnel_id") {
		return v.String()
	}
	return ""
}

// at is what jq would take by path.
func (v *jsonValue) at(path string) (found []string) {
	if path == "" {
		if v.kind == 0 {
			return []string{v.raw}
		}
		return []string{strings.Join(strings.Fields(v.String()), " ")}
	}
	part, rest, _ := strings.Cut(path[1:], ".")
	if rest != "" {
		rest = "." + rest
	}
	name, isList := strings.CutSuffix(part, "[]")
	i := slices.Index(v.keys, name)
	if i < 0 {
		return nil
	}
	item := v.items[i]
	if !isList {
		return item.at(rest)
	}
	for _, x := range item.items {
		found = append(found, x.at(rest)...)
	}
	return found
}

// undocumented are the keys of a value that docs/api.md does not have under the heading of its type.
func undocumented(page map[string][][]string, heading string, v *jsonValue) (wrong []string) {
	if v.kind == '[' {
		for _, item := range v.items {
			wrong = append(wrong, undocumented(page, heading, item)...)
		}
		return wrong
	}
	for i, key := range v.keys {
		row := slices.IndexFunc(page[heading], func(cells []string) bool { return cells[0] == "`"+key+"`" })
		if row < 0 {
			wrong = append(wrong, heading+"."+key)
			continue
		}
		if m := regexp.MustCompile(`\[(\w+)\]\(#`).FindStringSubmatch(page[heading][row][1]); m != nil {
			wrong = append(wrong, undocumented(page, m[1], v.items[i])...)
		} else if v.items[i].kind == '{' && !strings.Contains(page[heading][row][1], "by name") {
			wrong = append(wrong, heading+"."+key+", an object")
		}
	}
	return wrong
}
