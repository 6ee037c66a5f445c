package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/capture"
)

// maxTapped is how many packets wait for the reader of a capture; more are lost to it, and counted.
const maxTapped = 1024

// capturer is one capture. Shards and readers of sockets put packets in, masked; one reader takes them out.
type capturer struct {
	want  api.Capture
	queue chan filmed
	lost  atomic.Uint64 // since the last packet that found room
	over  chan struct{} // closed when the daemon has stopped
}

// filmed is a packet of a capture, and whose it is.
type filmed struct {
	tapped
	name string
}

// wants implements onlooker: packets of whom it is of. A session's capture has what is the tunnel's as a whole besides.
func (t *capturer) wants(x *sight) bool {
	c := &t.want
	switch {
	case x.change != nil:
		return false
	case c.All:
		return true
	case c.Peer.IsValid():
		return c.Peer == x.peer()
	case c.Line != 0:
		return c.Line == x.line
	}
	return c.Tunnel == x.tunnel && (c.Session == 0 || !x.ofSession || c.Session == x.session)
}

// room implements onlooker: show finds out.
func (t *capturer) room() bool { return true }

// show implements onlooker.
func (t *capturer) show(x *sight, p *tapped) {
	own := filmed{tapped: *p, name: x.name()}
	if p.frame < 0 { // the message's own ids are in the comment too
		own.name = ""
		if x.tunnel != 0 {
			own.name = fmt.Sprintf("tunnel %d", x.tunnel)
		}
	}
	own.Lost = t.lost.Swap(0)
	select {
	case t.queue <- own:
	default:
		t.lost.Add(own.Lost + 1)
	}
}

// end implements onlooker. It is called once.
func (t *capturer) end(string) { close(t.over) }

// admitCapture says whether another capture may begin beside those who look on.
func admitCapture(all []onlooker) error {
	n := 0
	for _, o := range all {
		if _, ok := o.(*capturer); ok {
			n++
		}
	}
	if n < api.MaxCaptures {
		return nil
	}
	no := api.Errorf(api.CodeConflict, "%d captures are under way already", n)
	no.Hint = "journalctl -u l2tpd L2TP_EVENT=capture tells whose they are"
	return no
}

// Capture implements api.Backend. It ends after the last StopCCN when the daemon stops.
func (e *Engine) Capture(ctx context.Context, c api.Capture, w io.Writer) error {
	t := &capturer{want: c, queue: make(chan filmed, maxTapped), over: make(chan struct{})}
	if err := e.taps.add(t, admitCapture); err != nil {
		return err
	}
	defer e.taps.remove(t)
	result := capture.End{Begun: e.cfg.WallClock()}
	by := []slog.Attr{slog.String("event", "capture"), slog.String("what", c.What()), slog.String("by", c.By)}
	say(e.log, slog.LevelInfo, "capture begins", append(by, slog.Duration("for", c.For), slog.Int64("size", c.Size))...)
	out, err := capture.NewWriter(w, c.Size, "l2tpd "+e.cfg.Version+": capture of "+c.What())
	why := ""
	if err == nil {
		why, err = t.run(ctx, out, &result)
	}
	e.taps.remove(t)
	if err == nil {
		err = t.rest(out, &result)
	}
	full := errors.Is(err, capture.ErrFull)
	if full {
		why, err = "its size is reached", nil
		result.Lost += uint64(len(t.queue))
	}
	result.Ended, result.Lost = e.cfg.WallClock(), result.Lost+t.lost.Load()
	result.Comment = endText(&result, why)
	if err == nil {
		err = out.Close(result)
	}
	attrs := append(by, slog.Uint64("packets", result.Packets), slog.Uint64("lost", result.Lost))
	if err != nil {
		say(e.log, slog.LevelInfo, "capture ends: its reader has gone", append(attrs, slog.String("why", err.Error()))...)
		return err
	}
	say(e.log, slog.LevelInfo, "capture ends: "+why, append(attrs, slog.Int64("octets", out.Size()))...)
	return nil
}

// run writes packets until something ends the capture, and says what. An error is one of writing.
func (t *capturer) run(ctx context.Context, out *capture.Writer, result *capture.End) (string, error) {
	limit := time.NewTimer(t.want.For)
	defer limit.Stop()
	for {
		select {
		case p := <-t.queue:
			if err := p.write(out, result); err != nil {
				return "", err
			}
		case <-ctx.Done():
			return "its reader has ended it", nil
		case <-limit.C:
			return "its time is over", nil
		case <-t.over:
			return "the daemon stops", nil
		}
	}
}

// rest writes what waits when nothing more is put in, but for what a shard may be about to.
func (t *capturer) rest(out *capture.Writer, result *capture.End) error {
	for {
		select {
		case p := <-t.queue:
			if err := p.write(out, result); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (p *filmed) write(out *capture.Writer, result *capture.End) error {
	result.Lost += p.Lost
	p.Comment = p.note(p.name)
	if err := out.Write(p.Packet); err != nil {
		result.Lost++
		return err
	}
	result.Packets++
	return nil
}

// endText is a capture's last word.
func endText(r *capture.End, why string) string {
	packets, lost := fmt.Sprintf("%d packets", r.Packets), "none was lost"
	if r.Packets == 1 {
		packets = "1 packet"
	}
	if r.Lost > 0 {
		lost = fmt.Sprintf("%d more were lost", r.Lost)
	}
	return fmt.Sprintf("%s in %v, %s; the capture ended because %s", packets, r.Ended.Sub(r.Begun).Round(time.Millisecond), lost, why)
}
