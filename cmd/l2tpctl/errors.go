package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Exit codes. They are part of the interface: scripts rely on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
)

// usageError is a command line that cannot be understood.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

// report writes err for the operator, with what to do next, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errReported) {
		return exitFailed
	}
	code, hint := exitFailed, ""
	var details []string
	if u, ok := errors.AsType[*usageError](err); ok {
		code, hint = exitUsage, u.hint
	} else if u, ok := errors.AsType[*api.UnreachableError](err); ok {
		code = exitUnreachable
		hint = "is it running? systemctl status l2tpd tells; journalctl -u l2tpd -n 20 tells why not"
		if u.Path != api.DefaultSocket {
			hint += "; is --socket right?"
		}
	} else if no, ok := errors.AsType[*api.Error](err); ok {
		code, hint, details = exitCode(no.Code), no.Hint, no.Details
	}
	lines := append(strings.Split(strings.TrimSpace(err.Error()), "\n"), details...)
	text := "l2tpctl: " + line(lines[0])
	for _, l := range lines[1:] {
		text += line("  " + l)
	}
	if hint != "" {
		text += line("  " + hint)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return exitFailed
	}
	return code
}

func exitCode(c api.ErrorCode) int {
	switch c {
	case api.CodeInvalid:
		return exitUsage
	case api.CodeNotFound:
		return exitNotFound
	case api.CodeUnavailable:
		return exitUnreachable
	case api.CodeForbidden, api.CodeConflict, api.CodeInternal:
	}
	return exitFailed
}

func usagef(hint, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), hint: hint}
}
