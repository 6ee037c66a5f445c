package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
)

// The L2TP generic netlink family (include/uapi/linux/l2tp.h).
const (
	familyName    = "l2tp"
	familyVersion = 1

	cmdTunnelCreate = 1
	cmdTunnelGet    = 4
	cmdSessionGet   = 8

	attrEncapType      = 2
	attrProtoVersion   = 7
	attrConnID         = 9
	attrPeerConnID     = 10
	attrSessionID      = 11
	attrPeerSessionID  = 12
	attrUDPChecksum    = 13
	attrRecvSeq        = 18
	attrSendSeq        = 19
	attrLNSMode        = 20
	attrRecvTimeout    = 22
	attrFD             = 23
	attrIPSource       = 24
	attrIPDest         = 25
	attrUDPSourcePort  = 26
	attrUDPDestPort    = 27
	attrStats          = 30
	attrIP6Source      = 31
	attrIP6Dest        = 32
	attrZeroChecksum6T = 33

	statTxPackets     = 1
	statTxBytes       = 2
	statTxErrors      = 3
	statRxPackets     = 4
	statRxBytes       = 5
	statRxSeqDiscards = 6
	statRxOutOfSeq    = 7
	statRxErrors      = 8
	statRxInvalid     = 11

	encapUDP      = 0
	protoVersion2 = 2
)

// tunnelCreateAttributes is the managed form of TUNNEL_CREATE. All integers are in host order.
func tunnelCreateAttributes(s TunnelSpec) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(attrConnID, uint32(s.ID))
	ae.Uint32(attrPeerConnID, uint32(s.PeerID))
	ae.Uint8(attrProtoVersion, protoVersion2)
	ae.Uint16(attrEncapType, encapUDP)
	ae.Uint32(attrFD, uint32(s.FD))
	return ae.Encode()
}

// tunnelGetAttributes names a tunnel.
func tunnelGetAttributes(id uint16) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(attrConnID, uint32(id))
	return ae.Encode()
}

// sessionGetAttributes names a session.
func sessionGetAttributes(tunnel, session uint16) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(attrConnID, uint32(tunnel))
	ae.Uint32(attrSessionID, uint32(session))
	return ae.Encode()
}

// parseTunnel reads the answer to TUNNEL_GET.
func parseTunnel(b []byte) (TunnelInfo, error) {
	var (
		info          TunnelInfo
		local, remote netip.Addr
		sport, dport  uint16
		zero6         bool
	)
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return info, fmt.Errorf("decode tunnel: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case attrConnID:
			ad.Do(id16(&info.ID))
		case attrPeerConnID:
			ad.Do(id16(&info.PeerID))
		case attrIPSource, attrIP6Source:
			ad.Do(address(&local))
		case attrIPDest, attrIP6Dest:
			ad.Do(address(&remote))
		case attrUDPSourcePort:
			sport = ad.Uint16()
		case attrUDPDestPort:
			dport = ad.Uint16()
		case attrUDPChecksum:
			info.UDPChecksum = ad.Uint8() != 0
		case attrZeroChecksum6T:
			zero6 = true
		}
	}
	if err := ad.Err(); err != nil {
		return TunnelInfo{}, fmt.Errorf("decode tunnel: %w", err)
	}
	info.Local, info.Remote = netip.AddrPortFrom(local, sport), netip.AddrPortFrom(remote, dport)
	if local.Is6() {
		info.UDPChecksum = !zero6
	}
	return info, nil
}

// parseSession reads the answer to SESSION_GET.
func parseSession(b []byte) (SessionInfo, error) {
	var info SessionInfo
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return info, fmt.Errorf("decode session: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case attrConnID:
			ad.Do(id16(&info.TunnelID))
		case attrPeerConnID:
			ad.Do(id16(&info.PeerTunnelID))
		case attrSessionID:
			ad.Do(id16(&info.SessionID))
		case attrPeerSessionID:
			ad.Do(id16(&info.PeerID))
		case attrRecvSeq:
			info.Sequencing.Require = ad.Uint8() != 0
		case attrSendSeq:
			info.Sequencing.Send = ad.Uint8() != 0
		case attrLNSMode:
			info.Sequencing.LNS = ad.Uint8() != 0
		case attrRecvTimeout:
			info.Sequencing.Reorder = time.Duration(ad.Uint64()) * time.Millisecond
		case attrStats:
			ad.Nested(info.Stats.parse)
		}
	}
	if err := ad.Err(); err != nil {
		return SessionInfo{}, fmt.Errorf("decode session: %w", err)
	}
	return info, nil
}

// parse reads a STATS nest.
func (s *Stats) parse(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case statTxPackets:
			s.TxPackets = ad.Uint64()
		case statTxBytes:
			s.TxBytes = ad.Uint64()
		case statTxErrors:
			s.TxErrors = ad.Uint64()
		case statRxPackets:
			s.RxPackets = ad.Uint64()
		case statRxBytes:
			s.RxBytes = ad.Uint64()
		case statRxSeqDiscards:
			s.RxSeqDiscards = ad.Uint64()
		case statRxOutOfSeq:
			s.RxOutOfSequence = ad.Uint64()
		case statRxErrors:
			s.RxErrors = ad.Uint64()
		case statRxInvalid:
			s.RxInvalid = ad.Uint64()
		}
	}
	return ad.Err()
}

// id16 reads an id: 32 bits in the API, 16 on an L2TPv2 wire.
func id16(to *uint16) func([]byte) error {
	return func(b []byte) error {
		if len(b) != 4 {
			return fmt.Errorf("id of %d octets", len(b))
		}
		v := hostOrder.Uint32(b)
		if v > 0xffff {
			return fmt.Errorf("id %d is not an L2TPv2 id", v)
		}
		*to = uint16(v)
		return nil
	}
}

// address reads an IPv4 or IPv6 address in network order.
func address(to *netip.Addr) func([]byte) error {
	return func(b []byte) error {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return fmt.Errorf("address of %d octets", len(b))
		}
		*to = a
		return nil
	}
}
