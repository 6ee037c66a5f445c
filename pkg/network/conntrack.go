package network

import (
	"encoding/binary"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctDelete       = 1<<8 | 2 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
	ctaTupleOrig   = 1
	ctaTupleIP     = 1
	ctaTupleProto  = 2
	ctaIPv4Src     = 1
	ctaIPv4Dst     = 2
	ctaIPv6Src     = 3
	ctaIPv6Dst     = 4
	ctaProtoNum    = 1
	ctaProtoSrc    = 2
	ctaProtoDst    = 3
	ctaICMPID      = 4
	ctaICMPType    = 5
	ctaICMPCode    = 6
	ctaICMPv6First = 7 // ID; type and code follow as for ICMP
)

// tracker deletes entries of the kernel's connection tracking. On a host that does not track it does nothing.
type tracker struct {
	conn   *netlink.Conn // nil: nothing can be done
	tracks bool          // the kernel's module is there
}

// openTracker opens a socket in the calling thread's network namespace.
func openTracker() *tracker {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return &tracker{}
	}
	return &tracker{conn: conn}
}

func (t *tracker) close() {
	if t.conn != nil {
		_ = t.conn.Close()
	}
}

// forget deletes the entry of the flow that a packet began. There may be none, which is all right.
func (t *tracker) forget(packet []byte) {
	if t.conn == nil || !t.tracking() {
		return
	}
	family, tuple, ok := tupleOf(packet)
	if !ok {
		return
	}
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: ctaTupleOrig | netlink.Nested, Data: tuple}})
	if err != nil {
		return
	}
	_, _ = t.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: ctDelete, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append([]byte{family, 0, 0, 0}, attributes...),
	})
}

// tracking tells whether the module is loaded, which sending it a message would see to.
func (t *tracker) tracking() bool {
	if !t.tracks {
		_, err := os.Stat("/sys/module/nf_conntrack")
		t.tracks = err == nil
	}
	return t.tracks
}

// tupleOf encodes what identifies a packet's flow: addresses, protocol, and ports or ICMP identifier. It gives up on packets
// whose transport header is not at once behind the IP header, or not in this fragment.
func tupleOf(packet []byte) (family byte, tuple []byte, ok bool) {
	var src, dst []byte
	var protocol byte
	var payload []byte
	ips := []uint16{ctaIPv4Src, ctaIPv4Dst}
	if _, valid := destination(packet); !valid {
		return 0, nil, false
	}
	if packet[0]>>4 == 4 {
		header := int(packet[0]&0x0f) * 4
		if header < 20 || len(packet) < header || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
			return 0, nil, false
		}
		family, protocol, src, dst, payload = unix.AF_INET, packet[9], packet[12:16], packet[16:20], packet[header:]
	} else {
		ips = []uint16{ctaIPv6Src, ctaIPv6Dst}
		family, protocol, src, dst, payload = unix.AF_INET6, packet[6], packet[8:24], packet[24:40], packet[40:]
	}
	proto := []netlink.Attribute{{Type: ctaProtoNum, Data: []byte{protocol}}}
	switch {
	case protocol == unix.IPPROTO_ICMP && len(payload) >= 8:
		proto = append(proto, netlink.Attribute{Type: ctaICMPID, Data: payload[4:6]},
			netlink.Attribute{Type: ctaICMPType, Data: payload[0:1]}, netlink.Attribute{Type: ctaICMPCode, Data: payload[1:2]})
	case protocol == unix.IPPROTO_ICMPV6 && len(payload) >= 8:
		proto = append(proto, netlink.Attribute{Type: ctaICMPv6First, Data: payload[4:6]},
			netlink.Attribute{Type: ctaICMPv6First + 1, Data: payload[0:1]},
			netlink.Attribute{Type: ctaICMPv6First + 2, Data: payload[1:2]})
	case hasPorts(protocol) && len(payload) >= 4:
		proto = append(proto, netlink.Attribute{Type: ctaProtoSrc, Data: payload[0:2]},
			netlink.Attribute{Type: ctaProtoDst, Data: payload[2:4]})
	}
	ip, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: ips[0], Data: src}, {Type: ips[1], Data: dst}})
	if err != nil {
		return 0, nil, false
	}
	transport, err := netlink.MarshalAttributes(proto)
	if err != nil {
		return 0, nil, false
	}
	tuple, err = netlink.MarshalAttributes([]netlink.Attribute{
		{Type: ctaTupleIP | netlink.Nested, Data: ip}, {Type: ctaTupleProto | netlink.Nested, Data: transport},
	})
	return family, tuple, err == nil
}

func hasPorts(protocol byte) bool {
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP:
		return true
	}
	return false
}
