package main

import (
	"errors"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// healthRows show what is wrong with the daemon, and what to do.
func healthRows(v *view, s *api.Snapshot) {
	if len(s.Status.Health) == 0 {
		return
	}
	v.head("Health")
	for _, c := range s.Status.Health {
		v.b.WriteString(line("  - " + c.Name + ", for " + age(s.TakenAt, c.Since) + ": " + c.Message))
		v.b.WriteString(line("    " + c.Advice))
	}
}

// unhealthy is the error of a daemon with conditions that are raised; nil if there are none.
func unhealthy(raised []api.Condition) error {
	if len(raised) == 0 {
		return nil
	}
	names := make([]string, len(raised))
	for i, c := range raised {
		names[i] = c.Name
	}
	return errors.New("the daemon is degraded: " + strings.Join(names, ", "))
}
