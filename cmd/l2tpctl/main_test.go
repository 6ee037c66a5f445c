package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is when every picture was taken.
var now = time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// daemon is the picture behind the goldens: a LAN-to-LAN call that is up, a user that called in, and calls that are not up.
func daemon() api.Snapshot {
	peer, lac := netip.MustParseAddrPort("203.0.113.2:1701"), netip.MustParseAddrPort("[2001:db8:17::1]:1701")
	return api.Snapshot{
		TakenAt: now,
		Status: &api.Status{
			Version: "v0.1.0", State: api.StateRunning, StartedAt: ago(76 * time.Hour), PID: 812,
			ConfigFile: "/etc/l2tpd/l2tpd.yaml", ConfigLoaded: ago(3*time.Hour + 12*time.Minute),
			Mode: "both", HostName: "edge1",
			Listen:       []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1701"), netip.MustParseAddrPort("[::]:1701")},
			ChecksumData: true, AllowFrom: []string{"203.0.113.0/24", "2001:db8:17::/48"},
			Secrets: []api.SecretRange{
				{From: "203.0.113.0/24", Secret: api.SecretSet}, {From: "any", HostName: "lac1", Secret: api.SecretSet}, {From: "any", Secret: api.SecretNone},
			},
			Kernel:   api.Kernel{Release: "6.1.0-30-amd64", Advice: "older than 6.1.190: queued frames may be late after a restart"},
			Problems: []string{"call backup: no tunnel secret is set"},
			LNS: []api.LNS{
				{Address: netip.MustParseAddrPort("192.0.2.1:1701"), LockedUntil: now.Add(42 * time.Second)}, {Address: peer, Sessions: 1},
			},
			Access: []api.Access{
				{Name: "eth1.7", Sessions: 312, PPPoE: &api.Discovery{
					In:  api.DiscoveryTraffic{PADI: 40960, PADR: 331, PADT: 12},
					Out: api.DiscoveryTraffic{PADO: 20480, PADS: 330, PADT: 6}, Offered: 324, Repeated: 1, RefusedService: 2, RefusedLimit: 3,
					RefusedOther: 4, BadLines: 5, Unsent: 6, Overflowed: 7, Dropped: map[string]uint64{"rate": 20480, "cookie": 12},
				}},
				{Name: "ttyUSB0"},
			},
			RADIUS: &api.RADIUS{
				Servers: []api.RADIUSServer{
					{Name: "192.0.2.9", Purpose: api.RADIUSLogins, Requests: 12, Retransmits: 2, Answers: 10, Accepts: 9, Rejects: 1, RTT: 4},
					{Name: "192.0.2.9", Purpose: api.RADIUSAccounting, Requests: 6, Retransmits: 4, Timeouts: 2, BadAuthenticators: 3, DeadSince: ago(90 * time.Second)},
				},
				Records: api.RADIUSRecords{Delivered: 4, Queued: 2, Spooled: 2, Oldest: ago(2 * time.Minute)},
			},
			Tunnels: 2, Sessions: 2, HalfOpen: 1, Calls: api.CallsUp{Up: 1, Down: 3},
			Process: api.Process{Goroutines: 24, HeapOctets: 3 << 20, TotalOctets: 9<<20 + 512<<10}, Counters: counters(),
		},
		Tunnels: []api.Tunnel{
			{
				ID: 4711, PeerID: 34, State: "established", Initiator: true, Local: netip.MustParseAddrPort("198.51.100.7:1701"), Remote: peer,
				HostName: "branch-router", Vendor: "l2tpd", Firmware: 0x0106, Framing: []string{"sync", "async"}, Window: 16, PeerWindow: 4,
				Ns: 7, Nr: 9, PeerNr: 7, Congestion: 4, SlowStart: 4, RTT: 14, RTO: 1000, RTOCap: 8000, Secret: true, SessionCount: 1,
				StartedAt: ago(3 * time.Hour), EstablishedAt: ago(3*time.Hour - time.Second), Debug: "state", Counters: counters().Control,
			},
			{
				ID: 65535, PeerID: 65534, State: "established", Local: netip.MustParseAddrPort("[2001:db8::7]:1701"), Remote: lac,
				HostName: "evil\x1b[31m" + strings.Repeat("x", 40), SessionCount: 1, StartedAt: ago(61 * time.Second), EstablishedAt: ago(time.Minute),
			},
			{
				ID: 9, State: "wait-ctl-reply", Initiator: true, Remote: netip.MustParseAddrPort("192.0.2.99:1701"), Window: 16, PeerWindow: 4,
				Outstanding: 1, RTO: 4000, RTOCap: 8000, StartedAt: ago(7 * time.Second), LastError: "no answer after 3 transmissions",
			},
		},
		Sessions: sessions(now, peer, lac),
		Debugs:   debugs(),
		Calls: []api.Call{
			{
				Name: "backup", Type: "virtual", Peer: "backup.example.net", PeerAddr: netip.MustParseAddrPort("192.0.2.99:1701"), Remote: "main",
				Precedence: "out", Sequencing: "always", Method: "ocrq", PRE13: true, AutoStart: true, State: api.CallWaiting, NextRedial: now.Add(12 * time.Second),
				LastError: &api.CallError{At: ago(49 * time.Second), Stage: "tunnel authentication", Text: "the peer refused our secret", Peer: "bad\nsecret"},
				Attempts:  api.CallAttempts{Out: 8, Failed: 8},
			},
			{
				Name: "branch", Type: "virtual", Peer: "203.0.113.2", PeerAddr: peer, Remote: "branch", Precedence: "in", Sequencing: "on-request",
				Method: "icrq", Secret: true, AutoStart: true, State: api.CallUp, TunnelID: 4711, SessionID: 345, Interface: "branch",
				UpSince: ago(3 * time.Hour), Attempts: api.CallAttempts{Out: 3, In: 1, Succeeded: 3, Failed: 1},
				LastError: &api.CallError{At: ago(4 * time.Hour), Stage: "transport", Text: "no answer from 203.0.113.2:1701"},
			},
			{
				Name: "phone", Type: "isdn", Peer: "192.0.2.5", Dial: "5551234", SubAddress: "7", Speed: 64000, Precedence: "in", Sequencing: "startup",
				Method: "ocrq", OnDemand: true, State: api.CallIdle,
			},
			{Name: "road", Type: "virtual", Peer: "any", Precedence: "in", Sequencing: "on-request", Method: "icrq", State: api.CallPassive},
		},
	}
}

// debugs are those of daemon.
func debugs() []api.Debugging {
	return []api.Debugging{
		{
			ID: 3, What: "state and packet of tunnel 4711, session 4711/345", By: "uid=0 pid=4711", StartedAt: ago(time.Minute),
			EndsAt: now.Add(4 * time.Minute), Records: 128, LeftOut: 7,
		},
		{ID: 12, What: "packet of user alice@example.net", Hex: true, Background: true, By: "uid=0 pid=4712", EndsAt: now.Add(23 * time.Hour)},
	}
}

// sessions are those of daemon.
func sessions(now time.Time, peer, lac netip.AddrPort) []api.Session {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return []api.Session{
		{
			TunnelID: 4711, ID: 345, PeerTunnelID: 34, PeerID: 678, Remote: peer, Role: "lac-incoming", State: "established",
			Call: "branch", Interface: "branch", MTU: 1460, MRU: 1460, PeerMRU: 1460,
			LocalIPv4: netip.MustParseAddr("192.168.10.1"), PeerIPv4: netip.MustParseAddr("192.168.20.1"),
			LocalIPv6: netip.MustParseAddr("fe80::1"), PeerIPv6: netip.MustParseAddr("fe80::2"), SerialNumber: 1, CalledNumber: "branch",
			TxSpeed: 1000000000, RxSpeed: 1000000000, Framing: []string{"sync"}, SequencesSent: true, Auth: "none", PeerAuth: "chap",
			Phase: "network", LCP: "Opened", IPCP: "Opened", IPV6CP: "Opened", StartedAt: ago(3 * time.Hour), EstablishedAt: ago(3*time.Hour - 2*time.Second),
			IdleSeconds: 3, Debug: "state and packet", Data: &api.DataTraffic{InPackets: 93, InOctets: 8928, OutPackets: 94, OutOctets: 9024},
			IPv6Prefix: netip.MustParsePrefix("2001:db8:1::/64"), PhysicalChannel: 17, PrivateGroup: "blue", ProxyAuth: "chap", ProcessingDelay: 3,
			LineErrors: &api.LineErrors{CRC: 1, Framing: 2, Hardware: 3, Buffer: 4, TimeOut: 5, Alignment: 6},
		},
		{
			TunnelID: 65535, ID: 1, PeerTunnelID: 65534, PeerID: 2, Remote: lac, Role: "lns-incoming", State: "wait-connect",
			Template: "dialin", User: "alice@example.net", StartedAt: ago(time.Second), Phase: "dead", LCP: "Initial", IPCP: "Initial", IPV6CP: "Initial",
		},
		{
			ID: 12, Role: "access", State: "established", Access: "eth1/77 02:00:00:00:00:05", CallingNumber: "02:00:00:00:00:05", User: "bob@corp.example",
			StartedAt: ago(time.Minute), EstablishedAt: ago(59 * time.Second), Phase: "authenticate", LCP: "Opened", IPCP: "Initial", IPV6CP: "Initial",
			Forwarded: &api.Forwarded{LNS: "lns1.example", Address: peer, TunnelID: 4711, SessionID: 346},
		},
		{TunnelID: 4711, ID: 346, PeerTunnelID: 34, PeerID: 679, Remote: peer, Role: "lac-incoming", State: "established", Subscriber: "bob@corp.example", CarriesFor: "line/1", StartedAt: ago(time.Minute)},
		{TunnelID: 65535, ID: 3, PeerTunnelID: 65534, PeerID: 4, Remote: lac, Role: "lns-incoming", State: "established", User: "alice@example.net", StartedAt: ago(time.Second)},
	}
}

func counters() api.Counters {
	return api.Counters{
		TunnelAuthFailures: 2, UserAuthFailures: 9, SessionEnds: map[string]uint64{"idle": 3, "auth-failed": 9}, InMessages: 123, OutMessages: 145, InErrors: 1,
		Discarded: api.Discards{Filtered: 3, NoSuchTunnel: 4, NoSuchSession: 5, Malformed: 6, ForeignSource: 7, OverLimit: 8},
		Control: api.ControlTraffic{
			In: 30, InWithData: 26, InNoData: 4, Processed: 30, InOrder: 26, OutOfOrder: 1, Discarded: 2, Out: 51, OutWithData: 37, OutNoData: 14, Retransmits: 9,
		},
		Listener:      api.SocketTraffic{InDatagrams: 2, InOctets: 210, OutDatagrams: 1, OutOctets: 90},
		TunnelSockets: api.SocketTraffic{InDatagrams: 28, InOctets: 2100, OutDatagrams: 50, OutOctets: 4200},
		PPPFrames:     api.FrameTraffic{In: 11, Out: 12},
		Data:          api.DataTraffic{InPackets: 93, InOctets: 8928, OutPackets: 94, OutOctets: 9024, SeqDiscards: 1, OutOfSequence: 2},
	}
}

// outcome is what one run leaves.
type outcome struct {
	code     int
	out, err string
}

// try runs l2tpctl against b.
func try(t *testing.T, b api.Backend, args ...string) outcome {
	t.Helper()
	return tryFor(t, time.Minute, b, args...)
}

// serve has b answer on a socket, until stop is called.
func serve(t *testing.T, b api.Backend) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "l2tpd.sock")
	events, _ := b.(api.EventSource)
	s, err := api.Listen(api.ServerConfig{Path: path, Backend: b, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	return path, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// tryFor is try, where a completion may take so long.
func tryFor(t *testing.T, tab time.Duration, b api.Backend, args ...string) outcome {
	t.Helper()
	path := filepath.Join(t.TempDir(), "l2tpd.sock")
	if b != nil {
		var stop func()
		path, stop = serve(t, b)
		defer stop()
	}
	var stdout, stderr bytes.Buffer
	e := env{
		out: &stdout, err: &stderr, wait: -1, poll: time.Millisecond, tab: tab, zone: time.UTC,
		build: buildInfo{APIVersion: "v1", Version: "v0.1.0", Revision: "0123456789abcdef", Go: "go1.26.0"},
	}
	code := run(t.Context(), e, append([]string{"--socket", path}, args...))
	clean := strings.NewReplacer(path, "SOCKET")
	return outcome{code, clean.Replace(stdout.String()), clean.Replace(stderr.String())}
}

// golden compares what a run left with testdata/name.golden.
func golden(t *testing.T, name string, args []string, got outcome) {
	t.Helper()
	text := fmt.Sprintf("$ l2tpctl %s\n%s", strings.Join(args, " "), got.out)
	if got.err != "" {
		text += "--- standard error\n" + got.err
	}
	text += fmt.Sprintf("--- exit code %d\n", got.code)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestWhatOperatorsSee(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"status":                  "status",
		"status-counters":         "status --counters",
		"status-json":             "status -o json",
		"tunnel-list":             "tunnel list",
		"tunnel-list-json":        "tunnel list -o json",
		"tunnel-show":             "tunnel show 4711",
		"tunnel-show-half-open":   "tunnel show 9",
		"tunnel-show-foreign":     "tunnel show 65535",
		"tunnel-show-unknown":     "tunnel show 4712",
		"tunnel-show-no-id":       "tunnel show lns1",
		"tunnel-show-no-argument": "tunnel show",
		"tunnel-close-no-id":      "tunnel close 0",
		"tunnel-close":            "tunnel close 9",
		"session-list":            "session list",
		"session-list-of-tunnel":  "session list --tunnel 65535",
		"session-list-json":       "session list -o json",
		"session-list-no-id":      "session list --tunnel lns1",
		"session-show":            "session show branch",
		"session-show-early":      "session show 65535/1",
		"session-show-line":       "session show line/12",
		"session-show-far":        "session show 4711/346",
		"session-show-ambiguous":  "session show alice@example.net",
		"session-show-unknown":    "session show 4711/347",
		"session-close":           "session close 345",
		"session-close-json":      "session close 345 -o json",
		"call-list":               "call list",
		"call-list-json":          "call list -o json",
		"call-show":               "call show backup",
		"call-show-up":            "call show branch",
		"call-show-dial":          "call show phone",
		"call-show-passive":       "call show road",
		"call-show-unknown":       "call show brunch",
		"call-up":                 "call up BACKUP",
		"call-up-already":         "call up branch",
		"call-up-passive":         "call up road",
		"call-up-wait":            "call up phone --wait 10s",
		"call-up-wait-bad":        "call up phone --wait long",
		"call-down":               "call down branch",
		"call-down-session":       "call down 4711/345",
		"call-down-foreign":       "call down 65535/1",
		"reload":                  "reload",
		"version":                 "version",
		"version-json":            "version -o json",
		"version-option":          "--version",
		"version-option-json":     "--version -o json",
		"usage-unknown":           "tunell",
		"usage-unknown-verb":      "tunnel lsit",
		"usage-far-off":           "tunnel frobnicate",
		"usage-no-verb":           "session",
		"usage-argument":          "reload now",
		"usage-flag":              "status --frob",
		"usage-format":            "status -o xml",
		"help":                    "help",
		"help-status":             "status --help",
		"help-tunnel":             "tunnel --help",
		"help-tunnel-list":        "tunnel list --help",
		"help-tunnel-show":        "tunnel show --help",
		"help-tunnel-close":       "tunnel close --help",
		"help-session":            "session --help",
		"help-session-list":       "session list --help",
		"help-session-show":       "session show --help",
		"help-session-close":      "session close --help",
		"help-call":               "call --help",
		"help-call-list":          "call list --help",
		"help-call-show":          "call show --help",
		"help-call-up":            "call up --help",
		"help-call-down":          "call down --help",
		"help-reload":             "reload --help",
		"help-version":            "version --help",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(daemon()), list...))
		})
	}
}

func TestADegradedDaemon(t *testing.T) {
	t.Parallel()
	picture := daemon()
	picture.Status.Health = []api.Condition{
		{Name: "peer-unreachable", Since: ago(90 * time.Second), Message: "peers of calls cannot be reached: backup", Advice: "look at the route"},
		{Name: "radius-dead", Since: ago(time.Second), Message: "no RADIUS server answers: logins", Advice: "look at the servers"},
	}
	for name, args := range map[string]string{"degraded-status": "status", "degraded-status-json": "status -o json", "degraded-call-list": "call list"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(picture), list...))
		})
	}
}

func TestAnEmptyDaemon(t *testing.T) {
	t.Parallel()
	empty := api.Snapshot{TakenAt: now, Status: &api.Status{Version: "v0.1.0", State: api.StateStarting, StartedAt: now, Mode: "none"}}
	for name, args := range map[string]string{
		"empty-status": "status", "empty-tunnels": "tunnel list", "empty-sessions": "session list", "empty-calls": "call list",
		"empty-tunnels-json": "tunnel list -o json", "empty-tunnel-show": "tunnel show 1", "empty-session-show": "session show bob",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(empty), list...))
		})
	}
}

func TestErrorsSayWhatToDoNext(t *testing.T) {
	t.Parallel()
	forbidden := api.Errorf(api.CodeForbidden, "user 1000 may read but not act")
	forbidden.Hint = "run it as root: sudo l2tpctl ..."
	broken := api.Errorf(api.CodeConflict, "the configuration has 2 errors; the old one stays")
	broken.Details = []string{"/etc/l2tpd/l2tpd.yaml:3:9: unknown mode \"lnc\"", "/etc/l2tpd/l2tpd.yaml:7:3: unknown key"}
	broken.Hint = "l2tpd check explains them"
	for name, tc := range map[string]struct {
		fail error
		args string
	}{
		"error-forbidden":   {forbidden, "reload"},
		"error-unavailable": {api.Errorf(api.CodeUnavailable, "l2tpd is stopping"), "status"},
		"error-internal":    {fmt.Errorf("shard 3: %w", context.Canceled), "tunnel list"},
		"error-reload":      {broken, "reload"},
		"error-of-lines":    {api.Errorf(api.CodeConflict, "first line\nsecond \x1b[31mline\n"), "reload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := apitest.New(daemon())
			b.Fail(tc.fail)
			list := strings.Fields(tc.args)
			golden(t, name, list, try(t, b, list...))
		})
	}
	t.Run("error-unreachable", func(t *testing.T) {
		t.Parallel()
		golden(t, "error-unreachable", []string{"status"}, try(t, nil, "status"))
	})
}

// dialling is a backend whose calls begin to dial when they are asked up.
type dialling struct{ *apitest.Backend }

func (d dialling) Act(_ context.Context, a api.Action) (*api.Result, error) {
	d.Change(func(s *api.Snapshot) {
		for i := range s.Calls {
			if s.Calls[i].Name == a.Call {
				s.Calls[i].State = api.CallDialling
			}
		}
	})
	return &api.Result{Changed: true, Message: "dialling"}, nil
}

// looks counts how often the call was looked at, and changes it at the third look after the dial.
type looks struct {
	dialling
	n  *int
	to func(*api.Call)
}

func (l looks) Snapshot(ctx context.Context, q api.Query) (*api.Snapshot, error) {
	if *l.n++; *l.n > 8 && l.to != nil {
		l.Change(func(s *api.Snapshot) { l.to(&s.Calls[0]) })
	}
	return l.dialling.Snapshot(ctx, q)
}

func TestCallUpWaitsForTheEndOfTheAttempt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wait string
		to   func(*api.Call)
	}{
		"wait-up": {"1m", func(c *api.Call) {
			c.State, c.TunnelID, c.SessionID, c.Interface = api.CallUp, 12, 34, "backup"
		}},
		"wait-failed": {"1m", func(c *api.Call) {
			c.State = api.CallDialling
			c.LastError = &api.CallError{At: now, Stage: "user authentication", Text: "the peer refused our password", Peer: "Login incorrect"}
		}},
		"wait-over": {"5ms", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := []string{"call", "up", "backup", "--wait", tc.wait}
			golden(t, name, list, try(t, looks{dialling{apitest.New(daemon())}, new(int), tc.to}, list...))
		})
	}
}

// What cannot be a tunnel is said at once: once the answer was waited for, where no daemon runs for seconds.
func TestNoDaemonIsAskedForWhatIsNoTunnel(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"tunnel show abc", "tunnel close 65536", "session list --tunnel abc"} {
		got := try(t, nil, strings.Fields(args)...)
		if got.code != exitUsage || !strings.Contains(got.err, "is no tunnel id") || strings.Contains(got.err, "waiting") {
			t.Errorf("%s: exit code %d, %q", args, got.code, got.err)
		}
	}
}

func TestTablesFit80Columns(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 200)
	outer, inner := netip.MustParseAddrPort("255.255.255.255:65535"), netip.MustParseAddr("255.255.255.255")
	wide := api.Snapshot{
		TakenAt: now,
		Tunnels: []api.Tunnel{{ID: 65535, PeerID: 65535, State: "wait-ctl-reply", Remote: outer, HostName: long, SessionCount: 65535, StartedAt: ago(999 * 24 * time.Hour)}},
		Sessions: []api.Session{{
			TunnelID: 65535, ID: 65535, PeerTunnelID: 65535, PeerID: 65535, State: "wait-cs-answer", User: long, Interface: long[:15], PeerIPv4: inner,
			StartedAt: ago(999 * 24 * time.Hour),
		}},
		Calls: []api.Call{{Name: long[:15], Peer: long, State: api.CallDialling, TunnelID: 65535, SessionID: 65535, Interface: long[:15], NextRedial: now.Add(time.Hour)}},
	}
	for _, noun := range []string{"tunnel", "session", "call"} {
		got := try(t, apitest.New(wide), noun, "list")
		for l := range strings.Lines(got.out) {
			if n := len([]rune(l)) - 1; n > 80 {
				t.Errorf("%s list: %d columns: %s", noun, n, l)
			}
		}
	}
}

// A call that fails again and again must not make the old failure look like the new one's.
func TestCallUpIgnoresTheFailureOfAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	got := try(t, dialling{apitest.New(daemon())}, "call", "up", "backup", "--wait", "5ms")
	if got.code != exitFailed || !strings.Contains(got.err, "is still dialling after 5ms") {
		t.Errorf("code %d, %q", got.code, got.err)
	}
}

func TestNothingAPeerSaysMovesTheCursor(t *testing.T) {
	t.Parallel()
	evil := daemon()
	evil.Tunnels[1].HostName = "\x1b[2J\u009b31m\u202e\U000e0001"
	for _, args := range []string{"tunnel list", "tunnel show 65535", "tunnel list -o json", "call list", "call show backup", "call list -o json", "call list -o yaml", "tunnel list -o yaml", "tunnel list -o jsonl", "tunnel list -o wide"} {
		got := try(t, apitest.New(evil), strings.Fields(args)...)
		if got.code != exitOK {
			t.Errorf("%s: exit code %d", args, got.code)
		}
		for _, r := range got.out {
			if r != '\n' && !strconv.IsPrint(r) {
				t.Errorf("%s: control character %q in %q", args, r, got.out)
				break
			}
		}
	}
}

func TestJSONHasTheVersionAndReadsBack(t *testing.T) {
	t.Parallel()
	got := try(t, apitest.New(daemon()), "session", "show", "345", "-o", "json")
	var snap api.Snapshot
	if err := json.Unmarshal([]byte(got.out), &snap); err != nil {
		t.Fatal(err)
	}
	if snap.APIVersion != "v1" || len(snap.Sessions) != 1 {
		t.Fatalf("got %+v", snap)
	}
	if d := cmp.Diff(daemon().Sessions[0], snap.Sessions[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("session (-want +got):\n%s", d)
	}
}
