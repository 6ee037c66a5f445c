package ppp

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// What must not be seen in a capture is overwritten octet for octet; the rest stays as it is.
func TestMask(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789ABCDEF01234567"
	counted := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	text := []byte(secret)
	pap := newFrame(ProtoPAP, papRequest, 1, counted("user"), counted(secret))
	for name, c := range map[string]struct {
		frame   []byte
		stays   bool
		summary string
	}{
		"PAP":                               {frame: pap, summary: `name="user"`},
		"PAP, address and control":          {frame: append([]byte{0xff, 3}, pap...), summary: `name="user"`},
		"PAP, broken":                       {frame: newFrame(ProtoPAP, papRequest, 1, counted("user"), []byte{200}, text)},
		"PAP, something behind":             {frame: append(newFrame(ProtoPAP, papAck, 1, counted("welcome")), secret...), summary: "welcome"},
		"PAP, what is no code":              {frame: newFrame(ProtoPAP, papCode(9), 1, text)},
		"PAP, an answer":                    {frame: newFrame(ProtoPAP, papNak, 1, counted(secret)), stays: true},
		"PAP, cut short":                    {frame: pap[:len(pap)-1]},
		"CHAP response":                     {frame: newFrame(ProtoCHAP, chapResponse, 1, counted(secret), []byte("user")), summary: `name="user"`},
		"CHAP response, broken":             {frame: newFrame(ProtoCHAP, chapResponse, 1, []byte{200}, text)},
		"CHAP challenge":                    {frame: newFrame(ProtoCHAP, chapChallenge, 1, counted(secret), []byte("lns")), stays: true},
		"CHAP success":                      {frame: newFrame(ProtoCHAP, chapSuccess, 1, []byte("welcome "+secret)), stays: true},
		"MS-CHAPv2 success":                 {frame: newFrame(ProtoCHAP, chapSuccess, 1, []byte("S="+secret+" M=welcome")), summary: "M=welcome"},
		"MS-CHAPv2 success, nothing behind": {frame: newFrame(ProtoCHAP, chapSuccess, 1, []byte("S="+secret))},
		"CHAP failure":                      {frame: newFrame(ProtoCHAP, chapFailure, 1, []byte("E=691 R=1 C="+secret)), stays: true, summary: "error=691"},
		"MS-CHAP, another password":         {frame: newFrame(ProtoCHAP, chapCode(7), 1, text)},
		"EAP, MD5 response":                 {frame: newFrame(protoEAP, eapResponse, 1, []byte{eapMD5}, counted(secret), []byte("user"))},
		"EAP, MD5 challenge":                {frame: newFrame(protoEAP, eapRequest, 1, []byte{eapMD5}, counted(secret)), stays: true},
		"EAP, identity":                     {frame: newFrame(protoEAP, eapResponse, 1, []byte{1}, text), stays: true},
		"EAP, another type":                 {frame: newFrame(protoEAP, eapResponse, 1, []byte{26}, text)},
		"another login protocol":            {frame: newFrame(Protocol(0xc027), code(1), 1, text)},
		"PAP, refused":                      {frame: newFrame(ProtoLCP, codeProtocolReject, 1, pap), summary: "of PAP"},
		"PAP, refused and cut short":        {frame: newFrame(ProtoLCP, codeProtocolReject, 1, pap[:len(pap)-1])},
		"a user's packet, refused":          {frame: newFrame(ProtoLCP, codeProtocolReject, 1, []byte{0, 0x57}, make([]byte, 40), text)},
		"LCP echo":                          {frame: newFrame(ProtoLCP, codeEchoRequest, 1, []byte{1, 2, 3, 4}, text), stays: true},
		"LCP, of a wrong length":            {frame: append([]byte{0xc0, 0x21, 1, 1, 0xff, 0xff}, secret...)},
		"IPCP":                              {frame: newFrame(ProtoIPCP, codeTerminateRequest, 1, text), stays: true},
		"no protocol":                       {frame: []byte{0xc0}},
		"IPv4":                              {frame: append([]byte{0x21, 0x45, 19: 0, 20: 0}, secret...)},
		"IPv6, two octets of protocol":      {frame: append([]byte{0, 0x57, 0x60, 41: 0}, secret...)},
		"encrypted":                         {frame: append([]byte{0, 0xfd}, secret...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := slices.Clone(c.frame)
			got := Mask(whole)
			if bytes.Contains(whole[:len(got)], text[:39]) != c.stays || c.stays && !bytes.Equal(got, c.frame) {
				t.Errorf("%q becomes %q", c.frame, got)
			}
			if s := Summary(got); !strings.Contains(s, c.summary) {
				t.Errorf("summary %q, want %q", s, c.summary)
			}
			if proto, _, _ := SplitFrame(c.frame); proto >= 0x8000 && len(got) != len(c.frame) {
				t.Errorf("%d octets of %d are kept", len(got), len(c.frame))
			}
		})
	}
}

func FuzzMask(f *testing.F) {
	f.Add(newFrame(ProtoPAP, papRequest, 1, []byte("\x01u\x01p")))
	f.Add(newFrame(ProtoLCP, codeProtocolReject, 1, newFrame(ProtoCHAP, chapResponse, 1, []byte("\x02vvname"))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		got := Mask(slices.Clone(frame))
		for i := range got {
			if got[i] != frame[i] && got[i] != '*' {
				t.Fatalf("octet %d of % x becomes %x", i, frame, got[i])
			}
		}
		_ = Summary(got)
	})
}
