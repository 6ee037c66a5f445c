package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// change is a request to change an interface, with the errors that mean that there is nothing to change.
type change struct {
	request  *nl.NetlinkRequest
	needless []unix.Errno
}

// committer sends changes, as many at a time as belong together: with thousands of interfaces that come and go at once, the library's
// way, one request and one answer each, would take longer than all else. Not safe for concurrent use.
type committer struct {
	fd  int
	seq uint32
	buf [8 << 10]byte // for answers, which repeat no request
}

func openCommitter() (*committer, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	timeout := unix.NsecToTimeval(int64(netlinkTimeout))
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &committer{fd: fd}, nil
}

func (c *committer) close() { _ = unix.Close(c.fd) }

// commit has the kernel make changes, in order, each whatever became of those before it. It returns what each failed with, or what
// failed as a whole.
func (c *committer) commit(changes ...change) (failures []error, err error) {
	if len(changes) == 0 {
		return nil, nil
	}
	var out []byte
	for i, x := range changes {
		c.seq++
		x.request.Seq = c.seq
		if i == len(changes)-1 {
			x.request.Flags |= unix.NLM_F_ACK // of the others, the kernel tells only what failed
		}
		out = append(out, x.request.Serialize()...)
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("send", err)
	}
	failures = make([]error, len(changes))
	first, last := c.seq-uint32(len(changes)-1), len(changes)-1
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("receive", err)
		}
		answers, err := syscall.ParseNetlinkMessage(c.buf[:n])
		if err != nil {
			return nil, fmt.Errorf("answer of %d octets: %w", n, err)
		}
		for _, m := range answers {
			i := int(int32(m.Header.Seq - first))
			if i < 0 || i > last || m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue // the late answer to a commit that was given up
			}
			if no := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data))); no != 0 && !slices.Contains(changes[i].needless, no) {
				failures[i] = no
			}
			if i == last {
				return failures, nil
			}
		}
	}
}

// linkChange starts a change of an interface.
func linkChange(l link, flags, mask uint32) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index, m.Flags, m.Change = int32(l.index), flags, mask
	r.AddData(m)
	return r
}

// up sets an interface up; the kernel puts it into the group before.
func up(l link, group int) change {
	return inGroup(linkChange(l, unix.IFF_UP, unix.IFF_UP), group)
}

// down sets an interface down, and takes it out of its group if it is to leave that.
func down(l link, leave bool) change {
	r := linkChange(l, 0, unix.IFF_UP)
	if leave {
		return inGroup(r, 0)
	}
	return change{request: r}
}

func withGroup(l link, group int) change { return inGroup(linkChange(l, 0, 0), group) }

func inGroup(r *nl.NetlinkRequest, group int) change {
	r.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(uint32(group))))
	return change{request: r}
}

func withMTU(l link, mtu int) change {
	r := linkChange(l, 0, 0)
	r.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
	return change{request: r}
}

// noAutoAddress keeps the kernel from making a link-local address. A host without IPv6 makes none.
func noAutoAddress(l link) change {
	r := linkChange(l, 0, 0)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{nl.IN6_ADDR_GEN_MODE_NONE})
	r.AddData(spec)
	return change{r, []unix.Errno{unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EINVAL}}
}

// acceptAny lets an interface forward packets whatever their source.
func acceptAny(l link) change {
	r := linkChange(l, 0, 0)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(iflaInetConf, nil)
	conf.AddRtAttr(devconfForwarding, nl.Uint32Attr(1))
	conf.AddRtAttr(devconfRPFilter, nl.Uint32Attr(rpFilterLoose))
	conf.AddRtAttr(devconfAcceptLocal, nl.Uint32Attr(1))
	r.AddData(spec)
	return change{request: r}
}

// Numbers of linux/ip.h and linux/if_link.h: the per-interface IPv4 settings that rtnetlink can change. (Through /proc/sys
// they would be out of reach of a sandboxed daemon.)
const (
	iflaInetConf       = 1
	devconfForwarding  = 1
	devconfRPFilter    = 8
	devconfAcceptLocal = 23
	rpFilterLoose      = 2
)

// ifaProto is IFA_PROTO of linux/if_addr.h, which the library does not name.
const ifaProto = 11

// withAddress adds an address, marked as ours.
func withAddress(l link, a address) change {
	var bits uint32
	if a.noRoute {
		bits |= unix.IFA_F_NOPREFIXROUTE
	}
	if a.local.Is6() {
		bits |= unix.IFA_F_NODAD // IPV6CP has settled that the two differ
	}
	r := addressChange(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, l, a)
	r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(bits)))
	r.AddData(nl.NewRtAttr(ifaProto, []byte{Protocol}))
	return change{r, []unix.Errno{unix.EEXIST}}
}

func withoutAddress(l link, a address) change {
	return change{addressChange(unix.RTM_DELADDR, 0, l, a), []unix.Errno{unix.EADDRNOTAVAIL}}
}

func addressChange(kind, flags int, l link, a address) *nl.NetlinkRequest {
	m := nl.NewIfAddrmsg(family(a.local))
	m.Index = uint32(l.index)
	m.Prefixlen = uint8(a.bits)
	switch {
	case a.inHost:
		m.Scope = unix.RT_SCOPE_HOST
	case a.local.IsLinkLocalUnicast():
		m.Scope = unix.RT_SCOPE_LINK
	}
	peer := a.peer
	if !peer.IsValid() {
		peer = a.local
	}
	r := nl.NewNetlinkRequest(kind, flags)
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.local.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, peer.AsSlice()))
	return r
}
