package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// picture is a daemon with two tunnels. Session id 5 exists in both; user "7" has a number for a name.
func picture() api.Snapshot {
	return api.Snapshot{
		TakenAt: time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC),
		Status:  &api.Status{Version: "test", State: api.StateRunning},
		Tunnels: []api.Tunnel{{ID: 10}, {ID: 20}, {ID: 300}},
		Sessions: []api.Session{
			{TunnelID: 10, ID: 5, Call: "Branch", Data: &api.DataTraffic{InPackets: 1}},
			{TunnelID: 10, ID: 6, User: "bob@example.net"},
			{TunnelID: 20, ID: 5, User: "alice"},
			{TunnelID: 20, ID: 8, User: "alice"},
			{TunnelID: 20, ID: 9, User: "7"},
		},
		Calls: []api.Call{{Name: "Branch", State: api.CallUp}, {Name: "backup", State: api.CallIdle}, {Name: "road", State: api.CallPassive}},
	}
}

// serve starts a server for b and returns a client of it.
func serve(t *testing.T, b api.Backend) (*api.Client, string) {
	t.Helper()
	return serveWith(t, api.ServerConfig{Backend: b})
}

func serveWith(t *testing.T, cfg api.ServerConfig) (*api.Client, string) {
	t.Helper()
	cfg.Path = filepath.Join(t.TempDir(), "sub", "l2tpd.sock")
	s, err := api.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if _, err := os.Lstat(cfg.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return api.NewClient(api.ClientConfig{Path: cfg.Path, Wait: -1}), cfg.Path
}

// refused returns err as an answer that says no, with code.
func refused(t *testing.T, err error, code api.ErrorCode) api.Error {
	t.Helper()
	no, ok := errors.AsType[*api.Error](err)
	if !ok || no.Code != code {
		t.Fatalf("error %v, want one of code %s", err, code)
	}
	return *no
}

func TestReadsReturnTheBackendsPicture(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serve(t, b)
	ctx := t.Context()
	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := api.Snapshot{APIVersion: "v1", TakenAt: picture().TakenAt, Status: picture().Status}
	if d := cmp.Diff(want.Status, status.Status); d != "" || status.APIVersion != "v1" || !status.TakenAt.Equal(want.TakenAt) {
		t.Errorf("status (-want +got):\n%s", d)
	}
	tunnels, err := c.Tunnels(ctx, "20")
	if err != nil {
		t.Fatal(err)
	}
	if len(tunnels.Tunnels) != 1 || tunnels.Tunnels[0].ID != 20 || len(tunnels.Sessions) != 3 || tunnels.Calls != nil {
		t.Errorf("tunnel 20 with its sessions: got %+v", tunnels)
	}
	sessions, err := c.Sessions(ctx, "10", "")
	if err != nil || len(sessions.Sessions) != 2 {
		t.Errorf("sessions of tunnel 10: %+v, %v", sessions, err)
	}
	calls, err := c.Calls(ctx, "")
	if err != nil || len(calls.Calls) != 3 {
		t.Errorf("calls: %+v, %v", calls, err)
	}
}

func TestKernelCountersAreReadForOneSessionNotForLists(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serve(t, b)
	list, err := c.Sessions(t.Context(), "", "")
	if err != nil || len(list.Sessions) != 5 {
		t.Fatalf("sessions: %+v, %v", list, err)
	}
	for _, q := range b.Queries() {
		if q.Stats {
			t.Error("a list asked for kernel counters")
		}
	}
	one, err := c.Sessions(t.Context(), "", "10/5")
	if err != nil || len(one.Sessions) != 1 || one.Sessions[0].Data == nil {
		t.Errorf("session 10/5: %+v, %v, want its kernel counters", one, err)
	}
}

func TestSessionReferences(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, apitest.New(picture()))
	for ref, want := range map[string]string{
		"10/5": "10/5", "6": "10/6", "branch": "10/5", "bob@example.net": "10/6", "7": "20/9",
	} {
		got, err := c.Sessions(t.Context(), "", ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if s := got.Sessions[0]; len(got.Sessions) != 1 || fmt.Sprintf("%d/%d", s.TunnelID, s.ID) != want {
			t.Errorf("%s: got %+v, want session %s", ref, got.Sessions, want)
		}
	}
	for ref, want := range map[string]api.Error{
		"5":      {Code: api.CodeConflict, Message: `"5" names 2 sessions`, Nearest: []string{"10/5", "20/5"}, Hint: "name one as TUNNEL/SESSION, for example 10/5"},
		"alice":  {Code: api.CodeConflict, Message: `"alice" names 2 sessions`, Nearest: []string{"20/5", "20/8"}, Hint: "name one as TUNNEL/SESSION, for example 20/5"},
		"10/9":   {Code: api.CodeNotFound, Message: "no session 10/9", Nearest: []string{"20/9", "20/8", "10/6", "10/5", "20/5"}, Hint: "see l2tpctl session list"},
		"brunch": {Code: api.CodeNotFound, Message: `no session of a call or user "brunch"`, Nearest: []string{"Branch"}, Hint: "see l2tpctl session list"},
		"0/5":    {Code: api.CodeInvalid, Message: `"0" is no tunnel id`, Hint: "an id is a number from 1 to 65535, as the list shows it"},
		"70000":  {Code: api.CodeInvalid, Message: `"70000" is no session id`, Hint: "an id is a number from 1 to 65535, as the list shows it"},
	} {
		_, err := c.Sessions(t.Context(), "", ref)
		if d := cmp.Diff(want, refused(t, err, want.Code)); d != "" {
			t.Errorf("%s (-want +got):\n%s", ref, d)
		}
	}
}

func TestUnknownIDsNameTheNearest(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, apitest.New(picture()))
	_, err := c.Tunnels(t.Context(), "19")
	if d := cmp.Diff([]string{"20", "10", "300"}, refused(t, err, api.CodeNotFound).Nearest); d != "" {
		t.Errorf("nearest tunnels (-want +got):\n%s", d)
	}
	_, err = c.Calls(t.Context(), "back")
	if d := cmp.Diff([]string{"backup"}, refused(t, err, api.CodeNotFound).Nearest); d != "" {
		t.Errorf("nearest calls (-want +got):\n%s", d)
	}
	_, err = c.Tunnels(t.Context(), "lns1")
	if no := refused(t, err, api.CodeInvalid); no.Hint == "" {
		t.Errorf("what an id looks like is not told: %+v", no)
	}
}

// S27: names of calls are compared without case; S77: a call goes down by its name or by its session.
func TestActionsReachTheBackendResolved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		req  api.Request
		want api.Action
	}{
		{api.Request{Verb: api.VerbTunnelClose, Ref: "10"}, api.Action{Verb: api.VerbTunnelClose, Tunnel: 10}},
		{api.Request{Verb: api.VerbSessionClose, Ref: "bob@example.net"}, api.Action{Verb: api.VerbSessionClose, Tunnel: 10, Session: 6}},
		{api.Request{Verb: api.VerbCallUp, Ref: "BACKUP"}, api.Action{Verb: api.VerbCallUp, Call: "backup"}},
		{api.Request{Verb: api.VerbCallDown, Ref: "branch"}, api.Action{Verb: api.VerbCallDown, Call: "Branch"}},
		{api.Request{Verb: api.VerbCallDown, Ref: "10/5"}, api.Action{Verb: api.VerbCallDown, Call: "Branch"}},
		{api.Request{Verb: api.VerbReload}, api.Action{Verb: api.VerbReload}},
	} {
		b := apitest.New(picture())
		c, _ := serve(t, b)
		res, err := c.Act(t.Context(), tc.req)
		if err != nil || res.APIVersion != "v1" || res.Message == "" {
			t.Errorf("%+v: %+v, %v", tc.req, res, err)
			continue
		}
		tc.want.By = fmt.Sprintf("uid=%d pid=%d", os.Getuid(), os.Getpid())
		if d := cmp.Diff([]api.Action{tc.want}, b.Actions()); d != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.req, d)
		}
	}
}

func TestActionsThatMakeNoSenseNeverReachTheBackend(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serve(t, b)
	for _, tc := range []struct {
		req  api.Request
		code api.ErrorCode
	}{
		{api.Request{Verb: "format-disk"}, api.CodeInvalid},
		{api.Request{Verb: api.VerbTunnelClose, Ref: "11"}, api.CodeNotFound},
		{api.Request{Verb: api.VerbCallDown, Ref: "10/6"}, api.CodeConflict},
		{api.Request{Verb: api.VerbCallUp, Ref: "10/5"}, api.CodeNotFound},
		{api.Request{Verb: api.VerbCallUp}, api.CodeNotFound},
	} {
		_, err := c.Act(t.Context(), tc.req)
		refused(t, err, tc.code)
	}
	if got := b.Actions(); len(got) != 0 {
		t.Errorf("the backend was asked to %+v", got)
	}
	_, err := c.Act(t.Context(), api.Request{Verb: api.VerbCallUp, Ref: "road"})
	if no := refused(t, err, api.CodeConflict); no.Hint == "" {
		t.Errorf("the backend's own refusal lost its hint: %+v", no)
	}
}

func TestBackendErrorsAreTold(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serveWith(t, api.ServerConfig{Backend: b, Timeout: 20 * time.Millisecond})
	b.Fail(errors.New("shard 3: inbox closed"))
	_, err := c.Status(t.Context())
	if no := refused(t, err, api.CodeInternal); no.Message != "shard 3: inbox closed" {
		t.Errorf("message %q", no.Message)
	}
	b.Fail(nil)
	b.Hang()
	_, err = c.Status(t.Context())
	if no := refused(t, err, api.CodeUnavailable); !strings.Contains(no.Message, "20ms") || no.Hint == "" {
		t.Errorf("a hanging backend: %+v", no)
	}
}

// CodeUnavailable invites to ask again, which an action that may have been done must not.
func TestAnActionThatTimesOutIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	b.Hang()
	_, path := serveWith(t, api.ServerConfig{Backend: b, Timeout: time.Millisecond})
	c := api.NewClient(api.ClientConfig{Path: path, Wait: time.Minute, Waiting: func() { t.Error("the client asks again") }})
	_, err := c.Act(t.Context(), api.Request{Verb: api.VerbReload})
	refused(t, err, api.CodeInternal)
}

// raw sends one request and returns the answer.
func raw(t *testing.T, path, method, target, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestRequestsAreStrictAndBounded(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	_, path := serve(t, b)
	for _, tc := range []struct {
		name, method, target, body string
		code                       int
	}{
		{"another version", "GET", "/v2/status", "", 400},
		{"unknown path", "GET", "/v1/secrets", "", 400},
		{"wrong method", "POST", "/v1/status", "", 400},
		{"no JSON", "POST", "/v1/actions", "reload", 400},
		{"unknown field", "POST", "/v1/actions", `{"verb":"reload","force":true}`, 400},
		{"a body without end", "POST", "/v1/actions", `{"verb":"` + strings.Repeat("x", 1<<17) + `"}`, 400},
	} {
		code, answer := raw(t, path, tc.method, tc.target, tc.body)
		var no api.Error
		if err := json.Unmarshal([]byte(answer), &no); err != nil || code != tc.code || no.Code != api.CodeInvalid {
			t.Errorf("%s: %d %s", tc.name, code, answer)
		}
	}
	if len(b.Actions()) != 0 {
		t.Error("something was done")
	}
}

func TestEmptyListsAreListsInJSON(t *testing.T) {
	t.Parallel()
	_, path := serve(t, apitest.New(api.Snapshot{}))
	_, answer := raw(t, path, "GET", "/v1/tunnels", "")
	if want := `{"apiVersion":"v1","taken_at":"0001-01-01T00:00:00Z","tunnels":[]}` + "\n"; answer != want {
		t.Errorf("got %s want %s", answer, want)
	}
}

func TestAnotherLiveDaemonIsDetected(t *testing.T) {
	t.Parallel()
	_, path := serve(t, apitest.New(picture()))
	_, err := api.Listen(api.ServerConfig{Path: path, Backend: apitest.New(picture())})
	if !errors.Is(err, api.ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("listen beside a live daemon: %v", err)
	}
	if code, _ := raw(t, path, "GET", "/v1/status", ""); code != 200 {
		t.Errorf("the live daemon answers %d after the attempt", code)
	}
}

func TestAForeignListenerIsNotRobbedOfItsSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := api.Listen(api.ServerConfig{Path: path}); !errors.Is(err, api.ErrRunning) {
		t.Errorf("listen on a socket that answers: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := api.Listen(api.ServerConfig{Path: path, Backend: apitest.New(picture()), Group: "no-such-group-here"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("without its group the socket has mode %v (%v), want 0600", info.Mode(), err)
	}
}

func TestAFileInThePlaceOfTheSocketStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(api.ServerConfig{Path: path}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("listen over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestTheSocketBelongsToTheGroup(t *testing.T) {
	t.Parallel()
	group, err := exec.Command("id", "-gn").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sock")
	s, err := api.Listen(api.ServerConfig{Path: path, Group: strings.TrimSpace(string(group))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v (%v), want 0660", info.Mode(), err)
	}
}

func TestClientWaitsForADaemonThatStarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	waiting := make(chan struct{})
	c := api.NewClient(api.ClientConfig{Path: path, Wait: time.Minute, Waiting: func() { close(waiting) }})
	type answer struct {
		snap *api.Snapshot
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		snap, err := c.Status(context.Background())
		got <- answer{snap, err}
	}()
	<-waiting
	b := apitest.New(picture())
	s, err := api.Listen(api.ServerConfig{Path: path, Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	if a := <-got; a.err != nil || a.snap.Status.State != api.StateRunning {
		t.Errorf("status of the daemon that came: %+v, %v", a.snap, a.err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestClientWaitsWhileTheDaemonIsUnavailable(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	b.Fail(api.Errorf(api.CodeUnavailable, "l2tpd is starting"))
	_, path := serve(t, b)
	c := api.NewClient(api.ClientConfig{Path: path, Wait: time.Minute, Waiting: func() { b.Fail(nil) }})
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("status after the start: %v", err)
	}
}

func TestClientSaysThatNoDaemonAnswers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	_, err := api.NewClient(api.ClientConfig{Path: path, Wait: time.Millisecond}).Status(t.Context())
	no, ok := errors.AsType[*api.UnreachableError](err)
	if !ok || no.Path != path || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want an UnreachableError of %s", err, path)
	}
}

// A connection that breaks after the request left may have been acted on: asking again could do it twice.
func TestClientDoesNotRepeatARequestThatReachedTheDaemon(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan int)
	go func() {
		n := 0
		for {
			conn, err := l.Accept()
			if err != nil {
				accepted <- n
				return
			}
			n++
			conn.Close()
		}
	}()
	_, err = api.NewClient(api.ClientConfig{Path: path, Wait: time.Minute}).Act(t.Context(), api.Request{Verb: api.VerbReload})
	if _, ok := errors.AsType[*api.UnreachableError](err); err == nil || ok {
		t.Errorf("error %v, want one that is not retried", err)
	}
	l.Close()
	if n := <-accepted; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
