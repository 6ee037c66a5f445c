package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

func TestEveryFormatOfOutput(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"status-yaml":        "status -o yaml",
		"status-jsonl":       "status -o jsonl",
		"tunnel-list-wide":   "tunnel list -o wide",
		"tunnel-list-yaml":   "tunnel list -o yaml",
		"tunnel-list-jsonl":  "tunnel list -o jsonl",
		"tunnel-show-wide":   "tunnel show 4711 -o wide",
		"tunnel-show-jsonl":  "tunnel show 4711 -o jsonl",
		"session-list-wide":  "session list -o wide",
		"session-list-jsonl": "session list -o jsonl",
		"session-close-yaml": "session close 345 -o yaml",
		"call-list-wide":     "call list -o wide",
		"call-list-yaml":     "call list -o yaml",
		"version-yaml":       "version -o yaml",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(daemon()), list...))
		})
	}
}

// What -o yaml writes says the same as -o json, whatever a peer calls itself.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	t.Parallel()
	evil := daemon()
	evil.Tunnels[0].HostName = "yes"
	evil.Tunnels[1].HostName = "\x1b[2J\u009b31m\u202e\U000e0001\\ \"\n: # 'x"
	evil.Tunnels[2].HostName = "0x1F"
	for _, args := range []string{"status", "tunnel list", "session list", "call list"} {
		var fromJSON, parsed, fromYAML any
		j, y := try(t, apitest.New(evil), strings.Fields(args+" -o json")...), try(t, apitest.New(evil), strings.Fields(args+" -o yaml")...)
		if err := json.Unmarshal([]byte(j.out), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(y.out), &parsed); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, y.out)
		}
		again, err := json.Marshal(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &fromYAML); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(fromJSON, fromYAML); d != "" {
			t.Errorf("%s (-json +yaml):\n%s", args, d)
		}
	}
}
