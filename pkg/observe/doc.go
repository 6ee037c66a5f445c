// Package observe turns the daemon's log records into what an operator reads: native journal entries with L2TP_ fields, lines for
// a terminal, or JSON. It also limits how fast one source can fill the log, and speaks to systemd.
//
// Names that peers choose (host names, users, their words in a StopCCN) pass through here on their way to a terminal: control
// characters, invalid UTF-8 and direction marks are always escaped.
package observe
