package api_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// asked is a request for states and packets of some.
func asked(of ...string) api.DebugRequest {
	r := api.DebugRequest{State: true, Packet: true, Of: map[api.DebugSort][]string{}}
	for _, x := range of {
		sort, ref, _ := strings.Cut(x, "=")
		r.Of[api.DebugSort(sort)] = append(r.Of[api.DebugSort(sort)], ref)
	}
	return r
}

// S53: targets are resolved as for other verbs; a peer and a user need not be there, a call must be configured.
func TestDebugsAreResolved(t *testing.T) {
	t.Parallel()
	p := picture()
	p.Sessions = append(p.Sessions, api.Session{ID: 12, Access: "eth1/7"})
	b := apitest.New(p)
	c, _ := serve(t, b)
	limited := func(d time.Duration, r api.DebugRequest) api.DebugRequest {
		r.For = d
		return r
	}
	for _, x := range []struct {
		ask  api.DebugRequest
		want string
		code api.ErrorCode
	}{
		{ask: asked("tunnel=*"), want: "state and packet of all tunnels"},
		{ask: asked("tunnel=*", "session=*", "call=*", "peer=*", "user=*"), want: "state and packet of all tunnels, all sessions, all calls, all peers, all users"},
		{ask: asked("tunnel=20", "tunnel=10", "tunnel=20"), want: "state and packet of tunnel 20, tunnel 10"},
		{ask: asked("session=branch"), want: "state and packet of session 10/5"},
		{ask: asked("session=line/12"), want: "state and packet of line/12"},
		{ask: asked("call=BRANCH"), want: "state and packet of call Branch"},
		{ask: asked("peer=::ffff:203.0.113.9"), want: "state and packet of peer 203.0.113.9"},
		{ask: asked("user=nobody@example.net"), want: "state and packet of user nobody@example.net"},
		{ask: api.DebugRequest{State: true, Of: asked("peer=*").Of}, want: "state of all peers"},
		{ask: api.DebugRequest{Packet: true, Hex: true, Of: asked("peer=*").Of}, want: "packet of all peers"},
		{ask: limited(time.Hour, asked("tunnel=*")), want: "state and packet of all tunnels"},
		{ask: asked(), code: api.CodeInvalid},
		{ask: api.DebugRequest{Of: asked("tunnel=*").Of}, code: api.CodeInvalid},
		{ask: asked("tunnel=x"), code: api.CodeInvalid},
		{ask: asked("tunnel=21"), code: api.CodeNotFound},
		{ask: asked("session=alice"), code: api.CodeConflict},
		{ask: asked("session=line/13"), code: api.CodeNotFound},
		{ask: asked("call=nowhere"), code: api.CodeNotFound},
		{ask: asked("peer=203.0.113.2:1701"), code: api.CodeInvalid},
		{ask: asked("user="), code: api.CodeInvalid},
		{ask: limited(-time.Second, asked("tunnel=*")), code: api.CodeInvalid},
		{ask: limited(25*time.Hour, asked("tunnel=*")), code: api.CodeInvalid},
	} {
		before := len(b.Debugs())
		var kinds []api.DebugRecordKind
		err := api.FollowDebug(t.Context(), c, x.ask, func(r api.DebugRecord) error {
			kinds = append(kinds, r.Kind)
			return nil
		})
		if x.code != "" {
			refused(t, err, x.code)
			if len(b.Debugs()) != before {
				t.Errorf("%+v: debugged", x.ask)
			}
			continue
		}
		if err != nil || len(kinds) < 2 || kinds[0] != api.DebugBegins || kinds[len(kinds)-1] != api.DebugEnds {
			t.Errorf("%+v: %v, %v", x.ask, kinds, err)
			continue
		}
		got := b.Debugs()[before]
		limit := x.ask.For
		if limit == 0 {
			limit = api.DefaultDebugTime
		}
		if got.What() != x.want || got.For != limit || got.Hex != x.ask.Hex || !strings.HasPrefix(got.By, "uid=") {
			t.Errorf("%+v: asked for %s, %+v, want %s", x.ask, got.What(), got, x.want)
		}
	}
}

// heard is a backend that tells when a debug has ended.
type heard struct {
	*apitest.Backend
	ended chan error
}

func (b heard) Debug(ctx context.Context, d api.Debug, each func(api.DebugRecord) error) error {
	err := b.Backend.Debug(ctx, d, each)
	b.ended <- err
	return err
}

// A debug ends in good order when its context does, its last record and all, and at once when its reader goes; one in the background
// has said all with its first record.
func TestDebugEndsWithItsReader(t *testing.T) {
	t.Parallel()
	b := heard{apitest.New(picture()), make(chan error, 1)}
	c, _ := serve(t, b)
	b.Film()
	ctx, interrupt := context.WithCancel(t.Context())
	var last api.DebugRecord
	err := api.FollowDebug(ctx, c, asked("tunnel=*"), func(r api.DebugRecord) error {
		last = r
		interrupt()
		return nil
	})
	if err := errors.Join(err, <-b.ended); err != nil || last.Kind != api.DebugEnds || !strings.Contains(last.Message, "its reader has ended it") {
		t.Errorf("asked to end: %+v, %v", last, err)
	}

	enough := errors.New("enough")
	if err := api.FollowDebug(t.Context(), c, asked("tunnel=*"), func(api.DebugRecord) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a reader that goes: %v", err)
	}
	t.Logf("its reader has gone: %v", <-b.ended)

	background := asked("tunnel=*")
	background.Background = true
	n := 0
	err = api.FollowDebug(t.Context(), c, background, func(r api.DebugRecord) error {
		if n++; r.Kind != api.DebugBegins {
			t.Errorf("in the background: %+v", r)
		}
		return nil
	})
	if err := errors.Join(err, <-b.ended); err != nil || n != 1 || !b.Debugs()[2].Background {
		t.Errorf("in the background: %d records, %v", n, err)
	}
}

// gone is a backend that goes in the middle of a debug.
type gone struct{ *apitest.Backend }

func (gone) Debug(_ context.Context, _ api.Debug, each func(api.DebugRecord) error) error {
	return errors.Join(each(api.DebugRecord{Kind: api.DebugBegins}), io.ErrClosedPipe)
}

// A stream that breaks off is no debug that has ended.
func TestDebugThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, gone{apitest.New(picture())})
	err := api.FollowDebug(t.Context(), c, asked("tunnel=*"), func(api.DebugRecord) error { return nil })
	if !api.StreamEnded(err) {
		t.Errorf("%v", err)
	}
}

// S54: one debug is stopped by its number, or all of them.
func TestDebugsAreListedAndStopped(t *testing.T) {
	t.Parallel()
	p := picture()
	p.Debugs = []api.Debugging{{ID: 3, What: "state of all tunnels"}, {ID: 4, What: "packet of user bob"}}
	b := apitest.New(p)
	c, _ := serve(t, b)
	snap, err := api.Debugs(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Debugs, snap.Debugs); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, ref := range []string{"", "0", "-1", "x", "1.5"} {
		_, err := c.Act(t.Context(), api.Request{Verb: api.VerbDebugStop, Ref: ref})
		refused(t, err, api.CodeInvalid)
	}
	_, err = c.Act(t.Context(), api.Request{Verb: api.VerbDebugStop, Ref: "5"})
	refused(t, err, api.CodeNotFound)
	for _, ref := range []string{"3", "all"} {
		if res, err := c.Act(t.Context(), api.Request{Verb: api.VerbDebugStop, Ref: ref}); err != nil || !res.Changed {
			t.Errorf("%s: %+v, %v", ref, res, err)
		}
	}
	if snap, err := api.Debugs(t.Context(), c); err != nil || len(snap.Debugs) != 0 {
		t.Errorf("left: %+v, %v", snap.Debugs, err)
	}
}
