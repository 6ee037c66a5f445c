package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// addDatagrams seeds a fuzz target with every kind of datagram.
func addDatagrams(f *testing.F, add func(datagram []byte)) {
	f.Helper()
	for _, e := range messageExamples() {
		add(e.datagram)
	}
	add(unhex(f, foreignSCCRP))
	add(AppendZLB(nil, 1, 2, 3))
	add(AppendDataHeader(nil, 1, 2, true))
	add(unhex(f, "6b02 0011 0001 0002 0003 0004 0002 ffff aa"))
	add(AppendMessage(nil, 1, 2, 3, 4, fullICCN(), &Hiding{Secret: testSecret, Random: entropy(1)}))
	add(append(controlHeader(0, 24), 0x80, 8, 0, 0, 0, 0, 0, 10, 0x80, 3, 0, 0))
}

// FuzzParseHeader: no panic, the payload lies within the datagram, errors are the three sentinels (P2-P10, P276).
func FuzzParseHeader(f *testing.F) {
	addDatagrams(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, payload, err := ParseHeader(b)
		if !bytes.Equal(b, before) {
			t.Fatal("datagram changed")
		}
		if err != nil {
			if !errors.Is(err, ErrShort) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrMalformedHeader) {
				t.Fatalf("unnamed error %v", err)
			}
			if payload != nil {
				t.Fatal("payload with an error")
			}
			return
		}
		end := len(b)
		if h.HasLength {
			end = int(h.Length)
		}
		if !bytes.HasSuffix(b[:end], payload) || len(payload) > end-6 || h.Version != 2 {
			t.Fatalf("header %+v, payload %x", h, payload)
		}
		if h.Control && (!h.HasLength || !h.HasSequence || h.HasOffset || h.Priority) {
			t.Fatalf("control header %+v", h)
		}
	})
}

// FuzzParseMessage: what parses is encoded to the same message again, and Validate keeps only what the catalogue knows.
func FuzzParseMessage(f *testing.F) {
	addDatagrams(f, func(b []byte) {
		if _, payload, err := ParseHeader(b); err == nil {
			f.Add(payload, false)
			f.Add(payload, true)
		}
	})
	f.Fuzz(func(t *testing.T, payload []byte, pre13 bool) {
		m, err := ParseMessage(payload)
		var p *Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("error %v is no *Problem", err)
		}
		if err == nil && !slices.ContainsFunc(m.AVPs, func(a AVP) bool { return a.Reserved }) && len(payload) < 60000 {
			again := parseDatagram(t, AppendMessage(nil, 1, 2, 3, 4, m, nil))
			if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
		if len(m.AVPs) > MaxAVPs {
			t.Fatalf("%d AVPs", len(m.AVPs))
		}
		_, err = m.Validate(ValidateOptions{PRE13: pre13})
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("error %v is no *Problem", err)
		}
		if !m.Type.Known() {
			return
		}
		for _, a := range m.AVPs {
			row := rowOf(a)
			if a.Hidden || a.Reserved || row == nil || !row.fits(len(a.Value)) {
				t.Fatalf("kept %+v", a)
			}
		}
		_, _ = m.Result()
		_, _ = m.CallErrors()
		_, _, _ = m.ACCM()
		_, _, _ = m.Version()
	})
}

// FuzzUnhide: no over-read, nothing hidden is left, and any value comes back from hiding (P38-P43).
func FuzzUnhide(f *testing.F) {
	addDatagrams(f, func(b []byte) {
		if _, payload, err := ParseHeader(b); err == nil {
			f.Add(payload, testSecret)
		}
	})
	for _, v := range hiddenVectors {
		f.Add(payload(MsgICCN, rawAVP(0x8000, 0, 36, v.vector...), rawAVP(0x4000, 0, uint16(v.kind), unhex(f, v.hidden)...)), testSecret)
	}
	f.Fuzz(func(t *testing.T, payload, secret []byte) {
		before := bytes.Clone(payload)
		m, _ := ParseMessage(payload)
		total := len(m.AVPs)
		err := m.Unhide(secret)
		var p *Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("error %v is no *Problem", err)
		}
		if !bytes.Equal(payload, before) {
			t.Fatal("payload changed")
		}
		if len(m.AVPs)+len(m.Ignored) != total {
			t.Fatalf("%d AVPs and %d notes from %d", len(m.AVPs), len(m.Ignored), total)
		}
		for _, a := range m.AVPs {
			if a.Hidden && !a.Reserved || len(a.Value) > MaxValue {
				t.Fatalf("left %+v", a)
			}
		}
		if len(secret) == 0 {
			return
		}
		value := payload[:min(len(payload), MaxHiddenValue)]
		sent := AppendMessage(nil, 0, 0, 0, 0, NewMessage(MsgICCN, Bytes(AVPProxyAuthenResponse, value)), &Hiding{Secret: secret, Random: entropy(uint64(len(payload)))})
		back := parseDatagram(t, sent)
		if err := back.Unhide(secret); err != nil {
			t.Fatal(err)
		}
		if v, ok := back.Bytes(AVPProxyAuthenResponse); !ok || !bytes.Equal(v, value) {
			t.Fatalf("hid %x, read %x", value, v)
		}
	})
}

// FuzzSummary: one line of printable ASCII of bounded length, whatever comes in (P37, P276).
func FuzzSummary(f *testing.F) {
	addDatagrams(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		s := Summary(b)
		wantLogLine(t, s)
		if len(s) > 1000+MaxAVPs*500 {
			t.Fatalf("%d octets", len(s))
		}
	})
}
