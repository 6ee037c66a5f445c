package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (rewrite with -update):\n%s", path, diff)
	}
}

// example is one datagram with a name.
type example struct {
	name     string
	datagram []byte
}

// messageExamples are one datagram of every message type, with all that it usually carries.
func messageExamples() []example {
	response := ChallengeResponse(2, testSecret, vectorA)
	version := Bytes(AVPProtocolVersion, []byte{1, 0})
	build := func(sid, ns, nr uint16, t MessageType, avps ...AVP) example {
		return example{t.String(), AppendMessage(nil, 0x1234, sid, ns, nr, NewMessage(t, avps...), nil)}
	}
	return []example{
		{"SCCRQ", AppendMessage(nil, 0, 0, 0, 0, NewMessage(MsgSCCRQ, version, Text(AVPHostName, "lac.example"),
			Uint32(AVPFramingCapabilities, 3), Uint16(AVPAssignedTunnelID, 7), Uint32(AVPBearerCapabilities, 3),
			Uint16(AVPReceiveWindowSize, 16), Bytes(AVPChallenge, vectorA), Uint64(AVPTieBreaker, 0x0102030405060708),
			Uint16(AVPFirmwareRevision, 0x0690), Text(AVPVendorName, "l2tpd")), nil)},
		build(0, 0, 1, MsgSCCRP, version, Uint32(AVPFramingCapabilities, 1), Text(AVPHostName, "lns.example"),
			Uint16(AVPAssignedTunnelID, 8), Bytes(AVPChallenge, vectorC), Bytes(AVPChallengeResponse, response[:])),
		build(0, 1, 1, MsgSCCCN, Bytes(AVPChallengeResponse, response[:])),
		build(0, 2, 1, MsgStopCCN, Uint16(AVPAssignedTunnelID, 7), ResultAVP(Result{Code: StopVersion, Error: 0x0100, HasError: true}, false)),
		build(0, 2, 1, MsgHello),
		build(0, 3, 1, MsgOCRQ, Uint16(AVPAssignedSessionID, 11), Uint32(AVPCallSerialNumber, 1), Uint32(AVPMinimumBPS, 9600),
			Uint32(AVPMaximumBPS, 64000), Uint32(AVPBearerType, BearerAnalog), Uint32(AVPFramingType, FramingAsync),
			Text(AVPCalledNumber, "0123456"), Text(AVPSubAddress, "1")),
		build(11, 1, 4, MsgOCRP, Uint16(AVPAssignedSessionID, 12), Uint32(AVPPhysicalChannelID, 3)),
		build(11, 2, 4, MsgOCCN, Uint32(AVPTxConnectSpeed, 64000), Uint32(AVPFramingType, FramingSync),
			Uint32(AVPRxConnectSpeed, 128000), Flag(AVPSequencingRequired)),
		build(0, 3, 4, MsgICRQ, Uint16(AVPAssignedSessionID, 13), Uint32(AVPCallSerialNumber, 2), Uint32(AVPBearerType, 0),
			Uint32(AVPPhysicalChannelID, 9), Text(AVPCallingNumber, "6543210"), Text(AVPCalledNumber, "0123456")),
		{"ICRQ of an access line", AppendMessage(nil, 0x1234, 0, 3, 4, lineICRQ(), nil)},
		build(13, 4, 4, MsgICRP, Uint16(AVPAssignedSessionID, 14)),
		build(14, 5, 4, MsgICCN, Uint32(AVPTxConnectSpeed, 64000), Uint32(AVPFramingType, 4|FramingSync),
			Bytes(AVPInitialRecvLCP, []byte{1, 4, 5, 0xdc}), Bytes(AVPLastSentLCP, []byte{3, 5, 0xc2, 0x23, 5}), Bytes(AVPLastRecvLCP, nil),
			Uint16(AVPProxyAuthenType, 2), Text(AVPProxyAuthenName, "user@example.com"), Bytes(AVPProxyAuthenChallenge, vectorA),
			Uint16(AVPProxyAuthenID, 7), Bytes(AVPProxyAuthenResponse, vectorC), Text(AVPPrivateGroupID, "red")),
		build(14, 6, 4, MsgCDN, ResultAVP(Result{Code: CDNError, Error: ErrCodeTryAnother, HasError: true, Text: "full"}, false),
			Uint16(AVPAssignedSessionID, 13), Bytes(AVPQ931CauseCode, []byte("\x00\x10\x45normal")),
			Bytes(AVPPPPDisconnectCause, []byte("\x00\x03\xc0\x21\x01bye"))),
		build(14, 7, 4, MsgWEN, CallErrorsAVP([6]uint32{1, 2, 3, 4, 5, 6})),
		build(14, 8, 4, MsgSLI, ACCMAVP(0x000a0000, 0xffffffff)),
		build(0, 9, 4, MsgSRRQ, Bytes(AVPPPPoERelay, []byte{0x11, 0x09})),
		build(0, 9, 4, MsgSRRP),
		build(0, 9, 4, MsgFSQ, Bytes(AVPFailoverSessionState, make([]byte, 10))),
		build(0, 9, 4, MsgFSR, Bytes(AVPFailoverSessionState, make([]byte, 10))),
		build(0, 9, 4, MsgCSUN, Bytes(AVPConnectSpeedUpdate, make([]byte, 12))),
		build(0, 9, 4, MsgCSURQ),
	}
}

func TestMessagesLookLikeTheirGolden(t *testing.T) {
	t.Parallel()
	// P1, P19, P48: the octets of one message of every type, and what Summary says of them.
	var s strings.Builder
	for _, e := range messageExamples() {
		fmt.Fprintf(&s, "%s\n%s%s\n\n", e.name, hexLines(e.datagram), Summary(e.datagram))
	}
	golden(t, "messages.golden", s.String())
}

func hexLines(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(40, len(b))
		s.WriteString("  " + hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}

func TestOddDatagramsLookLikeTheirGolden(t *testing.T) {
	t.Parallel()
	hidden := AppendMessage(nil, 1, 2, 3, 4, fullICRQ(), &Hiding{Secret: testSecret, Random: bytes.NewReader(make([]byte, 200))})
	control := func(p []byte) []byte {
		return append(controlHeader(0, uint16(12+len(p))), p...)
	}
	examples := []example{
		{"empty", nil},
		{"short", []byte{0xc8}},
		{"L2TPv3", unhex(t, "c803 000c 0001 0002 0003 0004")},
		{"length beyond", unhex(t, "c802 ffff 0001 0002 0003 0004")},
		{"ZLB", AppendZLB(nil, 7, 65535, 1)},
		{"data of a router, V25", append(unhex(t, "40020060 0d48c863 ff030021 45000054"), make([]byte, 80)...)},
		{"data with everything", unhex(t, "6b02 0011 0001 0002 0003 0004 0002 ffff aa")},
		{"SCCRP of xl2tpd, V26", unhex(t, foreignSCCRP)},
		{"hidden", hidden},
		{"no message type", control([]byte{1, 2, 3})},
		{"message type hidden", control(rawAVP(0xc000, 0, 0, 0, 1))},
		{"unknown message, M=0", control(rawAVP(0, 0, 0, 0x12, 0x34))},
		{"cut AVP", control(payload(MsgICRQ, rawAVP(0x8000, 0, 14, 0, 1), []byte{0x80, 99, 0, 0, 0, 15, 1}))},
		{"wrong lengths", control(payload(MsgICRQ, rawAVP(0x8000, 0, 14, 1), rawAVP(0x8000, 0, 1, 0, 1, 0), rawAVP(0x8000, 0, 39, 1)))},
		{"M bits, reserved bit", control(payload(MsgICRQ, rawAVP(0, 0, 14, 0, 1), rawAVP(0x8000, 0, 6, 0, 1), rawAVP(0x8800, 0, 15, 0, 0, 0, 1)))},
		{"unknown AVPs", control(payload(MsgICRQ, rawAVP(0x8000, 0, 500, []byte("secret?")...), rawAVP(0, 9, 7, []byte("secret?")...)))},
		{"foreign text", control(payload(MsgStopCCN, rawAVP(0x8000, 0, 9, 0, 1), rawAVP(0x8000, 0, 1, []byte("\x00\x02\x00\x06\xff\n\x1b[31mü")...)))},
		{"long values", control(payload(MsgICCN, rawAVP(0, 0, 37, bytes.Repeat([]byte("x"), 70)...), rawAVP(0, 0, 26, make([]byte, 70)...),
			rawAVP(0x8000, 0, 1, bytes.Repeat([]byte("x"), 90)...)))},
		{"proxy authentication types", control(payload(MsgICCN, rawAVP(0, 0, 29, 0, 1), rawAVP(0, 0, 29, 0, 3), rawAVP(0, 0, 29, 0, 4),
			rawAVP(0, 0, 29, 0, 5), rawAVP(0, 0, 29, 0, 6)))},
	}
	var s strings.Builder
	for _, e := range examples {
		fmt.Fprintf(&s, "%s\n  %s\n", e.name, Summary(e.datagram))
	}
	golden(t, "odd.golden", s.String())
}

func TestResultsReadAsSentences(t *testing.T) {
	t.Parallel()
	// P56, P37: every code, and foreign text escaped.
	var s strings.Builder
	for code := range uint16(14) {
		r := Result{Code: code}
		fmt.Fprintf(&s, "%2d StopCCN: %s\n   CDN: %s\n", code, r.StopString(), r.CDNString())
	}
	for code := range uint16(10) {
		r := Result{Code: 2, Error: code, HasError: true, Text: "Fehler \xff\n"}
		fmt.Fprintf(&s, "2/%d StopCCN: %s\n    CDN: %s\n    either: %s\n", code, r.StopString(), r.CDNString(), r)
	}
	fmt.Fprintln(&s, "5/0x0100:", Result{Code: 5, Error: 0x0100, HasError: true}.StopString())
	golden(t, "results.golden", s.String())
}

// wantLogLine fails unless s is one line of printable ASCII.
func wantLogLine(t *testing.T, s string) {
	t.Helper()
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
		t.Errorf("not a line for a log: %q", s)
	}
}

func TestSecretsAreNotInAnyString(t *testing.T) {
	t.Parallel()
	m := NewMessage(MsgICCN, Text(AVPChallenge, "hush-1"), Text(AVPChallengeResponse, "hush-2-16-octets"),
		Text(AVPProxyAuthenChallenge, "hush-3"), Text(AVPProxyAuthenResponse, "hush-4"),
		AVP{Hidden: true, Type: AVPCalledNumber, Value: []byte("hush-5")},
		AVP{Vendor: 9, Type: 1, Value: []byte("hush-6")}, AVP{Type: 999, Value: []byte("hush-7")})
	b := AppendMessage(nil, 0, 0, 0, 0, m, nil)
	for name, s := range map[string]string{
		"Summary":    Summary(b),
		"Message %v": fmt.Sprintf("%v", m),
		"%+v":        fmt.Sprintf("%+v", m),
		"pointer":    fmt.Sprintf("%v", &m),
		"AVPs":       fmt.Sprintf("%v %+v", m.AVPs, m.AVPs),
	} {
		if strings.Contains(s, "hush") || strings.Contains(s, hex.EncodeToString([]byte("hush"))) || strings.Contains(s, "104 117 115 104") {
			t.Errorf("%s: %s", name, s)
		}
		wantLogLine(t, s)
	}
}
