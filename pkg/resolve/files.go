package resolve

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
)

const (
	maxFile    = 4 << 20 // octets that are read of a file
	maxServers = 3       // of resolv.conf, as the system's resolver has it
	port       = 53
)

// watched is a file that is read again when it has changed. What could not be read counts as empty.
type watched[T any] struct {
	path  string
	parse func([]byte) T

	mu    sync.Mutex
	seen  os.FileInfo // nil: not there
	value T
	read  bool
}

// get returns what the file says now. The value must not be changed.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := os.Stat(w.path)
	if err != nil {
		info = nil
	}
	if w.read && same(w.seen, info) {
		return w.value
	}
	var text []byte
	if f, err := os.Open(w.path); err == nil {
		text, _ = io.ReadAll(io.LimitReader(f, maxFile)) // what there is
		_ = f.Close()
	}
	w.seen, w.value, w.read = info, w.parse(text), true
	return w.value
}

// same says whether a file is as it was.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// fields are the words of each line, without the comment.
func fields(text []byte, comment string, line func([]string)) {
	for l := range bytes.Lines(text) {
		if i := bytes.IndexAny(l, comment); i >= 0 {
			l = l[:i]
		}
		if f := strings.Fields(string(l)); len(f) >= 2 {
			line(f)
		}
	}
}

// parseServers reads the name servers of a resolv.conf; if it has none, the one on this machine is meant (resolv.conf(5)).
func parseServers(text []byte) []netip.AddrPort {
	var servers []netip.AddrPort
	fields(text, "#;", func(f []string) {
		if a, err := netip.ParseAddr(f[1]); err == nil && f[0] == "nameserver" && len(servers) < maxServers {
			servers = append(servers, netip.AddrPortFrom(a, port))
		}
	})
	if len(servers) == 0 {
		servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	return servers
}

// parseHosts reads the addresses of names from a hosts file (hosts(5)), in the order of its lines.
func parseHosts(text []byte) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	fields(text, "#", func(f []string) {
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			return
		}
		for _, alias := range f[1:] {
			name, err := canonical(alias)
			if err == nil && len(hosts[name]) < maxAddrs && !slices.Contains(hosts[name], a.Unmap()) {
				hosts[name] = append(hosts[name], a.Unmap())
			}
		}
	})
	return hosts
}
