package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// hostOrder is the byte order of every structure here except where network order is said.
var hostOrder = binary.NativeEndian

// PPPoX over L2TP and Ethernet (include/uapi/linux/if_pppox.h, if_pppol2tp.h).
const (
	protoOL2TP = 1 // PX_PROTO_OL2TP
	protoOE    = 0 // PX_PROTO_OE

	optRecvSeq   = 2 // PPPOL2TP_SO_RECVSEQ
	optSendSeq   = 3 // PPPOL2TP_SO_SENDSEQ
	optLNSMode   = 4 // PPPOL2TP_SO_LNSMODE
	optReorderTO = 5 // PPPOL2TP_SO_REORDERTO, ms

	sockaddrLen      = 38 // packed sockaddr_pppol2tp
	sockaddrPPPoELen = 30 // packed sockaddr_pppox
	statsLen         = 72 // pppol2tp_ioc_stats
)

// sockaddr is a packed sockaddr_pppol2tp in host order. The kernel tells the forms apart by length; this one, with an empty
// IPv4 address, serves tunnels of both families. The descriptor is -1: it matters only where connect makes a tunnel.
func sockaddr(s SessionSpec) [sockaddrLen]byte {
	var b [sockaddrLen]byte
	hostOrder.PutUint16(b[0:], unix.AF_PPPOX)
	hostOrder.PutUint32(b[2:], protoOL2TP)
	hostOrder.PutUint32(b[10:], ^uint32(0))
	hostOrder.PutUint16(b[30:], s.TunnelID)
	hostOrder.PutUint16(b[32:], s.SessionID)
	hostOrder.PutUint16(b[34:], s.PeerTunnelID)
	hostOrder.PutUint16(b[36:], s.PeerID)
	return b
}

// Line disciplines (include/uapi/linux/tty.h).
const (
	disciplineTTY = 0 // N_TTY
	disciplinePPP = 3 // N_PPP
)

// sockaddrPPPoE is a packed sockaddr_pppox in host order, but for the session id, which is as on the wire.
func sockaddrPPPoE(s PPPoESpec) [sockaddrPPPoELen]byte {
	var b [sockaddrPPPoELen]byte
	hostOrder.PutUint16(b[0:], unix.AF_PPPOX)
	hostOrder.PutUint32(b[2:], protoOE)
	binary.BigEndian.PutUint16(b[6:], s.SessionID)
	copy(b[8:14], s.Peer[:])
	copy(b[14:29], s.Interface) // a NUL stays behind it
	return b
}

// option is one setsockopt at level SOL_PPPOL2TP.
type option struct{ name, value int }

// options gives the switches in an order in which no frame is ever numbered, or checked, without a reorder time-out.
func (q Sequencing) options() [4]option {
	bit := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return [4]option{
		{optReorderTO, int(q.reorder() / time.Millisecond)},
		{optLNSMode, bit(q.LNS)},
		{optRecvSeq, bit(q.Require)},
		{optSendSeq, bit(q.Send)},
	}
}

// firstOptions leaves out what a new session is anyway.
func (q Sequencing) firstOptions() []option {
	all := q.options()
	return slices.DeleteFunc(all[:], func(o option) bool { return o.value == 0 })
}

// parseStats reads a pppol2tp_ioc_stats.
func parseStats(b *[statsLen]byte) Stats {
	u := func(i int) uint64 { return hostOrder.Uint64(b[8+8*i:]) }
	return Stats{
		TxPackets: u(0), TxBytes: u(1), TxErrors: u(2),
		RxPackets: u(3), RxBytes: u(4), RxSeqDiscards: u(5), RxOutOfSequence: u(6), RxErrors: u(7),
	}
}

// newLinkRequest is the body of the RTM_NEWLINK that makes a PPP interface on an unattached /dev/ppp file. The link stays
// down: a link that is up before its channel is connected keeps the wrong queueing discipline.
func newLinkRequest(fd int, u UnitSpec) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	if u.Name != "" {
		ae.String(unix.IFLA_IFNAME, u.Name)
	}
	if u.MTU != 0 {
		ae.Uint32(unix.IFLA_MTU, uint32(u.MTU))
	}
	ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
		info.String(unix.IFLA_INFO_KIND, "ppp")
		info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
			data.Int32(unix.IFLA_PPP_DEV_FD, int32(fd))
			return nil
		})
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode link: %w", err)
	}
	return append(make([]byte, unix.SizeofIfInfomsg), attrs...), nil
}

// idleGroup is the group of the interfaces that wait for a session.
const idleGroup = 1701

// setLinkRequest is the body of the RTM_SETLINK that takes an interface down and sets its group, and its MTU unless that is 0.
func setLinkRequest(index, group, mtu int) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_GROUP, uint32(group))
	if mtu != 0 {
		ae.Uint32(unix.IFLA_MTU, uint32(mtu))
	}
	attrs, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode link: %w", err)
	}
	head := ifInfo(index)
	hostOrder.PutUint32(head[12:], unix.IFF_UP) // the mask; the flag itself stays 0
	return append(head, attrs...), nil
}

var errNoCounters = errors.New("link message without counters")

// skipStats is RTEXT_FILTER_SKIP_STATS.
const skipStats = 1 << 3

// getLinkRequest is the body of the RTM_GETLINK that asks for an interface without its counters.
func getLinkRequest(index int) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, skipStats)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode link: %w", err)
	}
	return append(ifInfo(index), attrs...), nil
}

// ifInfo is a struct ifinfomsg.
func ifInfo(index int) []byte {
	head := make([]byte, unix.SizeofIfInfomsg)
	hostOrder.PutUint32(head[4:], uint32(index))
	return head
}

// getAddressesRequest is the body of the RTM_GETADDR that lists the addresses of an interface, of all families.
func getAddressesRequest(index int) []byte {
	head := make([]byte, unix.SizeofIfAddrmsg)
	hostOrder.PutUint32(head[4:], uint32(index))
	return head
}

// parseLink reads an RTM_NEWLINK for what must not be inherited by another session. It says what that is, or nothing.
func parseLink(b []byte, name string) (changed string, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return "", fmt.Errorf("link message of %d octets", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return "", fmt.Errorf("decode link: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			if ad.String() != name {
				changed = "its name"
			}
		case unix.IFLA_MASTER:
			changed = "its master"
		case unix.IFLA_IFALIAS:
			changed = "its alias"
		case unix.IFLA_QDISC:
			if q := ad.String(); q != "noop" && q != "noqueue" {
				changed = "its queueing discipline"
			}
		}
	}
	return changed, ad.Err()
}

// parseLinkStats reads the counters in an RTM_NEWLINK.
func parseLinkStats(b []byte) (Stats, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Stats{}, fmt.Errorf("link message of %d octets", len(b))
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return Stats{}, fmt.Errorf("decode link: %w", err)
	}
	for ad.Next() {
		if c := ad.Bytes(); ad.Type() == unix.IFLA_STATS64 && len(c) >= 6*8 {
			u := func(i int) uint64 { return hostOrder.Uint64(c[8*i:]) }
			return Stats{RxPackets: u(0), TxPackets: u(1), RxBytes: u(2), TxBytes: u(3), RxErrors: u(4), TxErrors: u(5)}, nil
		}
	}
	return Stats{}, errors.Join(ad.Err(), errNoCounters)
}

// parseIdle reads a ppp_idle64: the time since the last packet in either direction. A unit without traffic counts from boot,
// hence the clamp to its age.
func parseIdle(b *[16]byte, age time.Duration) time.Duration {
	// Compared as seconds: an idle time counted from jiffies 0 is near 200 days, garbage may be more than a Duration holds.
	secs := min(hostOrder.Uint64(b[0:]), hostOrder.Uint64(b[8:]))
	if limit := uint64(max(age, 0) / time.Second); secs > limit {
		return max(age, 0)
	}
	return time.Duration(secs) * time.Second
}
