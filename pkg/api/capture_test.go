package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
	"github.com/l2tpd/l2tpd/pkg/capture/capturetest"
)

// What is asked for is resolved as for other verbs, and its limits are checked.
func TestCapturesAreResolved(t *testing.T) {
	t.Parallel()
	p := picture()
	p.Sessions = append(p.Sessions, api.Session{ID: 12, Access: "eth1/7"})
	b := apitest.New(p)
	c, _ := serve(t, b)
	for _, x := range []struct {
		ask  api.CaptureRequest
		want string
		code api.ErrorCode
	}{
		{ask: api.CaptureRequest{All: true}, want: "everything"},
		{ask: api.CaptureRequest{Peer: "203.0.113.2"}, want: "peer 203.0.113.2"},
		{ask: api.CaptureRequest{Peer: "::ffff:203.0.113.2"}, want: "peer 203.0.113.2"},
		{ask: api.CaptureRequest{Peer: "fe80::1%eth0"}, want: "peer fe80::1"},
		{ask: api.CaptureRequest{Tunnel: "20"}, want: "tunnel 20"},
		{ask: api.CaptureRequest{Session: "branch"}, want: "session 10/5"},
		{ask: api.CaptureRequest{Session: "line/12"}, want: "line/12"},
		{ask: api.CaptureRequest{Line: "12", For: time.Second, Size: 4096}, want: "line/12"},
		{ask: api.CaptureRequest{}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{All: true, Tunnel: "20"}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{Peer: "203.0.113.2:1701"}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{Tunnel: "0"}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{Tunnel: "21"}, code: api.CodeNotFound},
		{ask: api.CaptureRequest{Session: "alice"}, code: api.CodeConflict},
		{ask: api.CaptureRequest{Line: "13"}, code: api.CodeNotFound},
		{ask: api.CaptureRequest{All: true, For: -time.Second}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{All: true, For: 25 * time.Hour}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{All: true, Size: 100}, code: api.CodeInvalid},
		{ask: api.CaptureRequest{All: true, Size: 1 << 40}, code: api.CodeInvalid},
	} {
		before := len(b.Captures())
		stream, err := c.Capture(t.Context(), x.ask)
		if x.code != "" {
			refused(t, err, x.code)
			if len(b.Captures()) != before {
				t.Errorf("%+v: captured", x.ask)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", x.ask, err)
			continue
		}
		file, err := io.ReadAll(stream)
		if err := errors.Join(err, stream.Close()); err != nil {
			t.Errorf("%+v: %v", x.ask, err)
		}
		if f, err := capturetest.Read(file); err != nil || !f.Ended || f.Comment != x.want {
			t.Errorf("%+v: file %+v, %v, want %s", x.ask, f, err, x.want)
		}
		got := b.Captures()[before]
		if x.ask.For == 0 && (got.For != api.DefaultCaptureTime || got.Size != api.DefaultCaptureSize) || x.ask.For != 0 && (got.For != x.ask.For || got.Size != x.ask.Size) {
			t.Errorf("%+v: %+v", x.ask, got)
		}
	}
}

// A refusal of the backend is told as such, and the client tries again while the daemon starts.
func TestCaptureIsRefused(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serve(t, b)
	want := api.Error{Code: api.CodeConflict, Message: "4 captures are under way already", Hint: "see the log"}
	b.Fail(&want)
	_, err := c.Capture(t.Context(), api.CaptureRequest{All: true})
	if d := cmp.Diff(want, refused(t, err, api.CodeConflict), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	nobody := api.NewClient(api.ClientConfig{Path: t.TempDir() + "/none", Wait: -1})
	_, err = nobody.Capture(t.Context(), api.CaptureRequest{All: true})
	if _, ok := errors.AsType[*api.UnreachableError](err); !ok {
		t.Errorf("no daemon: %v", err)
	}
}

// told is a backend that tells when a capture has ended.
type told struct {
	*apitest.Backend
	ended chan error
}

func (b told) Capture(ctx context.Context, c api.Capture, w io.Writer) error {
	err := b.Backend.Capture(ctx, c, w)
	b.ended <- err
	return err
}

// A capture ends in good order when its context does, and at once when the connection is closed, whoever the client is.
func TestCaptureEndsWithItsReader(t *testing.T) {
	t.Parallel()
	b := told{apitest.New(picture()), make(chan error, 1)}
	b.Film()
	c, path := serve(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.Capture(ctx, api.CaptureRequest{All: true})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	file, err := io.ReadAll(stream)
	if f, bad := capturetest.Read(file); errors.Join(err, bad, stream.Close()) != nil || !f.Ended {
		t.Errorf("asked to end: %v, %v, ended %t", err, bad, f.Ended)
	}
	if err := <-b.ended; err != nil {
		t.Errorf("asked to end: %v", err)
	}

	if stream, err = c.Capture(t.Context(), api.CaptureRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("its reader has gone: %v", <-b.ended)

	curl := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	resp, err := curl.Post("http://l2tpd/v1/capture?all=true", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, head); err != nil || string(head) != "\n\r\r\n" {
		t.Errorf("without a body: %q, %v", head, err)
	}
	resp.Body.Close()
	t.Logf("its reader has gone: %v", <-b.ended)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-pcapng") {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}
