//go:build kernel

package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/golden"
	"github.com/l2tpd/l2tpd/test/manual"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// look is one look at a daemon: some command lines, and the tables of SHOW commands of the AR that they take the place of.
type look struct {
	name  string   // of the golden
	lines []string // the first one is asked for as JSON, too
	// tables are headings of docs/coming-from-ar.md without "Fields of ", from what their fields begin with here. One without fields here
	// shows a part of what another one shows.
	tables []string
	fields string
}

// looks are those at a daemon, by the names that are shown of it.
func looks(tunnel, session, line, call, peer string) []look {
	const general, tunnels = "SHOW L2TP", "SHOW L2TP TUNNEL"
	all := []look{
		{"status", []string{"status"}, []string{general}, ".status."},
		{"counters", []string{"counters"}, []string{general}, ".counters."},
		{"call-list", []string{"call list"}, []string{"SHOW L2TP CALL"}, ""},
		{"accept-list", []string{"accept list"}, []string{"SHOW L2TP IP"}, ".accept[]."},
		{"tunnel-list", []string{"tunnel list"}, []string{tunnels}, ""},
		{"tunnel-show", []string{"tunnel show " + tunnel}, []string{tunnels, tunnels + " COUNTER"}, ".tunnels[]."},
		{"session-list", []string{"session list"}, []string{tunnels}, ""},
		{"session-show", []string{"session show " + session}, []string{tunnels, tunnels + " CALL", tunnels + " COUNTER"}, ".sessions[]."},
		{"lac-rules", []string{"lac rules", "lac rules -o wide"}, []string{"SHOW L2TP USER"}, ".rules[]."},
		{"peer-list", []string{"peer list"}, nil, ""},
		{"peer-show", []string{"peer show " + peer}, nil, ""},
	}
	if line != "" {
		all = append(all, look{"line-show", []string{"session show " + line}, nil, ""})
	}
	if call != "" {
		all = append(all, look{"call-show", []string{"call show " + call}, []string{"SHOW L2TP CALL"}, ".calls[]."})
	}
	return all
}

// deployment is one of the three, with everything up.
type deployment struct {
	name    string
	l       *lab.Lab
	d       *lab.Daemon // which is looked at
	tunnel  uint16      // which is shown
	session string      // and one of its sessions
	line    string      // and a subscriber's line; "": there is none
	call    string      // "": none is configured
	peer    string
	// silent are the fields that have nothing to say here, and why.
	silent map[string]string
}

// why says why a field has nothing to say.
func (x *deployment) why(path string) (why string, silent bool) {
	for {
		if why, silent = x.silent[path]; silent {
			return why, true
		}
		i := strings.LastIndexByte(path, '.')
		if i <= 0 {
			return "", false
		}
		path = path[:i]
	}
}

// Why a field has nothing to say, in more than one deployment.
const (
	noLAC   = "we are its LAC"
	noOld   = "the peer is none of the drafts before 13"
	itsTx   = "it is tx_speed"
	noGroup = "the user has none"
)

// silently is an example without HELLO, by which the numbers of messages would depend on the time.
func silently(t *testing.T, name string, change ...string) string {
	t.Helper()
	return example(t, name, append(change, "\nserver:\n", "\nserver:\n  tunnel: {hello: never}\n")...)
}

// lanToLAN is the pair of examples: side A, which has called.
func lanToLAN(t *testing.T) *deployment {
	n := newLANs(t)
	b := n.b.L2TPD(silently(t, "lan-to-lan-b.yaml", "autostart: on", "autostart: off"))
	a := n.a.L2TPD(silently(t, "lan-to-lan-a.yaml"))
	a.WaitUp("remote")
	b.WaitUp("remote")
	settled(n.Lab, a, "remote")
	n.joined(t)
	const noLine = "the call is virtual: there is no line"
	return &deployment{
		name: "lan-to-lan", l: n.Lab, d: a, session: "remote", tunnel: a.Session("remote").TunnelID, call: "remote", peer: "2.2.2.2",
		silent: map[string]string{
			".calls[].dial": noLine, ".calls[].sub_address": noLine,
			".sessions[].user": "nobody logs in", ".sessions[].subscriber": "the call ends here", ".sessions[].peer_serial_number": noLAC, ".sessions[].proxy_auth": noLAC,
			".sessions[].processing_delay": noOld, ".sessions[].physical_channel": noLine, ".sessions[].rx_speed": itsTx,
			".sessions[].bearer[]": noLine, ".sessions[].sub_address": noLine, ".sessions[].private_group": noGroup,
			".accept[]": "only configured calls are let in", ".rules[]": "there are no subscribers",
		},
	}
}

// remoteUsers is the example of an LNS: a user by a foreign LAC, and one by a LAC that says of its line all there is to be said. Another
// call is configured that nobody has asked for, by a line.
func remoteUsers(t *testing.T) *deployment {
	n := newLANs(t)
	d := n.b.L2TPD(silently(t, "lns.yaml",
		"\nlns:\n  accept:\n", "\nlns:\n  accept:\n    - {from: 2.2.2.254, template: dialin, compat: pre13, pre13_flow: ignore}\n",
		"secrets:\n", "secrets:\n  - {from: 2.2.2.254, secret: none}\n",
		"\nusers:\n", "\ncalls: {callback: {type: isdn, peer: 1.1.1.1, dial: \"5551234\", sub_address: \"7\", speed: 64000, secret: password}}\n\nusers:\n"))
	n.a.ForeignPeer(foreignLAC("2.2.2.2", "remuser", "autodial = yes", "challenge = yes"),
		append(passwords("remuser * rempass"), tunnelKey("password")...)...)
	d.WaitSessions(1) // they get their addresses in turn
	settled(n.Lab, d, "remuser")
	l := lac.Open(lac.Config{Tunnels: []lac.Tunnel{{
		Conn: n.internet.UDP("2.2.2.254:1701"), LNS: netip.MustParseAddrPort("2.2.2.2:1701"),
		Config: control.TunnelConfig{PRE13: true, VendorName: "ours", FirmwareRevision: 0x0202, Bearer: wire.BearerDigital | wire.BearerAnalog},
	}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	client := callerBy(ppp.AuthCHAPMD5)
	client.User, client.Password = "fixed", []byte("fixpass")
	client.IPv6 = true
	l.Dial(lac.Call{
		Client: client, Number: "5550001", Proxy: &lac.Proxy{LAC: ppp.Config{Name: "lac", Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}}},
		Alter: func(c *control.CallInfo) {
			c.BearerType, c.PhysicalChannel, c.CalledNumber, c.SubAddress, c.PrivateGroup, c.RxSpeed = 1, 17, "5551234", "7", "blue", 64000
			c.SerialNumber, c.HasSessionWindow, c.SessionWindow, c.ProcessingDelay = 42, true, 4, 3
		},
	})
	d.WaitSessions(2)
	settled(n.Lab, d, "fixed")
	return &deployment{
		name: "lns", l: n.Lab, d: d, tunnel: d.Session("fixed").TunnelID, session: "fixed", call: "callback", peer: "1.1.1.1",
		silent: map[string]string{
			".rules[]": "there are no subscribers", ".calls[].remote": "what is dialled is a number", ".sessions[].subscriber": "the call ends here",
		},
	}
}

// wholesaleLAC is the example of a LAC, with a subscriber whose calls the example of an LNS takes.
func wholesaleLAC(t *testing.T) *deployment {
	n := newLANs(t)
	n.pc1.IP("link set dev a address 02:00:00:00:00:05")
	lns := n.b.L2TPD(silently(t, "lns.yaml"))
	d := n.a.L2TPD(silently(t, "lac.yaml", "interface: eth1", "interface: pc1",
		"\n  rules:\n", "\n  rules:\n    - {match: {realm: far.example}, action: dns, prefix: l2tp, tunnel: {retransmit_cap: 20s}}\n"))
	n.pc1.Subscriber("a", "remuser", "rempass").WaitUp()
	lns.WaitSessions(1)
	tunnel := d.Tunnels()[0].ID
	return &deployment{
		name: "lac", l: n.Lab, d: d, tunnel: tunnel, session: fmt.Sprintf("%d/%d", tunnel, d.Session("line/1").Forwarded.SessionID), line: "line/1", peer: "2.2.2.2",
		silent: map[string]string{
			".status.secrets[]": "nobody may open a tunnel to it", ".accept[]": "nobody may call in", ".tunnels[].bearer[]": "an LNS has no lines",
			".sessions[].user": "it is the subscriber", ".sessions[].peer_serial_number": noLAC, ".sessions[].processing_delay": noOld,
			".sessions[].rx_speed": itsTx, ".sessions[].called_number": "PPPoE has none", ".sessions[].sub_address": "PPPoE has none",
			".sessions[].private_group": noGroup,
		},
	}
}

// What takes the place of the SHOW commands of an AR, in its three deployments: each output is as the golden has it, as a table and as
// JSON, beside the fields that SHOW printed there. No field is missing that docs/coming-from-ar.md names and that has something to say,
// and none is there that docs/api.md does not know.
func TestShowCommandsInEachDeployment(t *testing.T) {
	t.Parallel() // it waits more than it works
	said := map[string]bool{}
	for name, build := range map[string]func(*testing.T) *deployment{"lan-to-lan": lanToLAN, "lns": remoteUsers, "lac": wholesaleLAC} {
		t.Run(name, func(t *testing.T) {
			x := build(t)
			for _, path := range x.show(t) {
				said[path] = true
			}
		})
	}
	if t.Failed() {
		t.Logf("what was said is kept; if it is right: cp -r artifacts/KERNEL/show test/scenario/testdata/")
		return
	}
	for heading, rows := range manual.ComingFromAR(t, "../..") {
		for _, r := range rows {
			for _, path := range manual.Code(r.Here) {
				if strings.HasPrefix(heading, "Fields of ") && !said[path] {
					t.Errorf("%s, %s: no deployment has anything to say in %s", heading, r.There, path)
				}
				if command, ok := strings.CutPrefix(path, "l2tpctl "); ok && strings.HasPrefix(r.There, "SHOW ") && !shownHere(command) {
					t.Errorf("%s: nobody looks at l2tpctl %s", r.There, command)
				}
			}
		}
	}
}

// shownHere says that a command line of the page is among the looks.
func shownHere(command string) bool {
	return slices.ContainsFunc(looks("4711", "4711/345", "", "branch", ""), func(l look) bool {
		return slices.ContainsFunc(l.lines, func(line string) bool { return strings.HasPrefix(line+" ", command+" ") })
	})
}

var errBusy = errors.New("control messages are under way")

// show takes all looks and compares them. It returns the paths that said something.
func (x *deployment) show(t *testing.T) (said []string) {
	t.Helper()
	x.l.Eventually("tunnels at rest", func() error {
		for _, c := range x.d.Tunnels() {
			if c.Outstanding+c.Queued > 0 {
				return errBusy
			}
		}
		return nil
	})
	n := x.names()
	known := manual.Tables(t, "../../docs/api.md")
	page := manual.ComingFromAR(t, "../..")
	got := map[string]string{}
	for _, look := range looks(fmt.Sprint(x.tunnel), x.session, x.line, x.call, x.peer) {
		var b strings.Builder
		for _, table := range look.tables {
			what := "takes the place of " + table
			if look.fields == "" {
				what = "is a part of what " + what
			}
			fmt.Fprintf(&b, "# %s\n", what)
		}
		for _, line := range look.lines {
			fmt.Fprintf(&b, "$ l2tpctl %s\n%s\n", n.text(line), n.text(x.d.Ctl(strings.Fields(line)...)))
		}
		line := look.lines[0] + " -o json"
		value := x.json(t, line)
		n.value(value, "")
		for _, wrong := range undocumented(known, "Snapshot", value) {
			t.Errorf("l2tpctl %s: docs/api.md does not know %s", line, wrong)
		}
		fmt.Fprintf(&b, "$ l2tpctl %s\n%s\n\n", n.text(line), value)
		for _, table := range look.tables {
			if look.fields != "" {
				said = append(said, x.fields(t, &b, table, look.fields, page["Fields of "+table], value)...)
			}
		}
		got[look.name] = b.String()
	}
	for name, text := range got {
		keep(t, filepath.Join("show", x.name, name+".golden"), text)
	}
	for name, text := range got {
		golden.Compare(t, filepath.Join("show", x.name, name+".golden"), text)
	}
	return said
}

// keep leaves a text among the artifacts.
func keep(t *testing.T, name, text string) {
	t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Error(err)
	}
}

// json asks for JSON, and makes sure that it is understood: it comes out as it went in.
func (x *deployment) json(t *testing.T, line string) *jsonValue {
	t.Helper()
	out := x.d.Ctl(strings.Fields(line)...)
	v, err := parseJSON([]byte(out))
	if err != nil || v.String() != strings.TrimSpace(out) {
		t.Fatalf("l2tpctl %s: %v\n%s\n%v", line, err, out, v)
	}
	return v
}

// fields writes beside each field of a table of SHOW what stands in its place. It returns the paths that say something.
func (x *deployment) fields(t *testing.T, b *strings.Builder, table, prefix string, rows []manual.Replaced, value *jsonValue) (said []string) {
	t.Helper()
	if len(rows) == 0 {
		t.Errorf("docs/coming-from-ar.md has no fields of %s", table)
	}
	fmt.Fprintf(b, "# the fields of %s\n", table)
	for _, r := range rows {
		paths := manual.Code(r.Here)
		if len(paths) == 0 && prefix != ".counters." { // its remark says why not; once is enough
			fmt.Fprintf(b, "%-32s%s\n", r.There, r.Here)
		}
		for _, path := range paths {
			if !strings.HasPrefix(path, prefix) {
				continue
			}
			found := value.at(path)
			why, silent := x.why(path)
			switch {
			case silent && len(found) > 0:
				t.Errorf("%s: %s is said, although %s", r.There, path, why)
			case silent:
				fmt.Fprintf(b, "%-32s%s  nothing: %s\n", r.There, path, why)
			case len(found) == 0:
				t.Errorf("%s, %s: nothing in %s", table, r.There, path)
				fmt.Fprintf(b, "%-32s%s  MISSING\n", r.There, path)
			default:
				said = append(said, path)
				fmt.Fprintf(b, "%-32s%s  %s\n", r.There, path, strings.Join(found, ", "))
			}
		}
	}
	b.WriteByte('\n')
	return said
}
