package apitest

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/capture"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Film makes every later capture go on until it is told to end.
func (b *Backend) Film() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.film = true
}

// Captures returns what has been captured so far.
func (b *Backend) Captures() []api.Capture {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.captures)
}

// Capture implements api.Backend: two acknowledgements.
func (b *Backend) Capture(ctx context.Context, c api.Capture, w io.Writer) error {
	if err := b.await(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.captures = append(b.captures, c)
	at, film := b.picture.TakenAt, b.film
	b.mu.Unlock()
	out, err := capture.NewWriter(w, c.Size, c.What())
	if err != nil {
		return err
	}
	zlb := wire.AppendZLB(nil, 10, 1, 1)
	from, to := netip.MustParseAddrPort("192.0.2.1:1701"), netip.MustParseAddrPort("192.0.2.2:1701")
	for i := range 2 {
		err := out.Write(capture.Packet{At: at, Out: i == 1, From: from, To: to, Data: zlb, Length: len(zlb), Comment: wire.Summary(zlb)})
		if err != nil {
			return err
		}
	}
	if film {
		<-ctx.Done()
	}
	return out.Close(capture.End{
		Begun: at.Add(-time.Second), Ended: at, Packets: 2, Comment: "2 packets in 1s, none was lost; the capture ended because its time is over",
	})
}
