package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Guest and runner talk over one virtio serial port, in frames of a type
// byte, a length of four bytes, and the body.
const (
	frameReady  = 'r' // guest: up; body is a readyReport
	frameBeat   = 'h' // guest: alive
	frameOut    = 'o' // guest: standard output
	frameErr    = 'e' // guest: standard error
	frameKmsg   = 'k' // guest: one kernel log record
	frameExit   = 'x' // guest: the command ended; body is an exitReport
	frameFatal  = 'f' // guest: cannot go on; body is the reason
	frameInput  = 'i' // runner: terminal input
	frameResize = 'w' // runner: terminal size, two uint16: rows, columns
	frameDump   = 'd' // runner: the command hangs, say all you know
)

const frameMax = 64 << 10

// task is what the guest is to do. It travels in the initramfs.
type task struct {
	Series    string
	Args      []string
	Env       []string
	Dir       string
	Terminal  bool
	Artifacts bool
}

type readyReport struct {
	Release string
	Uptime  float64 // seconds since the guest's kernel started
}

type exitReport struct {
	Code   int
	Signal string // name of the signal that ended the command, if one did
}

// frameWriter may be shared by goroutines.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) send(kind byte, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		n := min(len(body), frameMax)
		b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
		if _, err := f.w.Write(append(b, body[:n]...)); err != nil {
			return err
		}
		if body = body[n:]; len(body) == 0 {
			return nil
		}
	}
}

// post is send for those who could do nothing about an error: that the other
// side is gone is noticed where its frames are read.
func (f *frameWriter) post(kind byte, body []byte) { _ = f.send(kind, body) }

func (f *frameWriter) sendJSON(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.send(kind, body)
}

// stream is an io.Writer that sends all it gets as frames of one kind.
func (f *frameWriter) stream(kind byte) io.Writer { return frameStream{f, kind} }

type frameStream struct {
	f    *frameWriter
	kind byte
}

func (s frameStream) Write(b []byte) (int, error) {
	if err := s.f.send(s.kind, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > frameMax {
		return 0, nil, fmt.Errorf("frame %q of %d bytes", head[0], n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}
