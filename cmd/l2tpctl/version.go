package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// buildInfo says what was built.
type buildInfo struct {
	APIVersion string `json:"apiVersion"`
	Version    string `json:"version"`
	Revision   string `json:"revision,omitempty"`
	Modified   bool   `json:"modified,omitempty"`
	Go         string `json:"go"`
}

// String returns one line.
func (b buildInfo) String() string {
	s := fmt.Sprintf("l2tpctl %s (API %s, %s", b.Version, b.APIVersion, b.Go)
	if b.Revision != "" {
		s += ", commit " + b.Revision[:min(len(b.Revision), 12)]
	}
	if b.Modified {
		s += ", modified"
	}
	return s + ")"
}

// build returns what the linker recorded.
func build() buildInfo {
	b := buildInfo{APIVersion: api.APIVersion, Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = cmp.Or(info.Main.Version, "(devel)"), info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
