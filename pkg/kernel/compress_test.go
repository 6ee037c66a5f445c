package kernel

import (
	"bytes"
	"testing"
)

// compression gives the keys of two directions, stateless and of 128 bits.
func compression(send, receive byte) Compression {
	return Compression{
		Send: bytes.Repeat([]byte{send}, mppeKeyLen), Receive: bytes.Repeat([]byte{receive}, mppeKeyLen),
		Options: [4]byte{mppeStateless, 0, 0, mppe128},
	}
}

func TestValidateCompression(t *testing.T) {
	t.Parallel()
	with := func(change func(*Compression)) Compression {
		c := compression(1, 2)
		change(&c)
		return c
	}
	const keys, options = "the keys must have 16 octets", "the options must be those of MPPE with 128 or 40 bits"
	tests := []struct {
		what Compression
		want string
	}{
		{compression(1, 2), ""},
		{with(func(c *Compression) { c.Options = [4]byte{0, 0, 0, mppe128 | mppe40} }), ""},
		{with(func(c *Compression) { c.MRU = 9000 }), ""},
		{with(func(c *Compression) { c.Send = c.Send[:8] }), keys},
		{with(func(c *Compression) { c.Receive = nil }), keys},
		{with(func(c *Compression) { c.Options[3] = 0 }), options},
		{with(func(c *Compression) { c.Options[3] |= 0x80 }), options},
		{with(func(c *Compression) { c.Options[3] |= 0x01 }), options},
		{with(func(c *Compression) { c.Options[0] = 0x40 }), options},
		{with(func(c *Compression) { c.Options[2] = 1 }), options},
		{with(func(c *Compression) { c.MRU = 65536 }), "mru 65536 is not in 0..65535"},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.what.Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.what, got, tt.want)
		}
	}
}
