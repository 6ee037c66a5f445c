package pppoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const (
	etherType    = 0x8863
	etherHeader  = 14
	pppoeHeader  = 6
	tagHeader    = 4
	versionType  = 0x11 // RFC 2516, 4
	maxSessionID = 0xfffe

	// defaultPayload is the largest PPP payload without PPP-Max-Payload, of an Ethernet frame of 1500 (RFC 2516, 7).
	defaultPayload = 1492
	// overhead is what PPPoE and the protocol field of PPP take from the MTU.
	overhead = pppoeHeader + 2
)

// MAC is an Ethernet address.
type MAC [6]byte

// broadcast is where a PADI goes.
var broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String writes it in hexadecimal with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// host says that it is the address of one station.
func (m MAC) host() bool { return m != MAC{} && m[0]&1 == 0 }

// Code is the kind of a discovery packet (RFC 2516, 5).
type Code uint8

// The codes.
const (
	CodePADO Code = 0x07
	CodePADI Code = 0x09
	CodePADR Code = 0x19
	CodePADS Code = 0x65
	CodePADT Code = 0xa7
)

// String names the packet.
func (c Code) String() string {
	switch c {
	case CodePADO:
		return "PADO"
	case CodePADI:
		return "PADI"
	case CodePADR:
		return "PADR"
	case CodePADS:
		return "PADS"
	case CodePADT:
		return "PADT"
	}
	return fmt.Sprintf("code 0x%02x", uint8(c))
}

// TagType is the type of a tag (RFC 2516, appendix A; RFC 4638, 4).
type TagType uint16

// The tags.
const (
	TagEndOfList        TagType = 0x0000
	TagServiceName      TagType = 0x0101
	TagACName           TagType = 0x0102
	TagHostUniq         TagType = 0x0103
	TagACCookie         TagType = 0x0104
	TagVendorSpecific   TagType = 0x0105
	TagRelaySessionID   TagType = 0x0110
	TagPPPMaxPayload    TagType = 0x0120
	TagServiceNameError TagType = 0x0201
	TagACSystemError    TagType = 0x0202
	TagGenericError     TagType = 0x0203
)

// String names the tag.
func (t TagType) String() string {
	switch t {
	case TagEndOfList:
		return "End-Of-List"
	case TagServiceName:
		return "Service-Name"
	case TagACName:
		return "AC-Name"
	case TagHostUniq:
		return "Host-Uniq"
	case TagACCookie:
		return "AC-Cookie"
	case TagVendorSpecific:
		return "Vendor-Specific"
	case TagRelaySessionID:
		return "Relay-Session-Id"
	case TagPPPMaxPayload:
		return "PPP-Max-Payload"
	case TagServiceNameError:
		return "Service-Name-Error"
	case TagACSystemError:
		return "AC-System-Error"
	case TagGenericError:
		return "Generic-Error"
	}
	return fmt.Sprintf("tag 0x%04x", uint16(t))
}

// text says that the value is meant to be read by people.
func (t TagType) text() bool {
	switch t {
	case TagServiceName, TagACName, TagServiceNameError, TagACSystemError, TagGenericError:
		return true
	case TagEndOfList, TagHostUniq, TagACCookie, TagVendorSpecific, TagRelaySessionID, TagPPPMaxPayload:
	}
	return false
}

// Tag is one tag.
type Tag struct {
	Type  TagType
	Value []byte
}

// Packet is one discovery packet with its Ethernet header.
type Packet struct {
	Dst, Src  MAC
	Code      Code
	SessionID uint16
	Tags      []Tag // in their order, without End-Of-List
}

// What is wrong with a frame that Parse does not take.
var (
	errShort     = errors.New("frame is shorter than its headers")
	errEtherType = errors.New("ethertype is not 0x8863")
	errVersion   = errors.New("version and type are not 1")
	errLength    = errors.New("length is more than the frame has")
	errTag       = errors.New("tag is longer than the packet")
	errCode      = errors.New("code is unknown")
	errSource    = errors.New("source address is not that of one station")
)

// Parse takes an Ethernet frame apart. What follows the stated length is padding, and what follows End-Of-List is not looked at
// (RFC 2516, 4 and appendix A). The values of tags share the frame's memory. After an error nothing is known of the packet.
func Parse(frame []byte) (Packet, error) {
	if len(frame) < etherHeader+pppoeHeader {
		return Packet{}, errShort
	}
	if binary.BigEndian.Uint16(frame[12:]) != etherType {
		return Packet{}, errEtherType
	}
	p := Packet{Dst: MAC(frame[:6]), Src: MAC(frame[6:12])}
	if !p.Src.host() {
		return Packet{}, errSource
	}
	b := frame[etherHeader:]
	if b[0] != versionType {
		return Packet{}, errVersion
	}
	p.Code, p.SessionID = Code(b[1]), binary.BigEndian.Uint16(b[2:])
	switch p.Code {
	case CodePADI, CodePADO, CodePADR, CodePADS, CodePADT:
	default:
		return Packet{}, errCode
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n > len(b)-pppoeHeader {
		return Packet{}, errLength
	}
	var err error
	if p.Tags, err = parseTags(b[pppoeHeader : pppoeHeader+n]); err != nil {
		return Packet{}, err
	}
	return p, nil
}

func parseTags(b []byte) ([]Tag, error) {
	var tags []Tag
	for len(b) > 0 {
		if len(b) < tagHeader {
			return nil, errTag
		}
		t, n := TagType(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if t == TagEndOfList {
			break
		}
		if n > len(b)-tagHeader {
			return nil, errTag
		}
		tags = append(tags, Tag{Type: t, Value: b[tagHeader : tagHeader+n : tagHeader+n]})
		b = b[tagHeader+n:]
	}
	return tags, nil
}

// Append appends the packet as an Ethernet frame, without padding. Its tags must fit in 65,535 octets.
func (p Packet) Append(dst []byte) []byte {
	dst = append(append(dst, p.Dst[:]...), p.Src[:]...)
	dst = binary.BigEndian.AppendUint16(dst, etherType)
	dst = append(dst, versionType, byte(p.Code))
	dst = binary.BigEndian.AppendUint16(dst, p.SessionID)
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.length()))
	for _, t := range p.Tags {
		dst = binary.BigEndian.AppendUint16(dst, uint16(t.Type))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Value)))
		dst = append(dst, t.Value...)
	}
	return dst
}

// length is how many octets the tags take.
func (p Packet) length() int {
	n := 0
	for _, t := range p.Tags {
		n += tagHeader + len(t.Value)
	}
	return n
}

// frame is the packet in memory of its own.
func (p Packet) frame() []byte {
	return p.Append(make([]byte, 0, etherHeader+pppoeHeader+p.length()))
}

// tag gives the value of the first tag of that type, and how many there are.
func (p Packet) tag(t TagType) (value []byte, count int) {
	for _, x := range p.Tags {
		if x.Type != t {
			continue
		}
		if count++; count == 1 {
			value = x.Value
		}
	}
	return value, count
}

// echoed gives the tags that every answer brings back as they came (RFC 2516, appendix A): Host-Uniq and Relay-Session-Id.
func (p Packet) echoed() (tags []Tag) {
	for _, t := range []TagType{TagHostUniq, TagRelaySessionID} {
		if v, n := p.tag(t); n > 0 {
			tags = append(tags, Tag{t, v})
		}
	}
	return tags
}

// String is the packet in one printable line, whatever it holds.
func (p Packet) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s > %s", p.Code, p.Src, p.Dst)
	if p.SessionID != 0 {
		fmt.Fprintf(&b, " session %d", p.SessionID)
	}
	for _, t := range p.Tags {
		if t.Type.text() {
			fmt.Fprintf(&b, ", %s %q", t.Type, t.Value)
		} else {
			fmt.Fprintf(&b, ", %s %x", t.Type, t.Value)
		}
	}
	return b.String()
}
