package junk

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

const headerLen = 12 // of a control message, octets

// Source makes datagrams. It is not safe for concurrent use.
type Source struct {
	rng    *rand.Rand
	corpus [][]byte
	real   int // how many leading ones of corpus are somebody's own
	avoid  uint16
}

// New makes a source that mutates messages of every type, and more: datagrams that were seen on a wire.
func New(seed uint64, more ...[]byte) *Source {
	s := &Source{rng: rand.New(rand.NewPCG(seed, 0x6a756e6b)), corpus: slices.Clone(more), real: len(more)}
	s.corpus = append(s.corpus, messages(s)...)
	return s
}

// Avoid keeps one tunnel id out of the datagrams that Next makes. Who knows the id of a tunnel and writes the address of its peer
// cannot be told from the peer, by the protocol; a million random headers would name it some fifteen times.
func (s *Source) Avoid(tunnel uint16) { s.avoid = tunnel }

// Read fills b with random octets; it is the entropy of the messages.
func (s *Source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return len(b), nil
}

// messages are one of each kind that the protocol knows, well-formed.
func messages(s *Source) [][]byte {
	hide := &wire.Hiding{Secret: []byte("a secret that nobody knows"), Random: s}
	result := wire.ResultAVP(wire.Result{Code: 2, Error: 6, HasError: true, Text: "an error of some length"}, false)
	who := []wire.AVP{
		wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, "junk"),
		wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint16(wire.AVPAssignedTunnelID, 4711),
	}
	more := append(slices.Clone(who), wire.Uint16(wire.AVPReceiveWindowSize, 8), wire.Uint32(wire.AVPBearerCapabilities, 3),
		wire.Text(wire.AVPVendorName, "nobody"), wire.Uint16(wire.AVPFirmwareRevision, 1),
		wire.Bytes(wire.AVPChallenge, []byte("0123456789abcdef")), wire.Uint64(wire.AVPTieBreaker, 42))
	call := []wire.AVP{
		wire.Uint16(wire.AVPAssignedSessionID, 815), wire.Uint32(wire.AVPCallSerialNumber, 1), wire.Uint32(wire.AVPBearerType, 1),
		wire.Text(wire.AVPCalledNumber, "remote"), wire.Text(wire.AVPCallingNumber, "5551234"), wire.Text(wire.AVPSubAddress, "1"),
	}
	connected := []wire.AVP{
		wire.Uint32(wire.AVPTxConnectSpeed, 1e8), wire.Uint32(wire.AVPFramingType, 1), wire.Bytes(wire.AVPInitialRecvLCP, []byte{1, 4, 5, 220}),
		wire.Uint16(wire.AVPProxyAuthenType, 3), wire.Text(wire.AVPProxyAuthenName, "user"), wire.Uint16(wire.AVPProxyAuthenID, 1),
		wire.Text(wire.AVPProxyAuthenResponse, "guess"), wire.Flag(wire.AVPSequencingRequired),
	}
	response := wire.Bytes(wire.AVPChallengeResponse, []byte("0123456789abcdef"))
	var all [][]byte
	add := func(hide *wire.Hiding, t wire.MessageType, avps ...wire.AVP) {
		all = append(all, wire.AppendMessage(nil, uint16(s.rng.Uint32()), 0, 0, 0, wire.NewMessage(t, avps...), hide))
		if t == wire.MsgSCCRQ { // the one that begins with tunnel 0, and is worth several
			binary.BigEndian.PutUint16(all[len(all)-1][4:], 0)
		}
	}
	for range 3 {
		add(nil, wire.MsgSCCRQ, who...)
		add(nil, wire.MsgSCCRQ, more...)
	}
	add(nil, wire.MsgSCCRP, append(slices.Clone(more), response)...)
	add(hide, wire.MsgSCCRP, append(slices.Clone(more), response)...)
	add(nil, wire.MsgSCCCN, response)
	add(nil, wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, 4711), result)
	add(nil, wire.MsgHello)
	for _, h := range []*wire.Hiding{nil, hide} {
		add(h, wire.MsgICRQ, call...)
		add(h, wire.MsgOCRQ, append(call, wire.Uint32(wire.AVPMinimumBPS, 1), wire.Uint32(wire.AVPMaximumBPS, 2), wire.Uint32(wire.AVPFramingType, 1))...)
		add(h, wire.MsgICCN, connected...)
	}
	add(nil, wire.MsgICRP, call[0])
	add(nil, wire.MsgOCRP, call[0])
	add(nil, wire.MsgOCCN, connected[:2]...)
	add(nil, wire.MsgCDN, result, call[0])
	add(nil, wire.MsgWEN, wire.CallErrorsAVP([6]uint32{1, 2, 3, 4, 5, 6}))
	add(nil, wire.MsgSLI, wire.ACCMAVP(1, 2))
	all = append(all, wire.AppendZLB(nil, 4711, 1, 1), append(wire.AppendDataHeader(nil, 4711, 815, true), 0xff, 3, 0xc0, 0x21, 1, 1, 0, 4))
	return all
}

// Next makes a datagram of 0 to some hundred octets.
func (s *Source) Next() []byte {
	d := s.next()
	if s.avoid != 0 {
		if h, _, err := wire.ParseHeader(d); err == nil && h.TunnelID == s.avoid {
			return s.Next()
		}
	}
	return d
}

func (s *Source) next() []byte {
	r := s.rng
	switch d := s.pick(); r.IntN(8) {
	case 0: // noise
		d = make([]byte, r.IntN(200))
		_, _ = s.Read(d)
		return d
	case 1: // noise behind a good header
		body := make([]byte, r.IntN(120))
		_, _ = s.Read(body)
		d = append(wire.AppendZLB(nil, uint16(r.IntN(3)*r.IntN(1<<16)), uint16(r.Uint32()), uint16(r.Uint32())), body...)
		return measure(d)
	case 2: // cut off
		return d[:r.IntN(len(d)+1)]
	case 3: // cut off by somebody who counts
		return measure(d[:min(len(d), headerLen+r.IntN(len(d)))])
	case 4: // damaged
		return s.damage(d, 0)
	case 5: // another place in another conversation
		for i := 4; i < min(headerLen, len(d)); i++ {
			if r.IntN(2) == 0 {
				d[i] = byte(r.Uint32())
			}
		}
		return d
	case 6: // parts of two
		x := s.pick()
		return measure(append(d[:r.IntN(len(d)+1)], x[r.IntN(len(x)+1):]...))
	default: // AVPs with wrong lengths and flags
		return s.bend(d)
	}
}

// Again makes a message that somebody has sent before, with everything but its header damaged or cut off: its number is of the
// past, so that a peer who gets it from the right address must take it for an old one. It needs real messages.
func (s *Source) Again() []byte {
	for {
		d := slices.Clone(s.corpus[s.rng.IntN(s.real)])
		if len(d) > headerLen {
			return s.damage(measure(d[:headerLen+1+s.rng.IntN(len(d)-headerLen)]), headerLen)
		}
	}
}

// pick returns a copy of a message; one in two has an id of its own, so that it is nobody's repetition.
func (s *Source) pick() []byte {
	d := slices.Clone(s.corpus[s.rng.IntN(len(s.corpus))])
	if len(d) > headerLen && s.rng.IntN(2) == 0 {
		for at := headerLen; at+8 <= len(d); {
			n := int(binary.BigEndian.Uint16(d[at:]) & 0x3ff)
			if n == 8 && binary.BigEndian.Uint16(d[at+4:]) == uint16(wire.AVPAssignedTunnelID) {
				binary.BigEndian.PutUint16(d[at+6:], uint16(1+s.rng.IntN(65535)))
			}
			at += max(n, 6)
		}
	}
	return d
}

// damage changes up to eight octets from an offset on.
func (s *Source) damage(d []byte, from int) []byte {
	for range 1 + s.rng.IntN(8) {
		if len(d) > from {
			d[from+s.rng.IntN(len(d)-from)] = byte(s.rng.Uint32())
		}
	}
	return d
}

// bend changes the first two octets of one AVP: its length and its flags, or both ends of it by a repetition.
func (s *Source) bend(d []byte) []byte {
	var starts []int
	for at := headerLen; at+6 <= len(d); {
		starts = append(starts, at)
		at += max(int(binary.BigEndian.Uint16(d[at:])&0x3ff), 6)
	}
	if len(starts) == 0 {
		return d
	}
	at := starts[s.rng.IntN(len(starts))]
	switch s.rng.IntN(3) {
	case 0:
		binary.BigEndian.PutUint16(d[at:], uint16(s.rng.Uint32()))
	case 1:
		d[at] ^= 1 << (2 + s.rng.IntN(6))
	case 2:
		d = slices.Insert(d, at, d[at:]...)
	}
	return measure(d)
}

// measure makes the Length of a control message true.
func measure(d []byte) []byte {
	if len(d) >= 4 && d[0]&0xc0 == 0xc0 {
		binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
	}
	return d
}
