// Package config turns /etc/l2tpd/l2tpd.yaml into a validated policy. One table of fields (table*.go) drives the parser,
// the defaults, the annotated reference configs/l2tpd.yaml, the manual docs/l2tpd.yaml.md and the reload plan. All errors
// are reported at once, each with file, line and column, the offending line and what to do.
package config

//go:generate go test -run Fresh -update .
