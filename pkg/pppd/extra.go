package pppd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// reserved are the options that a Spec's owner may not give, with what stands in their way. An option in groups has its aliases.
var reserved = map[string]string{
	"-detach": detaches, "updetach": detaches, "up_sdnotify": detaches, "master_detach": detaches,

	"logfd": logs, "logfile": logs, "nolog": logs, "nologfd": logs, "show-password": "would write passwords into the log",

	"file": reads, "call": reads, "plugin": reads, "+ua": reads, "privgroup": reads, "record": "would write what is said into a file",

	"connect": dials, "disconnect": dials, "init": dials, "welcome": dials, "pty": dials, "socket": dials, "notty": dials,
	"demand": again, "persist": again,

	"multilink": bundles, "mp": bundles, "bundle": bundles,

	"ipparam": reports, "set": reports, "unset": reports,
	"linkname": "would write a file below /run",

	"ifname": ours, "unit": ours, "user": ours, "password": ours, "name": ours, "usehostname": ours,

	"noauth": lets, "allow-ip": lets, "login": lets, "papcrypt": lets, "remotename": lets, "enable-session": lets,

	"dryrun": ends, "--version": ends, "--help": ends, "-h": ends,
}

const (
	detaches = "would take pppd from under the daemon's eyes"
	logs     = "would take pppd's log from the daemon"
	reads    = "would bring in what the daemon has not written"
	dials    = "is about a line, and the line is the L2TP session"
	again    = "would begin anew on a session that has ended"
	bundles  = "would join sessions"
	reports  = "would change what pppd reports to the daemon"
	ours     = "is given by other keys"
	lets     = "would let in who should not be"
	ends     = "would end pppd"
)

// CheckOption says why an option with its arguments may not be among Spec.Options. Quotes, backslashes and # are no syntax:
// words end at blanks, and at quotes where they are quoted by ' or ".
func CheckOption(option string) error {
	words, err := split(option)
	if err != nil {
		return fmt.Errorf("pppd option %q: %w", option, err)
	}
	// Which words are arguments only pppd knows, so every word may be an option.
	for i, w := range words {
		why := reserved[w]
		switch {
		case why != "":
		case strings.HasPrefix(w, "pppol2tp"):
			why = ours
		case strings.HasSuffix(w, "-script"): // 2.5 has one for each of them
			why = reports
		case i == 0 && strings.HasPrefix(w, "/"):
			why = dials
		case i == 0 && strings.Contains(w, ":"):
			why = ours
		}
		if why != "" {
			return fmt.Errorf("pppd option %q: %s %s", option, w, why)
		}
	}
	return nil
}

// split takes an option apart.
func split(option string) (words []string, err error) {
	if strings.ContainsFunc(option, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("a line break or another control character")
	}
	for rest := strings.TrimLeft(option, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		end := strings.IndexByte(rest, ' ')
		if q := rest[:1]; q == `"` || q == "'" {
			rest = rest[1:]
			if end = strings.Index(rest, q); end < 0 {
				return nil, errors.New("a quote that does not end")
			}
			words, rest = append(words, rest[:end]), rest[end+1:]
			if rest != "" && rest[0] != ' ' {
				return nil, errors.New("a quote within a word")
			}
			continue
		}
		if end < 0 {
			end = len(rest)
		}
		words, rest = append(words, rest[:end]), rest[end:]
	}
	if len(words) == 0 || slices.Contains(words, "") {
		return nil, errors.New("nothing in it")
	}
	if slices.ContainsFunc(words, func(w string) bool { return len(w) > maxWord }) {
		return nil, errors.New("too long for pppd")
	}
	return words, nil
}
