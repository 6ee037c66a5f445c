package ipv6

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIdentityIsStableAndOfThisServer(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "machine-id")
	if _, err := serverID("", file); !errors.Is(err, errNoMachineID) || !strings.Contains(err.Error(), "systemd-machine-id-setup") {
		t.Errorf("without a machine id: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("uninitialized\n")
	if id, err := serverID("", file); err == nil {
		t.Errorf("id %x of no machine", id)
	}
	write("0123456789abcdef0123456789abcdef\n")
	one, err := serverID("", file)
	if err != nil {
		t.Fatal(err)
	}
	if len(one) != 18 || one[0] != 0 || one[1] != 4 || one[8]>>4 != 8 || one[10]>>6 != 2 {
		t.Errorf("%x is no DUID-UUID", one)
	}
	if again, err := serverID("", file); err != nil || !bytes.Equal(one, again) {
		t.Errorf("%x, then %x, %v", one, again, err)
	}
	if bytes.Contains(one, []byte{0x01, 0x23, 0x45, 0x67}) {
		t.Errorf("%x shows the machine id", one)
	}
	if other, err := serverID("other", file); err != nil || bytes.Equal(one, other) {
		t.Errorf("a configured identity does not count: %x, %v", other, err)
	}
}
