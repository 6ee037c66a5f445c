package api

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// still is a backend that answers everything with nothing.
type still struct{}

func (still) Snapshot(context.Context, Query) (*Snapshot, error) {
	return &Snapshot{Status: &Status{}}, nil
}
func (still) Act(context.Context, Action) (*Result, error) { return &Result{}, nil }
func (still) Capture(_ context.Context, _ Capture, w io.Writer) error {
	_, err := w.Write([]byte("a file"))
	return err
}

func (still) Debug(_ context.Context, _ Debug, each func(DebugRecord) error) error {
	return each(DebugRecord{Kind: DebugEnds})
}

func TestWhoMayReadAndWhoMayAct(t *testing.T) {
	t.Parallel()
	const group, own = 900, 700
	for _, tc := range []struct {
		name string
		who  credentials
		grp  int
		want access
	}{
		{"root", credentials{uid: 0, gid: 5}, group, accessAct},
		{"the daemon's own user", credentials{uid: own, gid: 5}, group, accessAct},
		{"primary group", credentials{uid: 1000, gid: group}, group, accessRead},
		{"supplementary group", credentials{uid: 1000, gid: 100, groups: []uint32{4, group}}, group, accessRead},
		{"somebody", credentials{uid: 1000, gid: 100, groups: []uint32{4, 27}}, group, accessNone},
		{"somebody, no group", credentials{uid: 1000, gid: 100}, -1, accessNone},
		{"root, no group", credentials{uid: 0}, -1, accessAct},
	} {
		if got := tc.who.access(own, tc.grp); got != tc.want {
			t.Errorf("%s: access %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, configured string
		group            int
		who              credentials
		err              error
		read, act        ErrorCode
		readHas, actHint string
	}{
		{name: "member", configured: "l2tpd", group: 900, who: credentials{uid: 1000, gid: 900}, act: CodeForbidden, actHint: "sudo l2tpctl"},
		{
			name: "stranger", configured: "l2tpd", group: 900, who: credentials{uid: 1000, gid: 100}, read: CodeForbidden, act: CodeForbidden,
			readHas: "usermod -aG l2tpd", actHint: "usermod -aG l2tpd",
		},
		{
			name: "stranger, no such group", configured: "l2tpd", group: -1, who: credentials{uid: 1000, gid: 100}, read: CodeForbidden, act: CodeForbidden,
			readHas: "there is no group l2tpd", actHint: "as root",
		},
		{
			name: "stranger, no group configured", group: -1, who: credentials{uid: 1000, gid: 100}, read: CodeForbidden, act: CodeForbidden,
			readHas: "api.group", actHint: "as root",
		},
		{name: "kernel does not say", group: 900, err: errors.New("no credentials"), read: CodeInternal, act: CodeInternal},
		{name: "root", group: 900},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := Listen(ServerConfig{
				Path: filepath.Join(t.TempDir(), "sock"), Backend: still{}, Group: tc.configured,
				peer: func(*net.UnixConn) (credentials, error) { return tc.who, tc.err },
			})
			if err != nil {
				t.Fatal(err)
			}
			s.group, s.own = tc.group, 12345
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			c := NewClient(ClientConfig{Path: s.cfg.Path, Wait: -1})
			_, err = c.Status(t.Context())
			check(t, "read", err, tc.read, tc.readHas)
			_, err = c.Act(t.Context(), Request{Verb: VerbReload})
			check(t, "act", err, tc.act, tc.actHint)
			stream, err := c.Capture(t.Context(), CaptureRequest{All: true})
			check(t, "capture", err, tc.act, tc.actHint)
			if err == nil {
				stream.Close()
			}
			debug := DebugRequest{State: true, Of: map[DebugSort][]string{DebugPeer: {DebugAll}}}
			check(t, "debug", FollowDebug(t.Context(), c, debug, func(DebugRecord) error { return nil }), tc.act, tc.actHint)
			_, err = Debugs(t.Context(), c)
			check(t, "list of debugs", err, tc.read, tc.readHas)
		})
	}
}

func check(t *testing.T, what string, err error, code ErrorCode, hint string) {
	t.Helper()
	no, ok := errors.AsType[*Error](err)
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v, want it allowed", what, err)
	case code != "" && (!ok || no.Code != code || !strings.Contains(no.Hint, hint)):
		t.Errorf("%s: %+v (%v), want code %s and a hint with %q", what, no, err, code, hint)
	}
}

// The kernel's own answer, on a real connection: our process, with the groups that it really has.
func TestPeerCredentialsAreTheKernels(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := peerCredentials(conn)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if int(got.uid) != os.Getuid() || int(got.gid) != os.Getgid() || int(got.pid) != os.Getpid() || len(got.groups) != len(groups) {
		t.Errorf("credentials %+v, want uid %d gid %d pid %d groups %v", got, os.Getuid(), os.Getgid(), os.Getpid(), groups)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "sock")})
	if err != nil {
		t.Fatal(err)
	}
	b := newBoundedListener(l)
	var conns []net.Conn
	for range maxConns {
		client, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	select {
	case b.slots <- struct{}{}:
		t.Fatal("there is a free slot after the last")
	default:
	}
	conns[0].Close()
	conns[0].Close()
	if n := len(b.slots); n != maxConns-1 {
		t.Errorf("%d slots taken after one connection was closed twice, want %d", n, maxConns-1)
	}
	b.slots <- struct{}{}
	ended := make(chan error, 1)
	go func() {
		_, err := b.Accept()
		ended <- err
	}()
	b.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept while full ended with %v when the listener closed", err)
	}
	for _, c := range conns {
		c.Close()
	}
}
