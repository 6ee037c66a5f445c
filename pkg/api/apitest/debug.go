package apitest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Debugs returns what has been debugged so far.
func (b *Backend) Debugs() []api.Debug {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.debugs)
}

// Debug implements api.Backend: a tunnel and a session come up, and an acknowledgement goes.
func (b *Backend) Debug(ctx context.Context, d api.Debug, each func(api.DebugRecord) error) error {
	if err := b.await(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.debugs = append(b.debugs, d)
	at, film := b.picture.TakenAt, b.film
	b.mu.Unlock()
	const id = 3
	records := []api.DebugRecord{{Kind: api.DebugBegins, Message: fmt.Sprintf("debug %d shows %s for %v", id, d.What(), d.For)}}
	if !d.Background {
		records = append(records, b.shown(&d)...)
	}
	for i := range records {
		records[i].Debug, records[i].Time = id, at
		if err := each(records[i]); err != nil {
			return err
		}
	}
	if d.Background {
		return nil
	}
	why := "its time is over"
	if film {
		<-ctx.Done()
		why = "its reader has ended it"
	}
	n := uint64(len(records) - 1)
	return each(api.DebugRecord{
		Debug: id, Time: at, Kind: api.DebugEnds, Records: n,
		Message: fmt.Sprintf("%d record(s) in 1s, none was left out; debug %d ended because %s", n, id, why),
	})
}

// shown is what a debug shows.
func (b *Backend) shown(d *api.Debug) (all []api.DebugRecord) {
	peer := netip.MustParseAddrPort("203.0.113.2:1701")
	tunnel := api.DebugRecord{Tunnel: 4711, Peer: peer, Of: "tunnel"}
	session := api.DebugRecord{Tunnel: 4711, PeerTunnel: 3400, Session: 345, Peer: peer, Call: "branch", Of: "session"}
	line := api.DebugRecord{Line: 12, Access: "eth1/77 02:00:00:00:00:05", User: "bob\x1b[2J", Of: "stage"}
	if d.State {
		for _, x := range []struct {
			of       api.DebugRecord
			from, to string
		}{{tunnel, "idle", "wait-ctl-reply"}, {session, "wait-tunnel", "wait-reply"}, {line, "LCP", "user authentication"}} {
			r := x.of
			r.Kind, r.From, r.To, r.Message = api.DebugState, x.from, x.to, r.Of+": "+x.from+" -> "+x.to
			all = append(all, r)
		}
	}
	if d.Packet {
		b := append([]byte{0x40, 2, 0, 0x60, 0x0d, 0x48, 0xc8, 0x63, 0xff, 3, 0, 0x21, 0x45, 0, 0, 0x54}, make([]byte, 80)...) // as AR routers print it
		r := session
		r.PeerSession, r.Kind, r.Direction, r.Length, r.Decoded = 51299, api.DebugPacket, "out", len(b), wire.Summary(b)
		r.Message = "out, session 4711/345: " + r.Decoded
		if d.Hex {
			r.Hex = hex.EncodeToString(b)
		}
		all = append(all, r)
	}
	return all
}
