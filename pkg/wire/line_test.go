package wire

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// specLine is the list of RFC 5515, 5.1-5.19: number and whole length.
const specLine = `1 8-69 | 2 8-69 | 129 14 | 130 14 | 131 14 | 132 14 | 133 14 | 134 14 | 135 14 | 136 14 | 137 14 | 138 14
139 10 | 140 10 | 141 10 | 142 10 | 144 9 | 145 10 | 254 10`

// lineICRQ is an ICRQ with every access line AVP.
func lineICRQ() Message {
	m := NewMessage(MsgICRQ, Uint16(AVPAssignedSessionID, 13), Uint32(AVPCallSerialNumber, 2),
		LineBytes(LineCircuitID, []byte("node-7 atm 1/3:8.35")), LineBytes(LineRemoteID, []byte("joe")))
	for _, r := range lineCatalogue[2:] {
		m.AVPs = append(m.AVPs, LineNumber(r.kind, uint64(r.kind)*1000))
	}
	return m
}

// P222: numbers, lengths, M=0, hidable, in ICRQ only.
func TestAccessLineAVPsAreThoseOfRFC5515(t *testing.T) {
	t.Parallel()
	rows := 0
	for entry := range strings.FieldsFuncSeq(specLine, func(r rune) bool { return r == '|' || r == '\n' }) {
		number, length, _ := strings.Cut(strings.TrimSpace(entry), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		i := lineIndex(LineAttribute(n))
		if i != rows {
			t.Fatalf("access line AVP %d has row %d", n, i)
		}
		rows++
		row := lineCatalogue[i]
		low, high, open := strings.Cut(length, "-")
		if !open {
			high = low
		}
		if strconv.Itoa(row.min+6) != low || strconv.Itoa(row.max+6) != high || row.mandatory || !row.hidable || row.must != 0 || row.may != inICRQ {
			t.Errorf("%s: %+v", LineAttribute(n), row)
		}
		for octets := range 80 {
			if got, want := LineAttribute(n).Fits(octets), octets >= row.min && octets <= row.max; got != want {
				t.Errorf("%s: %d octets fit: %v", row.name, octets, got)
			}
		}
	}
	if rows != len(lineCatalogue) {
		t.Errorf("%d of %d rows", rows, len(lineCatalogue))
	}
	for _, n := range []LineAttribute{0, 3, 98, 128, 143, 146, 253, 255} {
		if n.Fits(4) || n.String() != "access line AVP "+strconv.Itoa(int(n)) {
			t.Errorf("%s is known", n)
		}
	}
}

func TestAccessLineComesBack(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]*Hiding{"clear": nil, "hidden": {Secret: testSecret, Random: entropy(3)}} {
		want := lineICRQ()
		m := parseDatagram(t, AppendMessage(nil, 1, 0, 0, 0, want, hide))
		for _, a := range m.AVPs {
			if a.Vendor == VendorAccessLine && a.Hidden != (hide != nil) {
				t.Errorf("%s: %v", name, a)
			}
		}
		if err := m.Unhide(testSecret); err != nil {
			t.Fatal(err)
		}
		ignored, err := m.Validate(ValidateOptions{})
		m.AVPs = slices.DeleteFunc(m.AVPs, func(a AVP) bool { return a.Vendor == 0 && a.Type == AVPRandomVector })
		if diff := cmp.Diff(want.AVPs, m.AVPs); diff != "" || err != nil || len(ignored) > 0 {
			t.Errorf("%s: %v, %q\n%s", name, err, ignored, diff)
		}
		for i, r := range lineCatalogue[2:] {
			if got := m.AVPs[4+i].Number(); got != uint64(r.kind)*1000 {
				t.Errorf("%s: %s is %d", name, r.name, got)
			}
		}
	}
}

// P222, P29: M=0 makes a broken one a note; it stays what it is for an LNS that does not know it.
func TestBrokenAccessLineAVPsAreIgnored(t *testing.T) {
	t.Parallel()
	call := []AVP{Uint16(AVPAssignedSessionID, 13), Uint32(AVPCallSerialNumber, 2)}
	broken := []AVP{
		LineBytes(LineCircuitID, []byte("x")),
		LineBytes(LineRemoteID, make([]byte, 64)),
		LineBytes(LineActualRateUp, make([]byte, 4)),
		LineBytes(LineEncapsulation, nil),
		LineBytes(98, nil),
		{Hidden: true, Vendor: VendorAccessLine, Type: AVPType(LineCircuitID), Value: []byte("no random vector")},
		{Reserved: true, Vendor: VendorAccessLine, Type: AVPType(LineCircuitID), Value: []byte("node")},
	}
	for _, a := range broken {
		m := NewMessage(MsgICRQ, append(slices.Clone(call), a)...)
		errHidden := m.Unhide(nil)
		ignored, err := m.Validate(ValidateOptions{})
		silent := a.Reserved || a.Type == 98 // as unknown as any other
		if errHidden != nil || err != nil || len(m.AVPs) != 2 || len(ignored) != 1 && !silent {
			t.Errorf("%v: %v, %v, %q, kept %v", a, errHidden, err, ignored, m.AVPs)
		}
	}
	// A second copy, and one in another message.
	m := NewMessage(MsgICRQ, append(slices.Clone(call), LineNumber(LineType, 1), LineNumber(LineType, 2))...)
	if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(m.AVPs) != 3 || len(ignored) != 1 {
		t.Errorf("copies: %v, %q, %v", err, ignored, m.AVPs)
	}
	m = NewMessage(MsgICRP, call[0], LineNumber(LineType, 1))
	if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(m.AVPs) != 1 || len(ignored) != 1 {
		t.Errorf("ICRP: %v, %q, %v", err, ignored, m.AVPs)
	}
	// A LAC may insist by M=1 (RFC 5515, 5). What it insists on must then be right (P28).
	must := LineNumber(LineType, 1<<24)
	must.Mandatory = true
	m = NewMessage(MsgICRQ, append(slices.Clone(call), must)...)
	if _, err := m.Validate(ValidateOptions{}); err != nil || len(m.AVPs) != 3 {
		t.Errorf("M=1: %v, %v", err, m.AVPs)
	}
	must.Value = must.Value[:3]
	m = NewMessage(MsgICRQ, append(slices.Clone(call), must)...)
	_, err := m.Validate(ValidateOptions{})
	wantProblem(t, err, ProblemLength, ErrCodeLength, VendorAccessLine, AVPType(LineType))
}
