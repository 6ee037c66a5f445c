package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func (t *tool) captureCommand() *cobra.Command {
	var r api.CaptureRequest
	var path, size string
	force := false
	c := &cobra.Command{
		Use:   "capture",
		Short: "Record control messages and PPP negotiation for Wireshark",
		Long: `Record the control messages and the PPP negotiation of a peer, a tunnel, a session or of all, as a pcapng file for Wireshark or
tshark. Every packet has a comment that says what it is. Passwords, responses and hidden values are overwritten by asterisks.

It ends when its time is over, its size is reached, or by Ctrl-C; the file is whole in any case. The packets that the kernel
carries pass the daemon by and are not in it: use tcpdump for those.`,
		Example: `  l2tpctl capture --peer 203.0.113.2 -w call.pcapng
  l2tpctl capture --all --for 30s -w - | tshark -r - -O l2tp,ppp`,
		Args: arguments(0),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.Size, err = octets(size); err != nil {
				return err
			}
			return t.capture(c.Context(), r, path, force)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Peer, "peer", "", "what is exchanged with this address, which need not have called yet")
	f.StringVar(&r.Tunnel, "tunnel", "", "what belongs to this tunnel")
	f.StringVar(&r.Session, "session", "", "what belongs to this session: TUNNEL/SESSION, line/NUMBER, its call or its user")
	f.BoolVar(&r.All, "all", false, "everything")
	f.StringVarP(&path, "write", "w", "", "file to write, - for standard output")
	f.DurationVar(&r.For, "for", api.DefaultCaptureTime, "end after this time")
	f.StringVar(&size, "size", "16MiB", "end at this size: octets, KiB, MiB or GiB")
	f.BoolVar(&force, "force", false, "replace the file if it exists")
	return c
}

// octets reads a size.
func octets(s string) (int64, error) {
	number, unit := s, int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 1 || n*unit < api.MinCaptureSize || n*unit > api.MaxCaptureSize {
		return 0, usagef("for example --size 16MiB, from 4KiB to 1GiB", "%q is no size for a capture", s)
	}
	return n * unit, nil
}

// capture records until the daemon or the operator ends it.
func (t *tool) capture(ctx context.Context, r api.CaptureRequest, path string, force bool) error {
	asked := 0
	for _, x := range []bool{r.All, r.Peer != "", r.Tunnel != "", r.Session != ""} {
		if x {
			asked++
		}
	}
	switch {
	case asked != 1:
		return usagef("say one of --peer ADDRESS, --tunnel TUNNEL, --session SESSION and --all", "a capture is of one thing, or of all; %d are asked for", asked)
	case r.For <= 0:
		return usagef("for example --for 5m", "%v is no time for a capture", r.For)
	case path == "":
		return usagef("say -w FILE, or -w - for standard output", "capture needs a file to write")
	case path == "-" && onTerminal(t.out):
		return usagef("say -w FILE, or pipe it into tshark -r -", "a capture is not for a terminal")
	}
	if r.Tunnel != "" {
		if err := api.CheckTunnel(r.Tunnel); err != nil {
			return err
		}
	}
	if path != "-" {
		if err := mayWrite(path, force); err != nil {
			return err
		}
	}
	stream, err := t.client().Capture(ctx, r)
	if err != nil {
		return err
	}
	defer stream.Close()
	var done copied
	if path == "-" {
		done, err = copyBlocks(t.out, stream)
	} else {
		done, err = toFile(path, force, stream)
	}
	if err == nil && done.note == "" {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("l2tpd has gone: %d packets are in the file", done.packets)
	}
	if err != nil {
		return fmt.Errorf("capture: %w; %d packets were written", err, done.packets)
	}
	_, err = io.WriteString(t.err, line(done.note))
	return err
}

// mayWrite refuses a file that is there already, before the daemon is asked for anything.
func mayWrite(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return usagef("name a new file, or -w - for standard output", "%s is not a file", path)
	case !force:
		return usagef("name a new file, or say --force", "%s exists", path)
	}
	return nil
}

// toFile writes a new file that only its owner can read.
func toFile(path string, force bool, from io.Reader) (copied, error) {
	if force {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return copied{}, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return copied{}, err
	}
	done, err := copyBlocks(f, from)
	return done, errors.Join(err, f.Close())
}

// copied is what copyBlocks has written.
type copied struct {
	packets int
	note    string // the last block's comment; empty: it has not come
}

// Blocks of a pcapng file that are told apart, and the longest that may come.
const (
	blockStatistics = 5
	blockPacket     = 6
	maxBlock        = 1 << 20
)

// copyBlocks copies a pcapng file, whole blocks only: what has been written can be read, whatever ends the copy. A block that is
// cut short is io.ErrUnexpectedEOF.
func copyBlocks(to io.Writer, from io.Reader) (copied, error) {
	var done copied
	in := bufio.NewReader(from)
	var block []byte
	for {
		head, err := in.Peek(8)
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return done, nil
		}
		if len(head) < 8 {
			return done, fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
		}
		kind, n := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if n < 12 || n > maxBlock {
			return done, fmt.Errorf("read: a block of %d octets", n)
		}
		block = append(block[:0], make([]byte, n)...)
		if _, err := io.ReadFull(in, block); err != nil {
			return done, fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
		}
		if _, err := to.Write(block); err != nil {
			return done, err
		}
		switch kind {
		case blockPacket:
			done.packets++
		case blockStatistics:
			done.note = firstComment(block)
		}
	}
}

// firstComment is the comment that l2tpd puts first into a block of statistics.
func firstComment(block []byte) string {
	const options, comment = 20, 1
	if len(block) < options+4 || binary.LittleEndian.Uint16(block[options:]) != comment {
		return ""
	}
	n := int(binary.LittleEndian.Uint16(block[options+2:]))
	if n > len(block)-options-4 {
		return ""
	}
	return string(block[options+4 : options+4+n])
}
