package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// control builds a control message of AVPs as they come, some with wrong bits.
func control(avps ...[]byte) []byte {
	d := appendControlHeader(nil, 1, 2, 3, 4)
	for _, a := range avps {
		d = append(d, a...)
	}
	binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
	return d
}

func looseAVP(flags, vendor, kind uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags|uint16(6+len(value)))
	b = binary.BigEndian.AppendUint16(b, vendor)
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(b, value...)
}

// What must not be seen in a capture is overwritten octet for octet; the rest stays as it is.
func TestMask(t *testing.T) {
	t.Parallel()
	const secret = "what nobody may see"
	iccn := looseAVP(0x8000, 0, 0, "\x00\x0c")
	zlb := AppendZLB(nil, 1, 2, 3)
	for name, c := range map[string]struct {
		datagram []byte
		stays    bool
		summary  string
	}{
		"challenge response":             {datagram: control(iccn, looseAVP(0x8000, 0, 13, secret))},
		"proxy authen response":          {datagram: control(iccn, looseAVP(0, 0, 33, secret))},
		"hidden":                         {datagram: control(iccn, looseAVP(0x4000, 0, 30, secret))},
		"hidden, and another behind":     {datagram: control(iccn, looseAVP(0xc000, 0, 22, secret), looseAVP(0x8000, 0, 24, "\x00\x00\x00\x07")), summary: "Tx Connect Speed 7"},
		"of another vendor":              {datagram: control(iccn, looseAVP(0, 9, 30, secret))},
		"not known":                      {datagram: control(iccn, looseAVP(0, 0, 999, secret))},
		"reserved bit":                   {datagram: control(iccn, looseAVP(0x0400, 0, 30, secret))},
		"an AVP that is too long":        {datagram: control(iccn, append([]byte{0x03, 0xff, 0, 0, 0, 30}, secret...))},
		"an AVP that is too short":       {datagram: control(iccn, append([]byte{0, 2, 0, 0, 0, 30}, secret...))},
		"behind the message":             {datagram: append(slices.Clone(zlb), secret...), summary: "ZLB"},
		"not L2TP":                       {datagram: []byte("\xc8\x03 of version three " + secret)},
		"data":                           {datagram: append(AppendDataHeader(nil, 1, 2, false), "PPP---"+secret...)},
		"a name":                         {datagram: control(iccn, looseAVP(0, 0, 30, secret)), stays: true, summary: secret},
		"a challenge":                    {datagram: control(iccn, looseAVP(0x8000, 0, 11, secret)), stays: true},
		"a proxy authen challenge":       {datagram: control(iccn, looseAVP(0, 0, 31, secret)), stays: true},
		"a random vector":                {datagram: control(iccn, looseAVP(0x8000, 0, 36, secret)), stays: true},
		"of access lines (RFC 5515), ID": {datagram: control(iccn, looseAVP(0, VendorAccessLine, 1, secret)), stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := slices.Clone(c.datagram)
			Mask(got)
			if len(got) != len(c.datagram) || bytes.Contains(got, []byte(secret)) != c.stays || c.stays && !bytes.Equal(got, c.datagram) {
				t.Errorf("%q becomes %q", c.datagram, got)
			}
			if s := Summary(got); !strings.Contains(s, c.summary) {
				t.Errorf("summary %q, want %q", s, c.summary)
			}
			if i := bytes.Index(c.datagram, []byte(secret)); !c.stays && strings.Trim(string(got[i:i+len(secret)]), "*") != "" {
				t.Errorf("not all of it is overwritten: %q", got)
			}
		})
	}
}

func FuzzMask(f *testing.F) {
	f.Add(AppendZLB(nil, 1, 2, 3))
	f.Add(control(looseAVP(0x8000, 0, 0, "\x00\x0c"), looseAVP(0, 0, 33, "secret")))
	f.Fuzz(func(t *testing.T, d []byte) {
		got := slices.Clone(d)
		Mask(got)
		for i := range got {
			if got[i] != d[i] && got[i] != maskOctet {
				t.Fatalf("octet %d of % x becomes %x", i, d, got[i])
			}
		}
		_, payload, err := ParseHeader(got)
		if m, bad := ParseMessage(payload); err == nil && bad == nil {
			for _, a := range m.AVPs {
				if a.secret() && strings.Trim(string(a.Value), "*") != "" {
					t.Fatalf("%v of % x stays", a.Type, d)
				}
			}
		}
		_ = Summary(got)
	})
}
