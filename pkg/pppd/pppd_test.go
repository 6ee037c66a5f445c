package pppd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestAPppdComesUpAndIsStopped(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{},
		"say Using interface ppp7",
		"report ip-up ppp7 192.0.2.1 192.0.2.2 - - 198.51.100.1 198.51.100.1 alice",
		"report ipv6-up ppp7 192.0.2.1 192.0.2.2 fe80::1 fe80::2 198.51.100.1 198.51.100.1 zoM-CM-+",
		"report ipv6-down ppp7 192.0.2.1 192.0.2.2 fe80::1 fe80::2 - - alice",
		"report auth-up nonsense", "report ip-up too short", "report what ppp7 - - - - - - x",
		"wait", "report ip-down ppp7 192.0.2.1 192.0.2.2 - - - - alice", "exit 5")
	w := start(t, s, login(t))
	want := []Event{
		EvNetworkUp{"ppp7", "alice", ppp.EvNetworkUp{
			Proto: ppp.ProtoIPv4, Local: ip("192.0.2.1"), Peer: ip("192.0.2.2"), DNS: []netip.Addr{ip("198.51.100.1")},
		}},
		EvNetworkUp{"ppp7", "zoë", ppp.EvNetworkUp{Proto: ppp.ProtoIPv6, Local: ip("fe80::1"), Peer: ip("fe80::2")}},
		EvNetworkDown{ppp.EvNetworkDown{Proto: ppp.ProtoIPv6}},
	}
	for _, want := range want {
		if diff := cmp.Diff(want, w.next(), compareAddrs); diff != "" {
			t.Error(diff)
		}
	}
	w.stop()
	if diff := cmp.Diff(Event(EvNetworkDown{ppp.EvNetworkDown{Proto: ppp.ProtoIPv4}}), w.next()); diff != "" {
		t.Error(diff)
	}
	w.ends("up: closed here")
	w.stop() // of one that has ended
}

func TestWhatAPppdFinds(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "show", "exit 0")
	w := start(t, s, login(t))
	w.ends("LCP: no agreement on LCP options: descriptors 0:20000 1:10000 2:10000 3:20000 4:10000")
	dir := filepath.Dir(strings.Fields(w.lines[0])[6])
	if filepath.Dir(dir) != s.cfg.Dir {
		t.Errorf("the options are in %s, not below %s", dir, s.cfg.Dir)
	}
	for i, line := range w.lines {
		w.lines[i] = strings.ReplaceAll(line, dir, "DIR")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"arguments " + self + " nodetach ipparam 12/345 file DIR/options",
		"environment LC_ALL=C", "environment PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"file chap-secrets -rw-------", "file options -rw-------", "file pap-secrets -rw-------", "file . drwx------",
		"descriptors 0:20000 1:10000 2:10000 3:20000 4:10000",
	}
	slices.Sort(w.lines[1:3])
	if diff := cmp.Diff(want, w.lines); diff != "" {
		t.Error(diff)
	}
}

func TestAPppdThatDoesNotHearIsKilled(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"when its time is over": {Grace: 50 * time.Millisecond}, "when the caller's is": {Grace: late}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, fake(t, cfg, "say ready", "deaf"), login(t))
			w.said("ready")
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := w.Stop(ctx); err != nil {
				t.Error(err)
			}
			w.ends("address: closed here")
			if err := unix.Kill(w.PID(), 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("the process is still there, perhaps as a zombie: %v", err)
			}
		})
	}
}

func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "say ready", "wait", "exit 5")
	var all []*watched
	for range 5 {
		all = append(all, start(t, s, login(t)))
	}
	for _, w := range all {
		w.said("ready")
	}
	ctx, cancel := context.WithTimeout(t.Context(), late)
	defer cancel()
	for range 2 {
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, w := range all {
		w.ends("address: closed here")
	}
	if _, err := s.Start(login(t), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("start after Close: %v", err)
	}
	if err := s.Check(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("check after Close: %v", err)
	}
}

// Whoever starts and stops many at a time leaves neither a descriptor nor a process.
func TestNothingIsLeftAfterMany(t *testing.T) {
	s := fake(t, Config{}, "report ip-up ppp7 192.0.2.1 192.0.2.2 - - - - alice", "wait", "exit 5")
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			w := start(t, s, login(t))
			if i%2 == 0 {
				w.next()
			}
			w.stop()
		})
	}
	all.Wait()
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("descriptors: %s", diff)
	}
	threads, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, file := range threads {
		if children, err := os.ReadFile(file); err == nil && len(children) != 0 {
			t.Errorf("%s: %s", file, children)
		}
	}
}

// descriptors lists what the process has open, but for what other tests of the package have: their names are not alike.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil {
			open = append(open, fmt.Sprintf("%s -> %s", e.Name(), to))
		}
	}
	return open
}

func TestALogFloodIsPassedOn(t *testing.T) {
	t.Parallel()
	w := start(t, fake(t, Config{}, "flood", "exit 12"), login(t))
	w.ends("up: idle timeout")
	if len(w.lines) != 20000 || w.lines[19999] != "line 19999" {
		t.Errorf("%d lines came", len(w.lines))
	}
}

// A past trap: what a pppd leaves behind holds its log open, and with it the end of the session.
func TestWhatAPppdLeavesBehindDoesNotKeepItUp(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "orphan", "exit 15")
	s.straggle = 2 * time.Second
	w := start(t, s, login(t))
	w.ends("address: LCP echo unanswered")
	if len(w.lines) == 0 {
		t.Fatal("no orphan")
	}
	pid, err := strconv.Atoi(strings.Fields(w.lines[0])[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestPasswordsAreMasked(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{},
		"say In file x: unrecognized option wonderland", `say rcvd [PAP AuthReq id=0x1 user="bob" password="a \" b"] more`,
		"say sent [PAP AuthReq user=x password=hush]", "say caf\xc3\xa9-noir and cafM-CM-)-noir", "say \x1b[31m bell\x07 \xff",
		"say Can't open PAP password file /etc/ppp/pap-secrets: No such file or directory", "exit 2")
	w := start(t, s, login(t))
	w.ends("LCP: pppd failed (exit code 2): Can't open PAP password file /etc/ppp/pap-secrets: No such file or directory")
	want := []string{
		"In file x: unrecognized option ***", `rcvd [PAP AuthReq id=0x1 user="bob" password=***] more`,
		"sent [PAP AuthReq user=x password=***", "*** and ***", "?[31m bell? ?",
		"Can't open PAP password file /etc/ppp/pap-secrets: No such file or directory",
	}
	if diff := cmp.Diff(want, w.lines); diff != "" {
		t.Error(diff)
	}
}

func TestThereAreNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{Limit: 2}, "wait", "exit 5")
	first := start(t, s, login(t))
	start(t, s, login(t))
	if _, err := s.Start(login(t), nil); !errors.Is(err, ErrLimit) {
		t.Errorf("the third: %v", err)
	}
	first.stop()
	start(t, s, login(t))
}

// Who hears of the end may start another at once, though there are as many as there may be.
func TestThePlaceIsFreeWhenTheEndIsTold(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{Limit: 1}, "exit 0")
	next, started := login(t), make(chan error, 1)
	_, err := s.Start(login(t), func(ev Event) {
		if _, ok := ev.(EvDown); ok {
			_, err := s.Start(next, func(Event) {})
			started <- err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-started:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(late):
		t.Error("waited in vain for the end")
	}
}

// A socket is closed whatever comes of a start; pppd has a copy.
func TestStartTakesTheSocket(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "wait", "exit 5")
	good, bad := login(t), login(t)
	bad.MTU = 1
	start(t, s, good)
	if _, err := s.Start(bad, nil); err == nil {
		t.Error("a bad spec is taken")
	}
	for _, spec := range []Spec{good, bad} {
		if err := spec.Socket.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the socket was open: %v", err)
		}
	}
}

func TestInterfaceNamesFromAPattern(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "wait", "exit 5")
	name := func(pattern string) string {
		t.Helper()
		got, _, err := s.name(pattern)
		if err != nil {
			return err.Error()
		}
		return got
	}
	for _, c := range [][2]string{
		{"test-ppp%d", "test-ppp0"},
		{"test-ppp%d", "test-ppp1"},
		{"test-ppp0", "interface test-ppp0: file already exists"},
		{"lo", "interface lo: file already exists"},
		{"test-branch", "test-branch"},
		{"test-branch", "interface test-branch: file already exists"},
		{"", ""},
		{"a-name-of-fift%d", "a-name-of-fift0"},
	} {
		if got := name(c[0]); got != c[1] {
			t.Errorf("%q: %s, want %s", c[0], got, c[1])
		}
	}
	for i := range 9 {
		s.names[fmt.Sprintf("a-name-of-fift%d", i+1)] = true
	}
	if got := name("a-name-of-fift%d"); got != "interface a-name-of-fift%d: no number is free: file already exists" {
		t.Error(got)
	}
}

// The name that a pppd has is free again when it has ended.
func TestInterfaceNamesAreGivenBack(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{}, "wait", "exit 5")
	spec := login(t)
	spec.Interface = "test-back"
	w := start(t, s, spec)
	spec.Socket = socket(t)
	if _, err := s.Start(spec, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same name: %v", err)
	}
	w.stop()
	spec.Socket = socket(t)
	start(t, s, spec)
}

func TestAMachineWithoutPppd(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{})
	if err := os.Remove(s.cfg.Path); err != nil {
		t.Fatal(err)
	}
	var why *UnavailableError
	_, err := s.Start(login(t), nil)
	if !errors.As(err, &why) || why.Advice != "apt-get install ppp" {
		t.Errorf("error %v", err)
	}
	if want := "start pppd for session 12/345: there is no " + s.cfg.Path + ": apt-get install ppp"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if err := os.Mkdir(s.cfg.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); !errors.As(err, &why) || why.What != s.cfg.Path+" is no program" {
		t.Errorf("a directory: %v", err)
	}
}

// What a killed daemon has left is removed, and nothing else.
func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	s := fake(t, Config{})
	old, others := filepath.Join(s.cfg.Dir, sessionPrefix+"1"), filepath.Join(s.cfg.Dir, "others")
	for _, dir := range []string{old, others} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", old, err)
	}
	if info, err := os.Stat(s.cfg.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", s.cfg.Dir, info.Mode(), err)
	}
	if err := os.Remove(others); err != nil {
		t.Error(err)
	}
}

func TestTheCoverIsFilledForEverySession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // a daemon that starts again finds what the first has made
		if err := fill(dir); err != nil {
			t.Fatal(err)
		}
	}
	if is, err := covered(dir); is || err != nil {
		t.Errorf("%s is no tmpfs of its own: %v, %v", dir, is, err)
	}
	for _, name := range []string{"pap-secrets", "chap-secrets"} {
		if to, err := os.Readlink(filepath.Join(dir, name)); err != nil || to != "/proc/self/cwd/"+name {
			t.Errorf("%s -> %s, %v", name, to, err)
		}
	}
	for _, name := range []string{"ip-up", "ip-down", "ipv6-up", "ipv6-down"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o700 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := covered(filepath.Join(dir, "absent"))
	var why *UnavailableError
	if !errors.As(err, &why) {
		t.Errorf("without /etc/ppp: %v", err)
	}
}
