package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// tables is daemon with what its tables have.
func tables() api.Snapshot {
	s := daemon()
	s.Accept = []api.AcceptEntry{
		{
			From: "10.0.0.0/8", HostName: "lac1", Template: "dialin", Sequencing: "startup", PRE13: true, IgnoreWindow13: true, ProxyLCP: "accept",
			ProxyAuth: "rechallenge", MaxTunnels: 10, MaxHalfOpen: 2, MaxSessions: 1000, Tunnels: 1, HalfOpen: 1, Sessions: 312, TunnelsBegun: 7, SessionsBegun: 4711,
		},
		{From: "any", Template: "default", Sequencing: "on-request", ProxyLCP: "mismatch", ProxyAuth: "accept"},
	}
	s.Rules = []api.LACRule{
		{
			Match: "realm", Realm: "corp.example", Action: "tunnel", Balance: "round-robin", Secret: true, ProxyAuth: true, Sequencing: "on-request", RTOCap: 20000, Hits: 40,
			LNS: []api.RuleLNS{{Address: "lns1.example", Port: 1701, Weight: 1}, {Address: "2001:db8::7", Port: 1702, Preference: 1, Weight: 2, Secret: true}},
		},
		{Match: "any-realm", Action: "dns", Prefix: "l2tp", Sequencing: "always", RTOCap: 8000, StripRealm: true, Assignment: "x", TunnelSessions: 9},
		{Match: "local", Action: "local", Template: "dialin", Sequencing: "on-request", RTOCap: 8000, ProxyAuth: true, Hits: 3},
		{Match: "all", Action: "radius", RADIUSUser: "domain", Sequencing: "on-request", RTOCap: 8000, ProxyAuth: true},
		{Match: "unauthenticated", Action: "reject", Sequencing: "on-request", RTOCap: 8000, ProxyAuth: true},
	}
	s.Pools = []api.AddressPool{
		{
			Name: "callers", Ranges: []string{"192.168.77.1-192.168.77.200"}, Templates: []string{"default", "dialin"}, Used: 3, Size: 200,
			Leases: []api.Lease{{Pool: "callers", Value: "192.168.77.1", Session: "65535/3", User: "alice@example.net"}, {Pool: "callers", Value: "192.168.77.2", Session: "line/12"}},
		},
		{Name: "links", Prefixes: []string{"2001:db8:77::/48"}, PrefixLength: 64, Size: 65536},
	}
	s.Peers = []api.Peer{
		{Address: netip.MustParseAddr("192.0.2.1"), Secret: api.SecretNone, Refused: "server.allow_from does not have it", LNS: true, LockedUntil: now.Add(42 * time.Second)},
		{
			Address: netip.MustParseAddr("192.0.2.99"), Secret: api.SecretSet, Tunnels: []uint16{9}, HalfOpen: 1, Calls: []string{"backup"},
			LastError: &api.PeerError{At: ago(49 * time.Second), Of: "call backup", Text: "tunnel authentication: the peer refused our secret"},
		},
		{
			Address: netip.MustParseAddr("203.0.113.2"), HostName: "branch-router\x1b[2J", Secret: api.SecretSet, Tunnels: []uint16{4711}, Sessions: 2, Calls: []string{"branch"},
			LNS: true, LNSSessions: 1,
		},
	}
	s.Settings = []api.Setting{
		{Path: "server.mode", Value: "both", Default: "both", Reload: "new-sessions"},
		{Path: "server.checksum", Value: "off", Default: "on", Changed: true, Reload: "daemon-restart"},
		{Path: "calls.branch.secret", Value: "***", Changed: true, Reload: "tunnel-restart"},
	}
	return s
}

func TestTables(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"accept-list": "accept list", "accept-list-wide": "accept list -o wide", "accept-list-json": "accept list -o json",
		"lac-rules": "lac rules", "lac-rules-wide": "lac rules -o wide", "lac-rules-jsonl": "lac rules -o jsonl",
		"pool-list": "pool list", "pool-list-wide": "pool list -o wide", "pool-show": "pool show callers", "pool-show-none": "pool show links",
		"pool-show-unknown": "pool show caller", "pool-show-yaml": "pool show callers -o yaml",
		"peer-list": "peer list", "peer-list-wide": "peer list -o wide", "peer-list-json": "peer list -o json", "peer-show": "peer show 192.0.2.99",
		"peer-show-lns": "peer show 203.0.113.2", "peer-show-locked": "peer show 192.0.2.1", "peer-show-unknown": "peer show 203.0.113.3", "peer-show-no-address": "peer show lns1",
		"radius": "radius", "radius-wide": "radius -o wide", "radius-json": "radius -o json",
		"counters": "counters", "counters-json": "counters -o json", "counters-reset": "counters reset", "counters-not-reset": "counters --since-reset", "counters-verb": "counters rest",
		"config-show": "config show", "config-show-wide": "config show -o wide", "config-show-changed": "config show --changed", "config-show-jsonl": "config show --changed -o jsonl",
		"config-init-json": "config init -o json", "complete-pool": "__complete pool show c",
		"help-accept": "accept --help", "help-lac": "lac --help", "help-pool": "pool --help", "help-peer": "peer --help", "help-radius": "radius --help",
		"help-counters": "counters --help", "help-counters-reset": "counters reset --help", "help-config": "config --help", "help-config-show": "config show --help",
		"help-config-check": "config check --help", "help-config-init": "config init --help",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(tables()), list...))
		})
	}
	empty := api.Snapshot{TakenAt: now, Status: &api.Status{Version: "v0.1.0", State: api.StateRunning, StartedAt: now}}
	for name, args := range map[string]string{
		"empty-accept": "accept list", "empty-rules": "lac rules", "empty-pools": "pool list", "empty-peers": "peer list", "empty-radius": "radius",
		"empty-settings": "config show --changed", "empty-pools-json": "pool list -o json",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(empty), list...))
		})
	}
}

func TestEveryTableFits80Columns(t *testing.T) {
	t.Parallel()
	long := tables()
	long.Accept[0].HostName, long.Rules[0].LNS[0].Address, long.Pools[0].Ranges[0] = strings.Repeat("n", 200), strings.Repeat("n", 200), strings.Repeat("n", 200)
	long.Peers[2].HostName, long.Settings[2].Value = strings.Repeat("n", 200), strings.Repeat("n", 200)
	for _, args := range []string{
		"status", "counters", "tunnel list", "session list", "call list", "accept list", "lac rules", "pool list", "pool show callers", "peer list",
		"peer show 192.0.2.99", "radius", "config show",
	} {
		got := try(t, apitest.New(long), strings.Fields(args)...)
		if got.code != exitOK {
			t.Errorf("%s: exit code %d, %s", args, got.code, got.err)
		}
		for l := range strings.Lines(got.out) {
			if n := len([]rune(l)) - 1; n > 80 && !strings.HasPrefix(l, "  ") && !strings.Contains(l, ": ") { // sentences go on
				t.Errorf("%s: %d columns: %s", args, n, l)
			}
		}
	}
}

// The files are those of the daemon's own check.
func TestConfigIsCheckedAsTheDaemonDoes(t *testing.T) {
	t.Parallel()
	const dir = "../l2tpd/testdata/" // what others may read is warned of
	if err := errors.Join(os.Chmod(dir+"warned.yaml", 0o644), os.Chmod(dir+"secret", 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{
		"config-check-good": "config check good.yaml", "config-check-bad": "config check bad.yaml", "config-check-warned": "config check warned.yaml",
		"config-check-missing": "config check missing.yaml", "config-check-bad-json": "config check bad.yaml -o json", "config-check-no-file": "config check",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			real := append([]string{}, list...)
			if len(real) > 2 {
				real[2] = filepath.Join("..", "l2tpd", "testdata", real[2])
			}
			golden(t, name, list, try(t, nil, real...))
		})
	}
}

func TestConfigInitIsTheReferenceFile(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../configs/l2tpd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := try(t, nil, "config", "init"); got.out != string(want) || got.code != exitOK {
		t.Errorf("exit code %d, %d octets, want %d", got.code, len(got.out), len(want))
	}
}
