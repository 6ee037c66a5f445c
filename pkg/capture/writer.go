package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Blocks of a pcapng file (draft-ietf-opsawg-pcapng, 4). A file is little-endian here.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6

	byteOrder = 0x1a2b3c4d
)

// Options of them.
const (
	optEnd         = 0
	optComment     = 1
	optApplication = 4 // of a section
	optName        = 2 // of an interface; so are the next two
	optDescription = 3
	optResolution  = 9
	optFlags       = 2 // of a packet; so is the next
	optLost        = 4
	optBegun       = 2 // of statistics; so are the next three
	optEnded       = 3
	optReceived    = 4
	optDropped     = 5
)

const (
	linkPPP = 9   // LINKTYPE_PPP
	linkRaw = 101 // LINKTYPE_RAW: begins with an IP header

	nanoseconds = 9 // as the power of ten that a time stamp counts

	flagIn, flagOut = 1, 2
)

const (
	// maxComment bounds a comment, in octets.
	maxComment = 8 << 10
	// endReserve is what Close needs of the limit.
	endReserve = 512
)

// ErrFull says that a packet does not fit into the limit. The file is whole without it.
var ErrFull = errors.New("capture is full")

// Line is an access line that frames come from and go to.
type Line struct{ Name, Description string }

// Packet is one packet of a capture.
type Packet struct {
	At     time.Time
	Out    bool           // we have sent it
	From   netip.AddrPort // unless it is a line's
	To     netip.AddrPort
	Line   Line   // zero: Data is an L2TP datagram; else a PPP frame
	Data   []byte // may have been cut at the end
	Length int    // of Data before that
	Lost   uint64 // packets since the last one that were not kept

	Comment string
}

// End is what a capture came to.
type End struct {
	Begun, Ended  time.Time
	Packets, Lost uint64
	Comment       string
}

// Writer writes one file. Every write to what is below it is of whole blocks. It is not safe for concurrent use.
type Writer struct {
	w     io.Writer
	limit int64
	size  int64
	lines map[Line]uint32 // the numbers of their interfaces; 0 is that of L2TP
	buf   []byte
}

// NewWriter begins a file of at most limit octets. about becomes its comment.
func NewWriter(w io.Writer, limit int64, about string) (*Writer, error) {
	x := &Writer{w: w, limit: limit, lines: map[Line]uint32{}}
	b := begin(nil, blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrder)
	b = append(b, 1, 0, 0, 0)                           // version 1.0
	b = binary.LittleEndian.AppendUint64(b, ^uint64(0)) // of a length that is not known
	b = text(b, optComment, about)
	b = text(b, optApplication, "l2tpd")
	x.buf = end(b, 0)
	x.buf = appendInterface(x.buf, linkRaw, Line{"l2tp", "L2TP as l2tpd sees it; secrets are overwritten by asterisks, IP and UDP headers are made up"})
	return x, x.flush()
}

// Size is how many octets have been written.
func (w *Writer) Size() int64 { return w.size }

// Write adds a packet, or returns ErrFull.
func (w *Writer) Write(p Packet) error {
	number, known := uint32(0), true
	data, length := p.Data, p.Length
	if p.Line == (Line{}) {
		head := appendHeaders(nil, p)
		data, length = append(head, data...), length+len(head)
	} else if number, known = w.lines[p.Line]; !known {
		number = uint32(len(w.lines)) + 1
		w.buf = appendInterface(w.buf, linkPPP, p.Line)
	}
	start := len(w.buf)
	b := begin(w.buf, blockPacket)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = appendTime(b, p.At)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	b = pad(append(b, data...))
	b = text(b, optComment, p.Comment)
	flags := uint32(flagIn)
	if p.Out {
		flags = flagOut
	}
	b = option(b, optFlags, binary.LittleEndian.AppendUint32(nil, flags))
	if p.Lost > 0 {
		b = option(b, optLost, binary.LittleEndian.AppendUint64(nil, p.Lost))
	}
	w.buf = end(b, start)
	if w.size+int64(len(w.buf))+endReserve > w.limit {
		w.buf = w.buf[:0]
		return ErrFull
	}
	if !known {
		w.lines[p.Line] = number
	}
	return w.flush()
}

// Close writes the last block, which says what the capture came to. It closes nothing below.
func (w *Writer) Close(e End) error {
	b := begin(w.buf, blockStatistics)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = appendTime(b, e.Ended)
	b = text(b, optComment, e.Comment)
	b = option(b, optBegun, appendTime(nil, e.Begun))
	b = option(b, optEnded, appendTime(nil, e.Ended))
	b = option(b, optReceived, binary.LittleEndian.AppendUint64(nil, e.Packets+e.Lost))
	b = option(b, optDropped, binary.LittleEndian.AppendUint64(nil, e.Lost))
	w.buf = end(b, 0)
	return w.flush()
}

func (w *Writer) flush() error {
	n, err := w.w.Write(w.buf)
	w.size += int64(n)
	w.buf = w.buf[:0]
	return err
}

func appendInterface(dst []byte, link uint16, about Line) []byte {
	start := len(dst)
	b := begin(dst, blockInterface)
	b = binary.LittleEndian.AppendUint16(b, link)
	b = append(b, 0, 0, 0, 0, 0, 0) // reserved; no limit to a packet's length
	b = text(b, optName, about.Name)
	b = text(b, optDescription, about.Description)
	b = option(b, optResolution, []byte{nanoseconds})
	return end(b, start)
}

// begin appends a block's head, whose length end fills in.
func begin(dst []byte, kind uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, kind)
	return append(dst, 0, 0, 0, 0)
}

// end completes the block that begins at start, and has options.
func end(b []byte, start int) []byte {
	b = append(b, optEnd, 0, 0, 0)
	n := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

func text(dst []byte, code uint16, s string) []byte {
	return option(dst, code, []byte(s[:min(len(s), maxComment)]))
}

func option(dst []byte, code uint16, value []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, code)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(value)))
	return pad(append(dst, value...))
}

// pad fills up to a multiple of four: every block begins at one.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendTime(dst []byte, at time.Time) []byte {
	ns := uint64(at.UnixNano())
	dst = binary.LittleEndian.AppendUint32(dst, uint32(ns>>32))
	return binary.LittleEndian.AppendUint32(dst, uint32(ns))
}
