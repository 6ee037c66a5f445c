package transport

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// explain says which address cannot be listened on, and what to do about it.
func explain(addr netip.AddrPort, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		remedy = fmt.Sprintf("; another L2TP daemon? see: ss -lunp sport = :%d", addr.Port())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		remedy = "; this host does not have that address, see: ip address"
	case errors.Is(err, unix.EAFNOSUPPORT):
		remedy = "; this host has no IPv6: take the address out of the listen addresses"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		remedy = "; it takes CAP_NET_ADMIN for a mark and CAP_NET_BIND_SERVICE for a port below 1024"
	}
	return fmt.Errorf("listen on %v: %w%s", addr, err, remedy)
}

// unconnected is the state field of a UDP socket that is not connected (TCP_CLOSE), in the kernel's list.
const unconnected = "07"

// boundElsewhere tells whether a socket that is not connected is already bound to an overlapping address. Connected ones are
// tunnel sockets that outlived an earlier daemon and do not disturb.
func boundElsewhere(addr netip.AddrPort) (bool, error) {
	if addr.Port() == 0 {
		return false, nil
	}
	// The thread's own view, not the process's: it also holds where only process entries of /proc are visible.
	name := "/proc/thread-self/net/udp"
	if addr.Addr().Is6() {
		name += "6"
	}
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	return listsOverlap(f, addr)
}

// listsOverlap looks for such a socket in a list of the form of /proc/net/udp.
func listsOverlap(list io.Reader, addr netip.AddrPort) (bool, error) {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != unconnected {
			continue
		}
		bound, ok := parseListed(fields[1])
		if !ok {
			continue
		}
		if overlap(bound, netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())) {
			return true, nil
		}
	}
	return false, lines.Err()
}

// overlap tells whether two addresses of one family are served by one another's sockets.
func overlap(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Is6() == b.Addr().Is6() &&
		(a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}

// parseListed reads ADDRESS:PORT in hexadecimal, the address as 32-bit words of the host's byte order.
func parseListed(s string) (netip.AddrPort, bool) {
	host, service, ok := strings.Cut(s, ":")
	port, portErr := strconv.ParseUint(service, 16, 16)
	words, err := hex.DecodeString(host)
	if !ok || portErr != nil || err != nil || len(words)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	ip, ok := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(ip, uint16(port)), ok
}
