package ipv6

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
)

const machineID = "/etc/machine-id"

var errNoMachineID = errors.New("the machine has no id; systemd-machine-id-setup gives it one")

// serverID makes our DUID from an identity, or, if that is empty, from the machine's. Neither can be told from the DUID, which
// machine-id(5) asks for.
func serverID(identity, file string) ([]byte, error) {
	if identity == "" {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		identity = strings.TrimSpace(string(text))
		if identity == "" || identity == "uninitialized" {
			return nil, fmt.Errorf("read %s: %w", file, errNoMachineID)
		}
	}
	mac := hmac.New(sha256.New, []byte(identity))
	mac.Write([]byte("l2tpd DHCPv6 server"))
	uuid := mac.Sum(nil)[:16]
	uuid[6] = uuid[6]&0x0f | 0x80 // RFC 9562, 5.8: made in a way of our own
	uuid[8] = uuid[8]&0x3f | 0x80
	return append([]byte{0, 4}, uuid...), nil // DUID-UUID (RFC 6355, 4)
}
