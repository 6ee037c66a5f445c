package transport

import "sync/atomic"

// SocketCounters are the sums over all sockets of one kind, closed ones included. Octets are UDP payload.
type SocketCounters struct {
	ReceivedDatagrams uint64
	ReceivedOctets    uint64
	// ReceivedData counts those of ReceivedDatagrams that are L2TP data messages (T bit clear): what the kernel's data path
	// declined. In steady state it stands still.
	ReceivedData  uint64
	SentDatagrams uint64
	SentOctets    uint64
	SendErrors    uint64
	// Overflow counts datagrams the kernel dropped at the socket: its buffer was full, or they were data the filter refuses.
	// The kernel reports it with the next datagram that gets through.
	Overflow uint64
	// Unreachable counts ICMP errors that came back.
	Unreachable uint64
}

// Counters are those of a transport.
type Counters struct {
	Listener SocketCounters // control, both ways
	Tunnel   SocketCounters // what reached user space on tunnel sockets; the daemon never sends there
}

// kind of a socket.
type kind int

const (
	kindListener kind = iota
	kindTunnel
	kinds // how many
)

// counters are SocketCounters under concurrent use.
type counters struct {
	receivedDatagrams, receivedOctets, receivedData atomic.Uint64
	sentDatagrams, sentOctets, sendErrors           atomic.Uint64
	overflow, unreachable                           atomic.Uint64
}

func (c *counters) received(data []byte) {
	c.receivedDatagrams.Add(1)
	c.receivedOctets.Add(uint64(len(data)))
	if len(data) > 0 && data[0]&controlBit == 0 {
		c.receivedData.Add(1)
	}
}

func (c *counters) sent(octets int) {
	c.sentDatagrams.Add(1)
	c.sentOctets.Add(uint64(octets))
}

func (c *counters) read() SocketCounters {
	return SocketCounters{
		ReceivedDatagrams: c.receivedDatagrams.Load(),
		ReceivedOctets:    c.receivedOctets.Load(),
		ReceivedData:      c.receivedData.Load(),
		SentDatagrams:     c.sentDatagrams.Load(),
		SentOctets:        c.sentOctets.Load(),
		SendErrors:        c.sendErrors.Load(),
		Overflow:          c.overflow.Load(),
		Unreachable:       c.unreachable.Load(),
	}
}

// Counters returns a snapshot; the fields are read one after the other.
func (t *Transport) Counters() Counters {
	return Counters{Listener: t.counters[kindListener].read(), Tunnel: t.counters[kindTunnel].read()}
}
