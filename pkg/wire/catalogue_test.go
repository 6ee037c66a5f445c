package wire

import (
	"strconv"
	"strings"
	"testing"
)

// specAVPs is the table of RFC 2661, 4.4 and its extensions, written down a second time: number, whole length (one,
// or a minimum with +), M, H. A dash is "not laid down".
const specAVPs = `
0 8 1 n   | 1 8+ 1 n  | 2 8 1 n   | 3 10 1 y  | 4 10 1 y  | 5 14 0 n  | 6 8 0 y   | 7 7+ 1 n  | 8 6+ 0 y  | 9 8 1 y
10 8 1 n  | 11 7+ 1 y | 12 9+ 1 n | 13 22 1 y | 14 8 1 y  | 15 10 1 y | 16 10 1 y | 17 10 1 y | 18 10 1 y | 19 10 1 y
20 8 - -  | 21 6+ 1 y | 22 6+ 1 y | 23 6+ 1 y | 24 10 1 y | 25 10 0 y | 26 6+ 0 y | 27 6+ 0 y | 28 6+ 0 y | 29 8 0 y
30 6+ 0 y | 31 7+ 0 y | 32 8 0 y  | 33 6+ 0 y | 34 32 1 y | 35 16 1 y | 36 6+ 1 n | 37 6+ 0 y | 38 10 0 y | 39 6 1 n
46 11+ 0 y | 47 8 0 y | 48 8 0 y | 49 6+ 0 y | 50 6+ 1 y | 51 6+ - - | 52 6+ - -
76 12 0 y | 77 16 1 n | 78 12 0 y | 79 16 1 y | 97 18 0 y | 98 6 0 y`

// specMessages is the table of RFC 2661, section 6: message: mandatory AVPs; optional AVPs.
const specMessages = `
SCCRQ: 2 7 3 9; 4 10 11 5 6 8
SCCRP: 2 3 7 9; 4 6 8 10 11 13
SCCCN: ; 13
StopCCN: 9 1;
HELLO: ;
OCRQ: 14 15 16 17 18 19 21; 23
OCRP: 14; 25
OCCN: 24 19; 38 39 49 50
ICRQ: 14 15; 18 25 22 21 23
ICRP: 14;
ICCN: 24 19; 26 27 28 29 30 31 32 33 37 38 39 49 50
CDN: 1 14; 12 46
WEN: 34;
SLI: 35; 51 52`

// knownMessages are the messages of RFC 2661.
var knownMessages = []MessageType{
	MsgSCCRQ, MsgSCCRP, MsgSCCCN, MsgStopCCN, MsgHello, MsgOCRQ, MsgOCRP, MsgOCCN,
	MsgICRQ, MsgICRP, MsgICCN, MsgCDN, MsgWEN, MsgSLI,
}

func TestCatalogueSaysWhatTheRFCsSay(t *testing.T) {
	t.Parallel()
	// P48 rests on this table.
	rows := 0
	for entry := range strings.FieldsFuncSeq(specAVPs, func(r rune) bool { return r == '|' || r == '\n' }) {
		f := strings.Fields(entry)
		if len(f) != 4 {
			t.Fatalf("entry %q", entry)
		}
		rows++
		n, err := strconv.Atoi(f[0])
		if err != nil {
			t.Fatal(err)
		}
		row := lookup(AVPType(n))
		if row == nil {
			t.Errorf("AVP %d has no row", n)
			continue
		}
		length, open := strings.CutSuffix(f[1], "+")
		if want := strconv.Itoa(row.min + 6); want != length {
			t.Errorf("%s: minimum length %s, want %s", row.name, want, length)
		}
		if open && row.max != MaxValue || !open && row.max != row.min {
			t.Errorf("%s: maximum value %d", row.name, row.max)
		}
		if f[2] != "-" && row.mandatory != (f[2] == "1") {
			t.Errorf("%s: M %v", row.name, row.mandatory)
		}
		if f[3] != "-" && row.hidable != (f[3] == "y") {
			t.Errorf("%s: hidable %v", row.name, row.hidable)
		}
		if row.hide && !row.hidable {
			t.Errorf("%s: hidden but not hidable", row.name)
		}
	}
	if rows != 53 {
		t.Errorf("read %d entries", rows)
	}
}

func TestCataloguePlacesAVPsInMessages(t *testing.T) {
	t.Parallel()
	// P32, P48; section 6 of RFC 2661, 3145 and 3437.
	byName := map[string]MessageType{}
	for _, m := range knownMessages {
		byName[m.String()] = m
	}
	numbers := func(s string) map[AVPType]bool {
		set := map[AVPType]bool{}
		for _, f := range strings.Fields(s) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			set[AVPType(n)] = true
		}
		return set
	}
	for line := range strings.Lines(strings.TrimSpace(specMessages)) {
		name, lists, _ := strings.Cut(strings.TrimSpace(line), ":")
		mustList, mayList, _ := strings.Cut(lists, ";")
		message, ok := byName[name]
		if !ok {
			t.Fatalf("no message %q", name)
		}
		delete(byName, name)
		must, may := numbers(mustList), numbers(mayList)
		may[AVPRandomVector] = true
		for n := range catalogue {
			row := &catalogue[n]
			if got, want := row.must.has(message), must[AVPType(n)]; got != want {
				t.Errorf("%s: mandatory in %s: %v, want %v", row.name, name, got, want)
			}
			if got, want := row.may.has(message), may[AVPType(n)]; got != want {
				t.Errorf("%s: optional in %s: %v, want %v", row.name, name, got, want)
			}
		}
	}
	if len(byName) != 0 {
		t.Errorf("not in the table: %v", byName)
	}
}

func TestExtensionsHaveNamesOnly(t *testing.T) {
	t.Parallel()
	// P212, P214, P217, P218, P225: the M bit decides what happens to them.
	for _, r := range [][2]AVPType{{40, 45}, {47, 48}, {53, 58}, {76, 79}, {97, 98}} {
		for n := r[0]; n <= r[1]; n++ {
			if row := lookup(n); row == nil || !row.nameOnly || row.must|row.may != 0 {
				t.Errorf("AVP %d: %+v", n, row)
			}
		}
	}
	for _, n := range []AVPType{59, 75, 80, 96, 99, 65535} {
		if lookup(n) != nil {
			t.Errorf("AVP %d has a row", n)
		}
		if got, want := n.String(), "AVP "+strconv.Itoa(int(n)); got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

func TestMessageTypesKnowTheirSide(t *testing.T) {
	t.Parallel()
	// RFC 2661, section 6: 1-4 and 6 control the tunnel, the others a session (P16).
	for n := MessageType(0); n < 300; n++ {
		tunnel := n >= 1 && n <= 4 || n == 6
		session := n >= 7 && n <= 12 || n >= 14 && n <= 16
		if n.Known() != (tunnel || session) || n.Session() != session {
			t.Errorf("%s: known %v, session %v", n, n.Known(), n.Session())
		}
	}
	if got := MessageType(5).String(); got != "message 5" {
		t.Error(got)
	}
}
