package call

import "testing"

// P208: what the other end says of the end of PPP is put into words; odd values do no harm.
func TestDisconnectCauseInWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value []byte
		want  string
	}{
		{nil, ""},
		{[]byte{0, 16}, ""},
		{[]byte{0, 0, 0, 0, 0}, ""},
		{disconnect{code: 16, direction: byPeer}.append(nil), "authentication failed (16), at the user's end"},
		{disconnectAdmin.append(nil), "administrative disconnect (1)"},
		{append(disconnect{code: 20, direction: byUs}.append(nil), "full\x1b\xff"...), `no address allowed (20), at the LNS's end: "full\x1b?"`},
		{[]byte{1, 2, 0, 0, 9}, "PPP disconnect cause 258"},
	} {
		if got := DisconnectText(tt.value); got != tt.want {
			t.Errorf("% x: %q, want %q", tt.value, got, tt.want)
		}
	}
}
