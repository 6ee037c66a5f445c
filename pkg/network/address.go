package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// addressBook speaks the part of rtnetlink that is about addresses. The library can neither ask for those of one interface,
// which matters with thousands, nor tell that they are ours.
type addressBook struct {
	socket *nl.NetlinkSocket
	shared map[int]*nl.SocketHandle
}

func openAddressBook() (*addressBook, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(int64(netlinkTimeout))
	err = errors.Join(
		unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1),
		socket.SetReceiveTimeout(&timeout),
		socket.SetSendTimeout(&timeout),
	)
	if err != nil {
		socket.Close()
		return nil, err
	}
	return &addressBook{socket: socket, shared: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

func (n *addressBook) close() { n.socket.Close() }

// request starts a message.
func (n *addressBook) request(kind, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = n.shared
	return r
}

// of reads the addresses of one interface.
func (n *addressBook) of(l link) ([]address, error) {
	var out []address
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		var messages [][]byte
		err := dump(func() (err error) {
			r := n.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
			m := nl.NewIfAddrmsg(family)
			m.Index = uint32(l.index)
			r.AddData(m)
			messages, err = r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
			return err
		})
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue // no IPv6 there
		}
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			a, index, err := parseAddress(m)
			if err != nil {
				return nil, err
			}
			if index == l.index {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// parseAddress reads an RTM_NEWADDR message.
func parseAddress(b []byte) (address, int, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, 0, fmt.Errorf("address message of %d octets: %w", len(b), unix.EINVAL)
	}
	m := nl.DeserializeIfAddrmsg(b)
	attributes, err := nl.ParseRouteAttr(b[m.Len():])
	if err != nil {
		return address{}, 0, err
	}
	a := address{bits: int(m.Prefixlen)}
	var other netip.Addr
	for _, attribute := range attributes {
		ip, isAddr := netip.AddrFromSlice(attribute.Value)
		switch attribute.Attr.Type {
		case unix.IFA_LOCAL:
			if isAddr {
				a.local = ip
			}
		case unix.IFA_ADDRESS:
			if isAddr {
				other = ip
			}
		case unix.IFA_FLAGS:
			if len(attribute.Value) >= 4 {
				a.noRoute = binary.NativeEndian.Uint32(attribute.Value)&unix.IFA_F_NOPREFIXROUTE != 0
			}
		case ifaProto:
			a.ours = len(attribute.Value) == 1 && attribute.Value[0] == Protocol
		}
	}
	switch {
	case !a.local.IsValid(): // IPv6 without a peer
		a.local = other
	case other != a.local:
		a.peer = other
	}
	return a, int(m.Index), nil
}
