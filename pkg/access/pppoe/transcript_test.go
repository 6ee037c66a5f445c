package pppoe

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/test/golden"
)

var ours = MAC{2, 0, 0, 0, 0, 0xac}

// client is the address of a client with that number.
func client(n int) MAC {
	m := MAC{2, 1}
	binary.BigEndian.PutUint32(m[2:], uint32(n))
	return m
}

// world is an AC, and what its clients remember.
type world struct {
	t       testing.TB
	ac      *AC
	now     time.Duration
	cookies map[MAC][]byte // the last one that each was given
	out     Output
}

func testConfig() Config {
	return Config{Interface: "eth1", ACName: "ac", ServiceNames: []string{"internet", "voice"}, CookieKey: [32]byte{1, 2, 3}}
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	ac, err := NewAC(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ac.Up(0, ours, 1500, &Output{})
	return &world{t: t, ac: ac, cookies: map[MAC][]byte{}}
}

// take empties the output, and lets clients look at what they are sent.
func (w *world) take() Output {
	w.t.Helper()
	out := w.out
	w.out = Output{}
	for _, f := range out.Frames {
		p, err := Parse(f)
		if err != nil || p.Src != ours || !p.Dst.host() || p.length() > 1494 {
			w.t.Errorf("bad answer %x: %v", f, err)
		}
		if cookie, n := p.tag(TagACCookie); n > 0 {
			w.cookies[p.Dst] = cookie
		}
	}
	return out
}

// receive has a packet arrive, in memory that is used again afterwards.
func (w *world) receive(p Packet) Output {
	w.t.Helper()
	f := p.frame()
	w.ac.Receive(w.now, f, &w.out)
	clear(f)
	return w.take()
}

func (w *world) padi(from MAC, tags ...Tag) Output {
	w.t.Helper()
	return w.receive(Packet{Dst: broadcast, Src: from, Code: CodePADI, Tags: append([]Tag{{TagServiceName, nil}}, tags...)})
}

// padr asks for a session with the cookie that the client was given last.
func (w *world) padr(from MAC, tags ...Tag) Output {
	w.t.Helper()
	tags = append([]Tag{{TagServiceName, nil}, {TagACCookie, w.cookies[from]}}, tags...)
	return w.receive(Packet{Dst: ours, Src: from, Code: CodePADR, Tags: tags})
}

// session has a client get as far as an offer.
func (w *world) session(from MAC) Offer {
	w.t.Helper()
	w.padi(from)
	out := w.padr(from)
	if len(out.Offers) != 1 {
		w.t.Fatalf("no session for %s: %+v", from, out)
	}
	return out.Offers[0]
}

func (w *world) accept(id uint16) Output {
	w.t.Helper()
	w.ac.Accept(id, &w.out)
	return w.take()
}

func (w *world) free(id uint16) Output {
	w.t.Helper()
	w.ac.Freed(w.now, id, &w.out)
	return w.take()
}

// lines is an output for people.
func (w *world) lines() (lines []string) {
	w.t.Helper()
	out := w.take()
	for _, f := range out.Frames {
		p, _ := Parse(f) // take has looked
		lines = append(lines, p.String())
	}
	for _, o := range out.Offers {
		text := fmt.Sprintf("offer %d on %s to %s, service %q, payload %d", o.SessionID, o.Interface, o.Client, o.Service, o.MaxPayload)
		if !o.Line.Empty() {
			text += ", line: " + o.Line.String()
		}
		lines = append(lines, text)
	}
	for _, e := range out.Ended {
		lines = append(lines, fmt.Sprintf("ended %d: %s", e.SessionID, e.Why))
	}
	for _, r := range out.Refused {
		lines = append(lines, fmt.Sprintf("refused %s: %s", r.Client, r.Why))
	}
	for _, d := range out.Dropped {
		lines = append(lines, "dropped: "+d.Why.String())
	}
	return lines
}

var refusals = map[string]Refusal{"service": RefuseService, "system": RefuseSystem, "generic": RefuseGeneric}

// do carries out one line of a transcript: a word and settings.
func (w *world) do(line string) []string {
	w.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	id := func() uint16 {
		n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 16)
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		return uint16(n)
	}
	switch word {
	case "config":
		return w.configure(rest)
	case "up":
		mtu, err := strconv.Atoi(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		w.ac.Up(w.now, ours, mtu, &w.out)
	case "down":
		w.ac.Down(w.now)
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		for end := w.now + d; ; {
			at, any := w.ac.Deadline()
			if !any || at > end {
				w.now = end
				break
			}
			w.now = at
			w.ac.Expire(at, &w.out)
		}
	case "accept":
		w.ac.Accept(id(), &w.out)
	case "terminate":
		w.ac.Terminate(w.now, id(), strings.TrimPrefix(rest, strconv.Itoa(int(id()))+" "), &w.out)
	case "freed":
		w.ac.Freed(w.now, id(), &w.out)
	case "refuse":
		f := strings.SplitN(rest, " ", 3)
		w.ac.Refuse(w.now, id(), refusals[f[1]], f[2], &w.out)
	case "padi", "padr", "padt", "pado", "pads":
		w.ac.Receive(w.now, w.parse(word, rest).frame(), &w.out)
	default:
		w.t.Fatalf("line %q", line)
	}
	return w.lines()
}

// configure begins anew.
func (w *world) configure(settings string) []string {
	cfg := testConfig()
	for _, f := range strings.Fields(settings) {
		key, value, _ := strings.Cut(f, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "any":
			cfg.ServiceNames = nil
		case "delay":
			cfg.Delay, _ = time.ParseDuration(value)
		case "sessions":
			cfg.MaxSessions = n
		case "each":
			cfg.MaxSessionsPerMAC = n
		case "payload":
			cfg.MaxPayload = n
		case "padr":
			cfg.Rates.PADR = Rate{1, n}
		case "station":
			cfg.Rates.StationPADI, cfg.Rates.StationPADR = Rate{1, n}, Rate{1, n}
		default:
			w.t.Fatalf("setting %q", f)
		}
	}
	fresh := newWorld(w.t, cfg)
	w.ac, w.cookies = fresh.ac, fresh.cookies
	return nil
}

// codes are what a transcript calls packets.
var codes = map[string]Code{"padi": CodePADI, "pado": CodePADO, "padr": CodePADR, "pads": CodePADS, "padt": CodePADT}

// parse makes a packet of a client. What is not said is as it should be.
func (w *world) parse(word, rest string) Packet {
	w.t.Helper()
	p := Packet{Src: client(1), Dst: ours, Code: codes[word]}
	if p.Code == CodePADI {
		p.Dst = broadcast
	}
	fields := strings.Fields(rest)
	number := func(value string) int {
		n, err := strconv.Atoi(value)
		if err != nil {
			w.t.Fatalf("%s %s: %v", word, rest, err)
		}
		return n
	}
	if len(fields) > 0 && strings.HasPrefix(fields[0], "from=") {
		p.Src = client(number(fields[0][5:]))
		fields = fields[1:]
	}
	if (word == "padi" || word == "padr") && !strings.Contains(rest, "service") {
		p.Tags = []Tag{{TagServiceName, nil}}
	}
	if word == "padr" && !strings.Contains(rest, "cookie") {
		p.Tags = append(p.Tags, Tag{TagACCookie, w.cookies[p.Src]})
	}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "to":
			p.Dst = client(number(value))
		case "ours":
			p.Dst = ours
		case "session":
			p.SessionID = uint16(number(value))
		case "service":
			p.Tags = append(p.Tags, Tag{TagServiceName, []byte(value)})
		case "noservice":
		case "uniq":
			p.Tags = append(p.Tags, Tag{TagHostUniq, []byte(value)})
		case "relay":
			p.Tags = append(p.Tags, Tag{TagRelaySessionID, []byte(value)})
		case "cookie":
			p.Tags = append(p.Tags, Tag{TagACCookie, octets(w.t, value)})
		case "cookieof":
			p.Tags = append(p.Tags, Tag{TagACCookie, w.cookies[client(number(value))]})
		case "payload":
			p.Tags = append(p.Tags, Tag{TagPPPMaxPayload, binary.BigEndian.AppendUint16(nil, uint16(number(value)))})
		case "tag":
			p.Tags = append(p.Tags, Tag{TagType(binary.BigEndian.Uint16(octets(w.t, value[:4]))), octets(w.t, value[4:])})
		case "error":
			p.Tags = append(p.Tags, Tag{TagGenericError, []byte(value)})
		case "long":
			p.Tags = append(p.Tags, Tag{TagHostUniq, make([]byte, number(value))})
		default:
			w.t.Fatalf("%s %s: %q", word, rest, f)
		}
	}
	return p
}

func TestDiscoveryTranscripts(t *testing.T) {
	t.Parallel()
	golden.Transcripts(t, "ac/*.txt", 7, func(t *testing.T) func(string) []string {
		w := newWorld(t, testConfig())
		return w.do
	})
}
