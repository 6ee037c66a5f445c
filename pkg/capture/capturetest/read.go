// Package capturetest reads pcapng files for tests, strictly and without the
// help of the code that writes them.
package capturetest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Interface is one of a file.
type Interface struct {
	Link              uint16
	Name, Description string
}

// Packet is one packet of a file.
type Packet struct {
	Interface int
	At        time.Time
	Data      []byte
	Length    int // before it was cut
	Comment   string
	Flags     uint32
	Lost      uint64
}

// File is what a file holds.
type File struct {
	Comment    string
	Interfaces []Interface
	Packets    []Packet
	End        string // the comment of the last block
	Received   uint64
	Dropped    uint64
	Ended      bool
}

// Read reads a whole file.
func Read(b []byte) (*File, error) {
	f := &File{}
	for first := true; len(b) > 0; first = false {
		if len(b) < 12 {
			return f, fmt.Errorf("%d octets at the end", len(b))
		}
		kind, n := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint32(b[4:]))
		switch {
		case n < 12 || n%4 != 0 || n > len(b):
			return f, fmt.Errorf("a block of %d octets, of %d that are left", n, len(b))
		case binary.LittleEndian.Uint32(b[n-4:]) != uint32(n):
			return f, fmt.Errorf("a block's two lengths differ")
		case first != (kind == 0x0a0d0d0a):
			return f, fmt.Errorf("block %#x, first: %t", kind, first)
		case f.Ended:
			return f, fmt.Errorf("block %#x after the end", kind)
		}
		if err := f.block(kind, b[8:n-4]); err != nil {
			return f, fmt.Errorf("block %#x: %w", kind, err)
		}
		b = b[n:]
	}
	return f, nil
}

// bodies are the lengths of the fixed parts of blocks.
var bodies = map[uint32]int{0x0a0d0d0a: 16, 1: 8, 5: 12, 6: 20}

func (f *File) block(kind uint32, b []byte) error {
	fixed, known := bodies[kind]
	if !known || len(b) < fixed {
		return fmt.Errorf("%d octets", len(b))
	}
	data := 0
	if kind == 6 {
		data = int(binary.LittleEndian.Uint32(b[12:]))
	}
	begin := fixed + (data+3)/4*4
	if begin > len(b) {
		return fmt.Errorf("%d octets of data in %d", data, len(b))
	}
	o, err := options(b[begin:])
	if err != nil {
		return err
	}
	switch kind {
	case 0x0a0d0d0a:
		if binary.LittleEndian.Uint32(b) != 0x1a2b3c4d || b[4] != 1 {
			return fmt.Errorf("byte order or version % x", b[:8])
		}
		f.Comment = string(o[1])
	case 1:
		if len(o[9]) != 1 || o[9][0] != 9 {
			return fmt.Errorf("resolution % x", o[9])
		}
		f.Interfaces = append(f.Interfaces, Interface{binary.LittleEndian.Uint16(b), string(o[2]), string(o[3])})
	case 5:
		f.End, f.Ended, f.Received, f.Dropped = string(o[1]), true, number(o[4]), number(o[5])
	case 6:
		p := Packet{
			Interface: int(binary.LittleEndian.Uint32(b)), Data: b[20 : 20+data], Length: int(binary.LittleEndian.Uint32(b[16:])),
			At:      time.Unix(0, int64(binary.LittleEndian.Uint32(b[4:]))<<32|int64(binary.LittleEndian.Uint32(b[8:]))),
			Comment: string(o[1]), Flags: uint32(number(o[2])), Lost: number(o[4]),
		}
		if p.Interface >= len(f.Interfaces) || p.Length < data {
			return fmt.Errorf("packet of interface %d, %d octets of %d", p.Interface, data, p.Length)
		}
		f.Packets = append(f.Packets, p)
	}
	return nil
}

// options reads options up to their end, which must be that of b.
func options(b []byte) (map[uint16][]byte, error) {
	all := map[uint16][]byte{}
	for len(b) >= 4 {
		code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if code == 0 && n == 0 && len(b) == 0 {
			return all, nil
		}
		if room := (n + 3) / 4 * 4; room <= len(b) {
			all[code] = b[:n]
			b = b[room:]
			continue
		}
		return all, fmt.Errorf("option %d of %d octets in %d", code, n, len(b))
	}
	return all, fmt.Errorf("options without an end")
}

func number(b []byte) (n uint64) {
	for i, x := range b {
		n |= uint64(x) << (8 * i)
	}
	return n
}

// UDP takes IP and UDP headers off a packet that was not cut, and checks them.
func (p Packet) UDP() (from, to netip.AddrPort, payload []byte, err error) {
	b := p.Data
	var src, dst netip.Addr
	var protocol byte
	total, head := 0, 0
	switch {
	case len(b) >= 20 && b[0] == 0x45:
		if ones(0, b[:20]) != 0xffff {
			return from, to, nil, fmt.Errorf("wrong checksum of the IPv4 header")
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		protocol, total, head = b[9], int(binary.BigEndian.Uint16(b[2:])), 20
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		protocol, total, head = b[6], 40+int(binary.BigEndian.Uint16(b[4:])), 40
	default:
		return from, to, nil, fmt.Errorf("no IP header: % x", b[:min(len(b), 20)])
	}
	u := b[head:]
	if protocol != 17 || total != p.Length || len(u) < 8 || int(binary.BigEndian.Uint16(u[4:])) != p.Length-head {
		return from, to, nil, fmt.Errorf("protocol %d, %d octets of %d: % x", protocol, total, p.Length, u[:min(len(u), 8)])
	}
	if c := binary.BigEndian.Uint16(u[6:]); p.Length == len(b) {
		pseudo := ones(ones(ones(17+uint32(len(u)), src.AsSlice()), dst.AsSlice()), u)
		if c == 0 || pseudo != 0xffff {
			return from, to, nil, fmt.Errorf("wrong UDP checksum %#x", c)
		}
	}
	return netip.AddrPortFrom(src, binary.BigEndian.Uint16(u)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(u[2:])), u[8:], nil
}

// ones adds the words of b in ones' complement.
func ones(n uint32, b []byte) uint32 {
	for i, x := range b {
		n += uint32(x) << (8 * (1 - i%2))
	}
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return n
}
