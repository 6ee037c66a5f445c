package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// minimal is a message of type t with its mandatory AVPs, good enough for Validate.
func minimal(t MessageType) Message {
	m := NewMessage(t)
	for n := range catalogue {
		if catalogue[n].must.has(t) {
			m.AVPs = append(m.AVPs, sample(AVPType(n)))
		}
	}
	return m
}

// sample is an AVP with a good value of the shortest length, no octet of which is 0.
func sample(t AVPType) AVP {
	row := lookup(t)
	return Bytes(t, []byte(strings.Repeat("\x01", row.min)))
}

// types lists the AVPs of a message.
func types(m Message) []AVPType {
	var list []AVPType
	for _, a := range m.AVPs {
		list = append(list, a.Type)
	}
	return list
}

// wantProblem checks that err is a *Problem of that kind and code which blames that AVP.
func wantProblem(t *testing.T, err error, kind ProblemKind, code uint16, vendor uint16, attribute AVPType) Problem {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) {
		t.Errorf("got %v, want a %v problem", err, kind)
		return Problem{}
	}
	if p.Kind != kind || p.Code != code || p.Vendor != vendor || p.Type != attribute {
		t.Errorf("got %v problem, code %d, AVP %d/%d (%s); want %v, %d, %d/%d",
			p.Kind, p.Code, p.Vendor, p.Type, p.Text, kind, code, vendor, attribute)
	}
	return *p
}

func TestMinimalMessagesAreValid(t *testing.T) {
	t.Parallel()
	for _, message := range knownMessages {
		m := minimal(message)
		want := types(m)
		ignored, err := m.Validate(ValidateOptions{})
		if err != nil || len(ignored) != 0 {
			t.Errorf("%s: ignored %q, %v", message, ignored, err)
		}
		if diff := cmp.Diff(want, types(m)); diff != "" {
			t.Errorf("%s: %s", message, diff)
		}
	}
}

func TestOptionalAVPsAreKept(t *testing.T) {
	t.Parallel()
	for _, message := range knownMessages {
		for n := range catalogue {
			if !catalogue[n].may.has(message) {
				continue
			}
			m := minimal(message)
			m.AVPs = append(m.AVPs, sample(AVPType(n)))
			ignored, err := m.Validate(ValidateOptions{})
			if err != nil || len(ignored) != 0 || !m.Has(AVPType(n)) {
				t.Errorf("%s with %s: ignored %q, %v", message, AVPType(n), ignored, err)
			}
		}
	}
}

func TestUnknownOptionalAVPIsDropped(t *testing.T) {
	t.Parallel()
	// P22: of the IETF or of a vendor; a vendor's number 9 is not ours. P212, P217: extensions with a name only.
	for _, a := range []AVP{
		{Type: 200, Value: []byte{1}},
		{Type: 65535},
		{Vendor: 9, Type: 9, Value: []byte{0, 7}},
		{Type: AVPControlConnectionDS, Value: []byte{0, 1}},
		{Type: AVPFailoverCapability, Value: make([]byte, 6)},
		{Type: AVPPacketProcDelay, Value: []byte{0, 1}},
	} {
		m := minimal(MsgSCCRQ)
		want := types(m)
		m.AVPs = append([]AVP{a}, m.AVPs...)
		ignored, err := m.Validate(ValidateOptions{})
		if err != nil || len(ignored) != 0 {
			t.Errorf("%v: ignored %q, %v", a, ignored, err)
		}
		if diff := cmp.Diff(want, types(m)); diff != "" {
			t.Errorf("%v: %s", a, diff)
		}
	}
}

func TestUnknownMandatoryAVPIsAProblem(t *testing.T) {
	t.Parallel()
	// P23 in tunnel messages, P24 in session messages: error 8, the text names vendor and type. P218: Tunnel Recovery.
	for _, message := range knownMessages {
		for _, a := range []AVP{
			{Mandatory: true, Vendor: 4711, Type: 815},
			{Mandatory: true, Type: 200},
			{Mandatory: true, Type: AVPTunnelRecovery, Value: make([]byte, 10)},
		} {
			m := minimal(message)
			want := types(m)
			m.AVPs = append([]AVP{a}, m.AVPs...)
			_, err := m.Validate(ValidateOptions{})
			p := wantProblem(t, err, ProblemUnknownAVP, ErrCodeUnknownMandatory, a.Vendor, a.Type)
			for _, word := range []string{"vendor " + number(a.Vendor), "type " + number(uint16(a.Type)), message.String()} {
				if !strings.Contains(p.Text, word) {
					t.Errorf("%q does not say %q", p.Text, word)
				}
			}
			if p.ClearsTunnel() == message.Session() {
				t.Errorf("%s: clears tunnel %v", message, p.ClearsTunnel())
			}
			// The answer needs the ids that come later in the message.
			if diff := cmp.Diff(want, types(m)); diff != "" {
				t.Errorf("%s: %s", message, diff)
			}
		}
	}
}

func TestReservedBitMakesAnAVPUnrecognised(t *testing.T) {
	t.Parallel()
	// P25: the M bit decides, though the type is known.
	m := minimal(MsgSCCRQ)
	a := sample(AVPVendorName)
	a.Reserved = true
	m.AVPs = append(m.AVPs, a)
	if _, err := m.Validate(ValidateOptions{}); err != nil || m.Has(AVPVendorName) {
		t.Errorf("M=0: %v, %v", m, err)
	}
	m = minimal(MsgSCCRQ)
	a.Mandatory = true
	m.AVPs = append(m.AVPs, a)
	_, err := m.Validate(ValidateOptions{})
	wantProblem(t, err, ProblemUnknownAVP, ErrCodeUnknownMandatory, 0, AVPVendorName)

	m = minimal(MsgICRQ)
	m.AVPs[0].Reserved, m.AVPs[0].Mandatory = true, false
	_, err = m.Validate(ValidateOptions{})
	wantProblem(t, err, ProblemMissing, ErrCodeValue, 0, AVPAssignedSessionID)
}

func TestUnknownMessageTypeFollowsItsMBit(t *testing.T) {
	t.Parallel()
	// P26, P225: 18, 19, 21, 22, 28, 29 have names and no more.
	for _, message := range []MessageType{0, 5, 13, 17, MsgSRRQ, MsgSRRP, MsgFSQ, MsgFSR, MsgCSUN, MsgCSURQ, 31, 32, 33, 65535} {
		m := Message{Type: message, Mandatory: true, AVPs: []AVP{{Mandatory: true, Type: 14, Value: []byte{0, 1}}}}
		_, err := m.Validate(ValidateOptions{})
		p := wantProblem(t, err, ProblemUnknownMessage, ErrCodeUnknownMandatory, 0, 0)
		if !p.ClearsTunnel() {
			t.Errorf("%s: does not clear the tunnel", message)
		}
		m.Mandatory = false
		m.AVPs = append(m.AVPs, AVP{Mandatory: true, Type: 300})
		if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 {
			t.Errorf("%s with M=0: %q, %v", message, ignored, err)
		}
	}
}

func TestWrongLengthFollowsTheMBit(t *testing.T) {
	t.Parallel()
	// P27, P28: one octet too short and one too long, for every AVP that has such lengths.
	for n := range catalogue {
		row, kind := &catalogue[n], AVPType(n)
		places := row.must | row.may
		if row.nameOnly || places == 0 || kind == AVPRandomVector {
			continue
		}
		var message MessageType
		for _, message = range knownMessages {
			if places.has(message) {
				break
			}
		}
		for _, size := range []int{row.min - 1, row.max + 1} {
			if size < 0 || size > MaxValue {
				continue
			}
			bad := AVP{Type: kind, Value: make([]byte, size)}
			m := minimal(message)
			m.AVPs = append([]AVP{bad}, m.AVPs...)
			ignored, err := m.Validate(ValidateOptions{})
			if err != nil || len(ignored) != 1 || !strings.Contains(ignored[0], row.name+" (vendor 0 type ") {
				t.Errorf("%s of %d octets, M=0: ignored %q, %v", row.name, size, ignored, err)
			}
			if v, ok := m.Bytes(kind); ok && len(v) == size {
				t.Errorf("%s of %d octets was kept", row.name, size)
			}
			bad.Mandatory = true
			m = minimal(message)
			m.AVPs = append([]AVP{bad}, m.AVPs...)
			_, err = m.Validate(ValidateOptions{})
			wantProblem(t, err, ProblemLength, ErrCodeLength, 0, kind)
		}
	}
}

func TestShortRxConnectSpeedIsIgnored(t *testing.T) {
	t.Parallel()
	// P27, its own example.
	m := minimal(MsgICCN)
	m.AVPs = append(m.AVPs, AVP{Type: AVPRxConnectSpeed, Value: []byte{1, 2}})
	ignored, err := m.Validate(ValidateOptions{})
	want := []string{"ICCN: Rx Connect Speed (vendor 0 type 38): wrong length 8, ignored"}
	if diff := cmp.Diff(want, ignored); diff != "" || err != nil || m.Has(AVPRxConnectSpeed) {
		t.Errorf("%v %s", err, diff)
	}
}

func TestResultCodeOfNineOctetsHasAWrongLength(t *testing.T) {
	t.Parallel()
	// P56, P28.
	m := NewMessage(MsgStopCCN, Uint16(AVPAssignedTunnelID, 1), Bytes(AVPResultCode, []byte{0, 1, 0}))
	_, err := m.Validate(ValidateOptions{})
	wantProblem(t, err, ProblemLength, ErrCodeLength, 0, AVPResultCode)
}

func TestUnusualMBitsAreAccepted(t *testing.T) {
	t.Parallel()
	// P29: some peers mark everything, some nothing.
	for _, mandatory := range []bool{true, false} {
		for _, message := range knownMessages {
			m := minimal(message)
			m.AVPs = append(m.AVPs, AVP{Type: AVPRandomVector, Value: []byte{1}})
			for i := range m.AVPs {
				m.AVPs[i].Mandatory = mandatory
			}
			m.Mandatory = mandatory
			n := len(m.AVPs)
			if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 || len(m.AVPs) != n {
				t.Errorf("%s, M=%v: ignored %q, %v", message, mandatory, ignored, err)
			}
		}
	}
}

func TestKnownAVPInTheWrongPlaceIsIgnored(t *testing.T) {
	t.Parallel()
	// P30: every AVP in every message it does not belong to, whatever its M bit.
	for _, message := range knownMessages {
		for n := range catalogue {
			row := &catalogue[n]
			if row.name == "" || row.nameOnly || (row.must | row.may).has(message) {
				continue
			}
			for _, mandatory := range []bool{true, false} {
				a := sample(AVPType(n))
				a.Mandatory = mandatory
				m := minimal(message)
				m.AVPs = append(m.AVPs, a)
				ignored, err := m.Validate(ValidateOptions{})
				if err != nil || len(ignored) != 1 || m.Has(AVPType(n)) {
					t.Errorf("%s in %s: ignored %q, %v", row.name, message, ignored, err)
				}
			}
		}
	}
}

func TestFirstOfDuplicatesWins(t *testing.T) {
	t.Parallel()
	// P31. The second one's length and value do not matter.
	m := minimal(MsgICRQ)
	m.AVPs = append(m.AVPs,
		Uint16(AVPAssignedSessionID, 7777),
		AVP{Mandatory: true, Type: AVPCallSerialNumber, Value: []byte{1}},
		Text(AVPCalledNumber, "1"), Text(AVPCalledNumber, "2"))
	ignored, err := m.Validate(ValidateOptions{})
	if err != nil || len(ignored) != 3 {
		t.Errorf("ignored %q, %v", ignored, err)
	}
	if v, _ := m.Uint16(AVPAssignedSessionID); v != 0x0101 {
		t.Errorf("session id %d", v)
	}
	if v, _ := m.Text(AVPCalledNumber); v != "1" {
		t.Errorf("called number %q", v)
	}
	if len(m.AVPs) != 3 {
		t.Errorf("kept %v", m)
	}
}

func TestBrokenOptionalAVPDoesNotHideAGoodOne(t *testing.T) {
	t.Parallel()
	// P27 before P31.
	m := minimal(MsgICCN)
	m.AVPs = append(m.AVPs, AVP{Type: AVPRxConnectSpeed, Value: []byte{1}}, Uint32(AVPRxConnectSpeed, 64000))
	if _, err := m.Validate(ValidateOptions{}); err != nil {
		t.Fatal(err)
	}
	if v, ok := m.Uint32(AVPRxConnectSpeed); !ok || v != 64000 {
		t.Errorf("speed %d %v", v, ok)
	}
}

func TestRepeatableAVPsAreAllKept(t *testing.T) {
	t.Parallel()
	// P39 needs every Random Vector; P210 allows several disconnect causes.
	m := minimal(MsgCDN)
	m.AVPs = append(m.AVPs, sample(AVPPPPDisconnectCause), sample(AVPPPPDisconnectCause), sample(AVPRandomVector), sample(AVPRandomVector))
	if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 || len(m.AVPs) != 6 {
		t.Errorf("ignored %q, %v", ignored, err)
	}
}

func TestMissingMandatoryAVPIsAProblem(t *testing.T) {
	t.Parallel()
	// P32: each message, each AVP.
	for _, message := range knownMessages {
		whole := minimal(message).AVPs
		for i, a := range whole {
			m := NewMessage(message)
			m.AVPs = append(append(m.AVPs, whole[:i]...), whole[i+1:]...)
			_, err := m.Validate(ValidateOptions{})
			p := wantProblem(t, err, ProblemMissing, ErrCodeValue, 0, a.Type)
			if !strings.Contains(p.Text, a.Type.String()) || p.Message != message {
				t.Errorf("%+v", p)
			}
			if r := p.Result(); r.Code != 2 || !r.HasError || r.Error != ErrCodeValue || r.Text != p.Text {
				t.Errorf("result %+v", r)
			}
		}
	}
}

func TestEmptyHostNameIsMalformed(t *testing.T) {
	t.Parallel()
	// P33, with and without M.
	for _, mandatory := range []bool{true, false} {
		for _, message := range []MessageType{MsgSCCRQ, MsgSCCRP} {
			m := minimal(message)
			for i := range m.AVPs {
				if m.AVPs[i].Type == AVPHostName {
					m.AVPs[i].Value, m.AVPs[i].Mandatory = nil, mandatory
				}
			}
			_, err := m.Validate(ValidateOptions{})
			if mandatory {
				wantProblem(t, err, ProblemLength, ErrCodeLength, 0, AVPHostName)
			} else {
				wantProblem(t, err, ProblemMissing, ErrCodeValue, 0, AVPHostName)
			}
		}
	}
}

func TestZeroWindowIsNotAcceptable(t *testing.T) {
	t.Parallel()
	// P35.
	for _, message := range []MessageType{MsgSCCRQ, MsgSCCRP} {
		m := minimal(message)
		m.AVPs = append(m.AVPs, Uint16(AVPReceiveWindowSize, 0))
		_, err := m.Validate(ValidateOptions{})
		wantProblem(t, err, ProblemValue, ErrCodeValue, 0, AVPReceiveWindowSize)
		m = minimal(message)
		m.AVPs = append(m.AVPs, Uint16(AVPReceiveWindowSize, 1))
		if _, err := m.Validate(ValidateOptions{}); err != nil {
			t.Errorf("window 1: %v", err)
		}
	}
}

func TestZeroIDsAreRefusedWhereTheyAreAssigned(t *testing.T) {
	t.Parallel()
	// P36. A StopCCN or CDN still ends what it ends.
	for _, message := range knownMessages {
		for _, id := range []AVPType{AVPAssignedTunnelID, AVPAssignedSessionID} {
			if !catalogue[id].must.has(message) {
				continue
			}
			m := minimal(message)
			for i := range m.AVPs {
				if m.AVPs[i].Type == id {
					m.AVPs[i].Value = []byte{0, 0}
				}
			}
			ignored, err := m.Validate(ValidateOptions{})
			if message == MsgStopCCN || message == MsgCDN {
				if err != nil || len(ignored) != 1 {
					t.Errorf("%s: ignored %q, %v", message, ignored, err)
				}
				continue
			}
			wantProblem(t, err, ProblemValue, ErrCodeValue, 0, id)
		}
	}
}

func TestDraft12AVPsNeedPRE13(t *testing.T) {
	t.Parallel()
	// P281 off, P282 on.
	for _, message := range []MessageType{MsgOCRQ, MsgOCCN, MsgICRP, MsgICCN} {
		for _, mandatory := range []bool{true, false} {
			delay, window := Uint16(AVPPacketProcDelay, 5), Uint16(AVPReceiveWindowSize, 0)
			delay.Mandatory = mandatory
			m := minimal(message)
			m.AVPs = append(m.AVPs, delay, window)
			ignored, err := m.Validate(ValidateOptions{})
			if mandatory {
				wantProblem(t, err, ProblemUnknownAVP, ErrCodeUnknownMandatory, 0, AVPPacketProcDelay)
			} else if err != nil {
				t.Errorf("%s, M=0: %v", message, err)
			}
			if m.Has(AVPPacketProcDelay) || m.Has(AVPReceiveWindowSize) || len(ignored) != 1 {
				t.Errorf("%s: kept %v, ignored %q", message, m, ignored)
			}

			m = minimal(message)
			m.AVPs = append(m.AVPs, delay, window)
			ignored, err = m.Validate(ValidateOptions{PRE13: true})
			if err != nil || len(ignored) != 0 {
				t.Errorf("%s, PRE13: ignored %q, %v", message, ignored, err)
			}
			if v, ok := m.Uint16(AVPPacketProcDelay); !ok || v != 5 {
				t.Errorf("%s, PRE13: delay %d %v", message, v, ok)
			}
			if v, ok := m.Uint16(AVPReceiveWindowSize); !ok || v != 0 {
				t.Errorf("%s, PRE13: window %d %v", message, v, ok)
			}
		}
	}
	m := minimal(MsgICRQ)
	m.AVPs = append(m.AVPs, Uint16(AVPPacketProcDelay, 5))
	if ignored, err := m.Validate(ValidateOptions{PRE13: true}); err != nil || len(ignored) != 1 || m.Has(AVPPacketProcDelay) {
		t.Errorf("ICRQ: ignored %q, %v", ignored, err)
	}
}

func TestUnreadHiddenValueIsNeverUsed(t *testing.T) {
	t.Parallel()
	// P41: Validate without Unhide must not take ciphertext for a value.
	hidden := AVP{Hidden: true, Type: AVPVendorName, Value: []byte("x")}
	m := minimal(MsgSCCRQ)
	m.AVPs = append(m.AVPs, hidden)
	if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 1 || m.Has(AVPVendorName) {
		t.Errorf("ignored %q, %v", ignored, err)
	}
	hidden.Mandatory = true
	m = minimal(MsgSCCRQ)
	m.AVPs = append(m.AVPs, hidden)
	_, err := m.Validate(ValidateOptions{})
	wantProblem(t, err, ProblemHidden, ErrCodeUnknownMandatory, 0, AVPVendorName)
}

func TestProblemKindsHaveNames(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for k := ProblemNoMessageType; k <= ProblemValue; k++ {
		if s := k.String(); strings.HasPrefix(s, "problem") || names[s] {
			t.Errorf("kind %d is %q", k, s)
		} else {
			names[s] = true
		}
	}
	if got := ProblemKind(200).String(); got != "problem 200" {
		t.Error(got)
	}
}
