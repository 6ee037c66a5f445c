package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

func TestExplain(t *testing.T) {
	picture, peer := daemon(), netip.MustParseAddrPort("203.0.113.2:1701")
	picture.Lives = []api.Life{
		{
			Name: "line/1", Access: "eth1/7293 02:00:00:00:00:07", User: "bob@corp.example", LNS: "lns1", StartedAt: ago(5 * time.Minute),
			Steps: []api.Step{{Stage: "LCP", At: 0, Took: 4}, {Stage: "user authentication", At: 4, Took: 3}, {Stage: "forwarding", At: 7, Took: 48}, {Stage: "up", At: 55, Took: 299945}},
		},
		{Name: "4711/346", Peer: peer, User: "bob@corp.example", Carries: "line/1", StartedAt: ago(5 * time.Minute), Steps: []api.Step{{Stage: "session", At: 0, Took: 12}, {Stage: "up", At: 12, Took: 299988}}},
		{
			Name: "4711/320", Peer: peer, Call: "branch", StartedAt: ago(10 * time.Minute),
			Steps: []api.Step{{Stage: "transport", At: 0, Took: 31000}},
			End: &api.End{
				At: ago(9*time.Minute + 29*time.Second), Stage: "transport", Cause: "timeout", Why: "no answer from 203.0.113.2:1701", Advice: "is there a route to the peer?",
			},
		},
		{Name: "4711/319", Peer: peer, Call: "branch", StartedAt: ago(20 * time.Minute), End: &api.End{At: ago(19 * time.Minute), Stage: "up", Cause: "local", Why: "closed by the operator"}},
		{Name: "4711/318", Peer: peer, StartedAt: ago(30 * time.Minute)},
	}
	b := withEvents{apitest.New(picture)}
	for name, args := range map[string][]string{
		"explain-user": {"explain", "user", "bob@corp.example"}, "explain-session": {"explain", "session", "4711/346"},
		"explain-peer": {"explain", "peer", "203.0.113.2"}, "explain-call": {"explain", "call", "BRANCH"},
		"explain-line": {"explain", "session", "line/1"}, "explain-nobody": {"explain", "user", "nobody"}, "explain-no-peer": {"explain", "peer", "branch"},
	} {
		golden(t, name, args, try(t, b, args...))
	}
}
