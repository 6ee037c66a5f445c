package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// What a debug shows at most (S57): the log has other readers. What is more is left out and counted.
const (
	debugRate  = 200 // a second
	debugBurst = 400
)

// maxShown is how much waits for the reader of a debug. What finds no room is left out too.
const maxShown = 1024

// leftOutEvery is how often a debug says that something was left out.
const leftOutEvery = time.Second

// watch is one debug (S53). What it is of is kept as it was asked for and not as a list of what was there: what comes later is looked at
// like what was there before. Shards and readers of sockets put in what is shown, masked; one goroutine takes it out, for the log and
// for whoever has asked.
type watch struct {
	id    int
	want  api.Debug
	log   *slog.Logger
	now   func() Time
	begun time.Time
	queue chan showing

	records atomic.Uint64
	leftOut atomic.Uint64
	told    uint64 // of leftOut; the reader's

	mu     sync.Mutex // of what may be shown now
	budget float64
	at     Time

	ended sync.Once
	over  chan struct{} // closed when somebody ends it, who says why
	why   string
}

// showing is what a debug shows.
type showing struct {
	sight
	tapped
}

// wants implements onlooker.
func (w *watch) wants(x *sight) bool {
	if x.change == nil && !w.want.Packet || x.change != nil && !w.want.State {
		return false
	}
	return w.concerns(x)
}

// concerns says whether it is of somebody whom the debug is of.
func (w *watch) concerns(x *sight) bool {
	return slices.ContainsFunc(w.want.Of, func(t api.DebugTarget) bool { return x.isOf(&t) })
}

// isOf says whether it is what a target means. Tunnels and sessions exclude each other, as TUNNEL and CALL of the AR routers do (S53): what
// is a session's is not shown with its tunnel, nor the other way round.
func (x *sight) isOf(t *api.DebugTarget) bool {
	switch t.Sort {
	case api.DebugTunnel:
		return !x.ofSession && (t.All || x.tunnel == t.Tunnel)
	case api.DebugSession:
		return x.ofSession && (t.All || x.line == t.Line && x.tunnel == t.Tunnel && x.session == t.Session)
	case api.DebugCall:
		return x.call != "" && (t.All || x.call == t.Call)
	case api.DebugPeer:
		return x.remote.IsValid() && (t.All || x.peer() == t.Peer)
	case api.DebugUser:
		return x.user != "" && (t.All || x.user == t.User)
	}
	return false
}

// room implements onlooker.
func (w *watch) room() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.budget = min(debugBurst, w.budget+debugRate*max(0, now-w.at).Seconds())
	w.at = now
	if w.budget < 1 {
		w.leftOut.Add(1)
		return false
	}
	w.budget--
	return true
}

// show implements onlooker.
func (w *watch) show(x *sight, p *tapped) {
	select {
	case w.queue <- showing{*x, *p}:
	default:
		w.leftOut.Add(1)
	}
}

// end implements onlooker.
func (w *watch) end(why string) {
	w.ended.Do(func() {
		w.why = why
		close(w.over)
	})
}

// debugsOf are the debugs among those who look on.
func debugsOf(all []onlooker) (found []*watch) {
	for _, o := range all {
		if w, ok := o.(*watch); ok {
			found = append(found, w)
		}
	}
	return found
}

// debugs are those under way, as the API shows them.
func (x *taps) debugs() []api.Debugging {
	all := []api.Debugging{}
	for _, w := range debugsOf(x.all()) {
		all = append(all, api.Debugging{
			ID: w.id, What: w.want.What(), Hex: w.want.Hex, Background: w.want.Background, By: w.want.By, StartedAt: w.begun,
			EndsAt: w.begun.Add(w.want.For), Records: w.records.Load(), LeftOut: w.leftOut.Load(),
		})
	}
	return all
}

// debugged says what is shown of a tunnel or a session (S135).
func (x *taps) debugged(who func() sight) string {
	state, packet := false, false
	if !x.idle() {
		s := who()
		for _, w := range debugsOf(x.all()) {
			if w.concerns(&s) {
				state, packet = state || w.want.State, packet || w.want.Packet
			}
		}
	}
	return api.DebugKinds(state, packet)
}

// stopDebugs ends one debug, or all (S54).
func (e *Engine) stopDebugs(a api.Action) (*api.Result, error) {
	res := &api.Result{APIVersion: api.APIVersion, Message: "no debug is under way"}
	all := debugsOf(e.taps.all())
	no := api.Errorf(api.CodeNotFound, "no debug %d", a.Debug)
	for _, w := range all {
		if a.Debug != 0 && w.id != a.Debug {
			no.Nearest = append(no.Nearest, fmt.Sprint(w.id))
			continue
		}
		w.end("it was stopped by " + a.By)
		res.Changed = true
		res.Message = fmt.Sprintf("debug %d is being ended", w.id)
	}
	switch {
	case a.Debug != 0 && !res.Changed:
		no.Hint = "see l2tpctl debug list"
		return nil, no
	case a.Debug == 0 && len(all) > 1:
		res.Message = fmt.Sprintf("%d debugs are being ended", len(all))
	}
	return res, nil
}

// Debug implements api.Backend. It ends after the last StopCCN when the daemon stops.
func (e *Engine) Debug(ctx context.Context, d api.Debug, each func(api.DebugRecord) error) error {
	w := &watch{
		want: d, log: e.log, now: e.cfg.Now, begun: e.cfg.WallClock(), queue: make(chan showing, maxShown), budget: debugBurst, at: e.cfg.Now(),
		over: make(chan struct{}),
	}
	if err := e.taps.add(w, w.admit(e)); err != nil {
		return err
	}
	say(e.log, slog.LevelInfo, "debug begins", w.attrs(slog.String("what", d.What()), slog.Duration("for", d.For))...)
	err := each(api.DebugRecord{
		Debug: w.id, Time: w.begun, Kind: api.DebugBegins, Message: fmt.Sprintf("debug %d shows %s for %v", w.id, d.What(), d.For),
	})
	switch {
	case err != nil:
		w.end("its reader has gone: " + err.Error())
		if d.Background {
			e.debugs.Done()
		}
	case d.Background:
		go func() {
			defer e.debugs.Done()
			_ = w.follow(background, e, func(api.DebugRecord) error { return nil })
		}()
		return nil
	}
	return w.follow(ctx, e, each)
}

// admit says whether the debug may begin beside those who look on, and gives it its number. One in the background is waited for from
// then on.
func (w *watch) admit(e *Engine) func([]onlooker) error {
	return func(all []onlooker) error {
		others := debugsOf(all)
		if len(others) >= api.MaxDebugs {
			no := api.Errorf(api.CodeConflict, "%d debugs are under way already", len(others))
			no.Hint = "l2tpctl debug list shows them, l2tpctl debug stop ends one"
			return no
		}
		e.taps.lastDebug++
		w.id = e.taps.lastDebug
		if w.want.Background {
			e.debugs.Add(1)
		}
		return nil
	}
}

// attrs name the debug on a line of its own.
func (w *watch) attrs(more ...slog.Attr) []slog.Attr {
	return append([]slog.Attr{slog.String("event", "debug"), slog.Int("debug", w.id), slog.String("by", w.want.By)}, more...)
}

// follow shows what comes until something ends the debug, and then takes it out. The error is that of a reader who has gone.
func (w *watch) follow(ctx context.Context, e *Engine, each func(api.DebugRecord) error) error {
	why, err := w.run(ctx, each)
	e.taps.remove(w)
	for err == nil && len(w.queue) > 0 { // nothing more is put in, but for what a shard may be about to
		err = w.tell(<-w.queue, each)
	}
	if err == nil {
		err = w.tellLeftOut(e.cfg.WallClock(), each)
	}
	if err != nil {
		why = "its reader has gone: " + err.Error()
	}
	end := api.DebugRecord{
		Debug: w.id, Time: e.cfg.WallClock(), Kind: api.DebugEnds, Records: w.records.Load(), LeftOut: w.leftOut.Load() + uint64(len(w.queue)),
	}
	missing := "none was left out"
	if end.LeftOut > 0 {
		missing = fmt.Sprintf("%d more were left out", end.LeftOut)
	}
	end.Message = fmt.Sprintf("%s in %v, %s; debug %d ended because %s", records(end.Records), end.Time.Sub(w.begun).Round(time.Millisecond), missing, w.id, why)
	say(w.log, slog.LevelInfo, "debug ends: "+why, w.attrs(slog.Uint64("records", end.Records), slog.Uint64("left_out", end.LeftOut))...)
	if err == nil {
		err = each(end)
	}
	return err
}

// run shows what comes, and says what has ended it.
func (w *watch) run(ctx context.Context, each func(api.DebugRecord) error) (why string, err error) {
	limit, tick := time.NewTimer(w.want.For), time.NewTicker(leftOutEvery)
	defer limit.Stop()
	defer tick.Stop()
	for {
		select {
		case x := <-w.queue:
			if err := w.tell(x, each); err != nil {
				return "", err
			}
		case at := <-tick.C:
			if err := w.tellLeftOut(at, each); err != nil {
				return "", err
			}
		case <-ctx.Done():
			return "its reader has ended it", nil
		case <-limit.C:
			return "its time is over", nil
		case <-w.over:
			return w.why, nil
		}
	}
}

// tell writes something to the log, and to whoever has asked.
func (w *watch) tell(x showing, each func(api.DebugRecord) error) error {
	r := x.record(w)
	attrs := []slog.Attr{slog.Int("debug", w.id)}
	if r.Line != 0 {
		attrs = append(attrs, slog.Int("line", int(r.Line)), slog.String("access", r.Access))
	} else {
		attrs = append(attrs, slog.Int("tunnel", int(r.Tunnel)), slog.Int("peer_tunnel", int(r.PeerTunnel)), slog.Any("peer", r.Peer))
		if x.ofSession {
			attrs = append(attrs, slog.Int("session", int(r.Session)), slog.Int("peer_session", int(r.PeerSession)))
		}
	}
	attrs = append(attrs, slog.String("call", r.Call), slog.String("user", r.User))
	if r.Kind == api.DebugState {
		attrs = append(attrs, slog.String("event", "debug-state"), slog.String("of", r.Of), slog.String("from", r.From), slog.String("to", r.To))
	} else {
		attrs = append(attrs, slog.String("event", "debug-packet"), slog.String("direction", r.Direction), slog.Int("length", r.Length), slog.String("hex", r.Hex))
	}
	w.records.Add(1)
	say(w.log, slog.LevelInfo, r.Message, attrs...)
	return each(r)
}

// tellLeftOut says how much was left out since it was last said.
func (w *watch) tellLeftOut(at time.Time, each func(api.DebugRecord) error) error {
	all := w.leftOut.Load()
	n := all - w.told
	if n == 0 {
		return nil
	}
	w.told = all
	r := api.DebugRecord{
		Debug: w.id, Time: at, Kind: api.DebugLeftOut, LeftOut: n,
		Message: fmt.Sprintf("%s left out: a debug shows %d a second", records(n), debugRate),
	}
	say(w.log, slog.LevelInfo, r.Message, slog.String("event", "debug-left-out"), slog.Int("debug", w.id), slog.Uint64("left_out", n))
	return each(r)
}

// record is what is shown, in the words of the API.
func (x *showing) record(w *watch) api.DebugRecord {
	r := api.DebugRecord{
		Debug: w.id, Time: x.At, Kind: api.DebugPacket, Tunnel: x.tunnel, PeerTunnel: x.peerTunnel, Session: x.session, PeerSession: x.peerSession,
		Line: x.line, Access: x.access, Peer: x.remote, Call: x.call, User: x.user, Of: stateOfTunnel,
	}
	if x.ofSession {
		r.Of = stateOfSession
	}
	if c := x.change; c != nil {
		r.Kind, r.Of, r.From, r.To = api.DebugState, c.of, c.from, c.to
		r.Message = fmt.Sprintf("%s: %s -> %s", x.name(), c.from, c.to)
		if c.of == stateOfStage {
			r.Message = fmt.Sprintf("%s: stage %s -> %s", x.name(), c.from, c.to)
		}
		return r
	}
	r.Direction, r.Length, r.Decoded, r.Message = "in", x.Length, x.text(), x.note(x.name())
	if x.Out {
		r.Direction = "out"
	}
	if w.want.Hex {
		r.Hex = hex.EncodeToString(x.Data)
	}
	return r
}

// records is a number of them.
func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}
