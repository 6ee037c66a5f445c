package tty

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// talk is a link without a device: what the modem says is there from the beginning, and time does not pass.
type talk struct {
	says   string
	log    strings.Builder
	at     int
	broken error // instead of a timeout at the end
}

func (k *talk) until(time.Duration) error { return nil }

func (k *talk) next() (byte, error) {
	if k.at == len(k.says) {
		return 0, errTimeout
	}
	k.at++
	return k.says[k.at-1], nil
}

func (k *talk) send(b []byte) error {
	k.log.Write(b)
	return k.broken
}

func (k *talk) pause(d time.Duration) error {
	k.log.WriteString("<" + d.String() + ">")
	return nil
}

func (k *talk) sendBreak() error {
	k.log.WriteString("<break>")
	return nil
}

func TestScriptSaysWhatItShould(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		words      []string
		want       string // what is sent
		fails      string
		rest       int // octets that are not read
	}{
		{name: "empty script"},
		{name: "empty expectation", words: []string{"", "AT"}, want: "AT\r"},
		{name: "empty answer", words: []string{"", ""}, want: "\r"},
		{name: "escapes", words: []string{"", `\d\pA\sB\t\n\N\\\^\101\7\r\T\U\K\c`}, want: "<1s><100ms>A B\t\n\x00\\^A\a\r123sub<break>"},
		{name: "expectation with escapes", words: []string{`a\sb\176`, "x"}, says: "a b~more", want: "x\r", rest: 4},
		{name: "expectations in turn", words: []string{"", "1", "one", "2", "two"}, says: "..oneone two!", want: "1\r2\r", rest: 1},
		{name: "what is met is not met again", words: []string{"OK", "a", "OK", "b"}, says: "OK", want: "a\r", fails: `timeout waiting for "OK"`},
		{name: "overlap", words: []string{"aab", "x"}, says: "aaab", want: "x\r"},
		{name: "abort", words: []string{"ABORT", "BUSY", "", "ATD", "CONNECT", ""}, says: "xBUSY CONNECT", want: "ATD\r", fails: `the modem says "BUSY"`, rest: 8},
		{name: "abort forgotten", words: []string{"ABORT", "BUSY", "CLR_ABORT", "BUSY", "OK"}, says: "BUSYOK"},
		{name: "directives between", words: []string{"", "a", "TIMEOUT", "3", "OK", "b"}, says: "OK", want: "a\rb\r"},
		{name: "modem's own words", words: []string{"CONNECT"}, says: "\r\nNO CARRIER\r\n", fails: `the modem says "NO CARRIER"`, rest: 1},
		{name: "expected words of the modem", words: []string{"NO CARRIER"}, says: "\r\nNO CARRIER\r\n", rest: 2},
		{name: "long line", words: []string{"OK"}, says: strings.Repeat("O", 10000) + "K"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := parseScript(c.words)
			if err != nil {
				t.Fatal(err)
			}
			k := &talk{says: c.says}
			err = (&chat{link: k, scan: &scanner{}, results: true, number: "123", sub: "sub"}).run(s)
			failed := ""
			if err != nil {
				failed = err.Error()
			}
			if diff := cmp.Diff([]any{c.want, c.fails, c.rest}, []any{k.log.String(), failed, len(k.says) - k.at}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestModemThatTakesNothingIsATimeout(t *testing.T) {
	t.Parallel()
	s, err := parseScript([]string{"", "AT"})
	if err != nil {
		t.Fatal(err)
	}
	err = (&chat{link: &talk{broken: errTimeout}, scan: &scanner{}}).run(s)
	if err == nil || err.Error() != "timeout waiting for the modem to take what is sent" {
		t.Errorf("%v", err)
	}
}

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	line := func(init ...string) policy.TTY { return policy.TTY{Device: "/dev/x", DialIn: true, Init: init} }
	for _, c := range []struct {
		want string
		tty  policy.TTY
	}{
		{"no device", policy.TTY{DialIn: true}},
		{"/dev/x: neither dial-in nor dial-out", policy.TTY{Device: "/dev/x"}},
		{"/dev/x: speed -1: want 1 to 20000000 bit/s", policy.TTY{Device: "/dev/x", Speed: -1, DialIn: true}},
		{`/dev/x: init script: entry 1, ABORT: nothing follows`, line("ABORT")},
		{`/dev/x: init script: entry 1, ABORT "": the empty text would always be found`, line("ABORT", "")},
		{`/dev/x: init script: entry 1, TIMEOUT "0": want 1 to 3600 seconds`, line("TIMEOUT", "0")},
		{`/dev/x: init script: entry 1, TIMEOUT "9999999999999": want 1 to 3600 seconds`, line("TIMEOUT", "9999999999999")},
		{`/dev/x: init script: entry 1, expect "\\T": \T has a meaning only in what is sent`, line(`\T`)},
		{`/dev/x: init script: entry 2, after expect "": unknown escape \é`, line("", `x\é`)},
		{`/dev/x: init script: entry 2, after expect "": it ends in a single backslash`, line("", `x\`)},
		{`/dev/x: init script: entry 2, after expect "": \777 is more than \377`, line("", `\777`)},
	} {
		if _, err := scriptsOf(c.tty); err == nil || err.Error() != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
		if l, err := Open(Config{TTY: c.tty}); err == nil {
			l.Close()
			t.Errorf("opened in spite of %s", c.want)
		}
	}
	for _, words := range [][]string{{strings.Repeat("x", 129)}, strings.Split(strings.Repeat("ABORT x ", 33)+"OK", " ")} {
		if err := CheckScript(words); err == nil {
			t.Errorf("%.40q: accepted", words)
		}
	}
	if err := CheckScript([]string{"ABORT", "x", "", `\d+++\d\c`, "OK", "ATH", "OK"}); err != nil {
		t.Error(err)
	}
}

func TestWordsOfModemsAreUnderstood(t *testing.T) {
	t.Parallel()
	type heard struct {
		Marks         []mark
		Speed         uint32
		Calling, Text string
	}
	for says, want := range map[string]heard{
		"RING\r":                                 {Marks: []mark{markRing}, Speed: 1},
		"\n+CRING: ASYNC\r\n":                    {Marks: []mark{markRing}, Speed: 1},
		"RINGING\r":                              {Speed: 1},
		"CONNECT\r":                              {Marks: []mark{markConnect}, Speed: 1},
		"CONNECT 33600/ARQ\r":                    {Marks: []mark{markConnect}, Speed: 33600},
		"CONNECT FAST 33600\r":                   {Marks: []mark{markConnect}, Speed: 1},
		"CONNECT 99999999999\r":                  {Marks: []mark{markConnect}, Speed: 1},
		"CARRIER 31200\r\nCONNECT 115200\r\n":    {Marks: []mark{markConnect}, Speed: 31200},
		"NMBR = 555\r":                           {Calling: "555", Speed: 1},
		"NMBR = P\r":                             {Speed: 1},
		"NMBR=" + strings.Repeat("5", 65) + "\r": {Speed: 1},
		"NMBR = 5\x1b[2J\r":                      {Calling: "5", Speed: 1},
		"CALLER NUMBER: 0301\r":                  {Calling: "0301", Speed: 1},
		"+CLIP: \"+49301\",145\r":                {Calling: "+49301", Speed: 1},
		"NO DIAL TONE\r":                         {Marks: []mark{markResult}, Text: "NO DIAL TONE", Speed: 1},
		"NO CARRIERS\r":                          {Speed: 1},
		"xx\xff}#":                               {Marks: []mark{markPPP}, Speed: 1},
		"\xff}\x23~":                             {Marks: []mark{markPPP, markPPP}, Speed: 1},
		strings.Repeat("A", 300) + "\rRING\r":    {Marks: []mark{markRing}, Speed: 1},
		strings.Repeat(" ", 256) + "RING\r":      {Speed: 1},
		"AT\rRING\nNMBR = 1\nRING\n":             {Marks: []mark{markRing, markRing}, Calling: "1", Speed: 1},
	} {
		var s scanner
		var got heard
		for i := range len(says) {
			if m := s.feed(says[i]); m != markNone {
				got.Marks = append(got.Marks, m)
			}
		}
		got.Speed, got.Calling, got.Text = s.rate(1), s.calling, s.text
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.60q:\n%s", says, diff)
		}
	}
}

func TestEveryReasonAndStateHasItsWords(t *testing.T) {
	t.Parallel()
	for r := range BadNumber + 1 {
		if strings.Contains(r.String(), "(") || r.CDN() == Reason(99).CDN() {
			t.Errorf("%v, result code %d", r, r.CDN())
		}
	}
	for s := range StateClosed + 1 {
		if strings.Contains(s.String(), "(") {
			t.Error(s)
		}
	}
	if got := (&DialError{Device: "/dev/x", Reason: Busy}).Error(); got != "dial on /dev/x: busy" {
		t.Error(got)
	}
}

// FuzzChat has scripts, one word a line, meet modems that say anything: nothing panics, what is held is bounded, numbers are numbers.
func FuzzChat(f *testing.F) {
	f.Add("\nATZ\nOK\nATDT\\T\nCONNECT\n\\c", "OK\r\nCONNECT 33600\r\nNMBR = 5\r\n~")
	f.Add("ABORT\nBUSY\nTIMEOUT\n3\nRING\n\\d\\K", "BUSY")
	f.Add("x", strings.Repeat("y", 1000))
	f.Add("\\", "\\")
	f.Fuzz(func(t *testing.T, words, says string) {
		s, err := parseScript(strings.Split(words, "\n"))
		if err != nil {
			return
		}
		k, scan := &talk{says: says}, &scanner{}
		c := &chat{link: k, scan: scan, results: len(says)%2 == 0, number: "1"}
		_ = c.run(s)
		if len(c.tail) > 2*maxText || cap(c.tail) > 4*maxText || len(scan.line) > maxLine || cap(scan.line) > 2*maxLine || len(c.aborts) > maxAborts {
			t.Errorf("%d octets of tail, %d of line, %d aborts", cap(c.tail), cap(scan.line), len(c.aborts))
		}
		if !dialable(scan.calling) {
			t.Errorf("calling number %q", scan.calling)
		}
		for i := k.at; i < len(says); i++ {
			scan.feed(says[i])
		}
	})
}
