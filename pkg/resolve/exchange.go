package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"codeberg.org/miekg/dns"
)

// received is what is read of a datagram: more than is asked for, since some servers do not look at the limit.
const received = 4096

// try asks one server: by TCP if the answer is too long for UDP, and without EDNS if the server does not know it. All of that has
// the time of one try.
func (r *Resolver) try(ctx context.Context, server netip.AddrPort, q question) (reply, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	network := "udp"
	for range 3 { // both turns, each once, and the answer
		q.id = dns.ID()
		a, v, err := r.exchange(ctx, network, server, q)
		switch {
		case err != nil && parent.Err() != nil:
			return reply{}, silence{"no answer yet", parent.Err()}
		case err != nil:
			return reply{}, r.explain(err)
		case v == noEDNS:
			q.plain = true
		case v == truncated && network == "udp":
			network = "tcp"
		case v == truncated:
			return reply{}, errTruncated
		default:
			return a, nil
		}
	}
	return reply{}, errMalformed
}

// explain makes texts that do not differ from one try to the next.
func (r *Resolver) explain(err error) error {
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return silence{fmt.Sprintf("no answer in %v", r.cfg.Timeout), os.ErrDeadlineExceeded}
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errMalformed
	}
	return err
}

// exchange sends the question from a socket and a port of its own, connected: the kernel drops what others send to it.
func (r *Resolver) exchange(ctx context.Context, network string, server netip.AddrPort, q question) (reply, verdict, error) {
	msg, err := q.pack()
	if err != nil {
		return reply{}, foreign, err
	}
	r.asked.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return reply{}, foreign, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline() // try has set one
	if err := conn.SetDeadline(deadline); err != nil {
		return reply{}, foreign, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // at worst, the answer is waited for
	defer stop()
	if network == "tcp" {
		return r.stream(conn, q, msg)
	}
	if _, err := conn.Write(msg); err != nil {
		return reply{}, foreign, err
	}
	buf := make([]byte, received)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, foreign, err
		}
		if a, v, err := q.read(buf[:n]); v != foreign {
			return a, v, err
		}
		r.foreign.Add(1)
	}
}

// stream asks over TCP (RFC 1035, 4.2.2).
func (r *Resolver) stream(conn net.Conn, q question, msg []byte) (reply, verdict, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(msg)+2), uint16(len(msg)))
	if _, err := conn.Write(append(framed, msg...)); err != nil {
		return reply{}, foreign, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return reply{}, foreign, err
	}
	buf, err := io.ReadAll(io.LimitReader(conn, int64(binary.BigEndian.Uint16(length[:]))))
	if err != nil {
		return reply{}, foreign, err
	}
	a, v, err := q.read(buf) // if it was cut short, it is malformed
	if v == foreign {
		r.foreign.Add(1)
		err = errMalformed
	}
	return a, v, err
}
