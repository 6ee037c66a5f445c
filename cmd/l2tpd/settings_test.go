package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// What runs is shown as it runs, also after a reload, and no secret in any part of it.
func TestTheRunningConfigurationIsShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	text := "calls: {branch: {peer: 192.0.2.1, secret: hushhushhushhush, ppp: {user: a, password: hushhush}}}\nserver: {hostname: " + host + "}\n" +
		"secrets: [{from: 192.0.2.1, secret: hushhushhushhush}]\nusers: {bob: {password: hushhush}}\n"
	d, _ := running(t, text)
	look := func() (changed map[string]string) {
		snap, err := d.Snapshot(t.Context(), api.Query{Settings: true, Status: true, Calls: true, Peers: true, Accept: true, Rules: true, Pools: true, Leases: true})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(snap); err != nil || strings.Contains(string(b), "hush") {
			t.Errorf("a secret is shown, or %v: %s", err, b)
		}
		changed = map[string]string{}
		for _, s := range snap.Settings {
			if s.Changed {
				changed[s.Path] = s.Value
			}
		}
		return changed
	}
	if got := look(); got["calls.branch.secret"] != "***" || got["users.bob.password"] != "***" || got["calls.branch.peer"] != "192.0.2.1" || got["server.hostname"] != "" {
		t.Errorf("changed are %v", got)
	}
	write(t, d.path, text+"log: {level: warn}\n")
	if _, err := d.reload("a test"); err != nil {
		t.Fatal(err)
	}
	if got := look(); got["log.level"] != "warn" {
		t.Errorf("after a reload changed are %v", got)
	}
}
