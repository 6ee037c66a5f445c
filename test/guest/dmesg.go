package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// faults are the kernel messages that fail a run.
var faults = regexp.MustCompile(strings.Join([]string{
	`WARNING:`, `BUG:`, `\bBUG at\b`, `Oops`, `refcount_t`, `general protection`, `unreferenced object`,
	`KASAN:`, `UBSAN:`, `Kernel panic`,
	`possible recursive locking`, `possible circular locking`, `inconsistent lock state`, `suspicious RCU usage`,
	`held lock freed`, `lock held when returning`, `list_(add|del) corruption`, `unregister_netdevice: waiting for`,
	`INFO: task .* blocked for more than`, `scheduling while atomic`,
}, "|"))

// The guest writes these to the kernel log around the command: what the
// kernel says while it boots is not the command's doing.
const (
	markBegin = "guest: command begins"
	markEnd   = "guest: command ended"
)

// kernelLog collects the records of /dev/kmsg.
type kernelLog struct {
	lines  []string
	begun  int // index of the first line after markBegin, -1 before it
	faulty []int
}

func newKernelLog() *kernelLog { return &kernelLog{begun: -1} }

// add takes one record, "level,seq,microseconds,flags;text" and then
// continuation lines, which are the machine's and not looked at.
func (l *kernelLog) add(record string) {
	head, text, ok := strings.Cut(record, ";")
	if !ok {
		return
	}
	text, _, _ = strings.Cut(text, "\n")
	if f := strings.Split(head, ","); len(f) >= 3 {
		if us, err := strconv.ParseInt(f[2], 10, 64); err == nil {
			text = fmt.Sprintf("[%5d.%06d] %s", us/1e6, us%1e6, text)
		}
	}
	l.lines = append(l.lines, text)
	switch {
	case strings.HasSuffix(text, markBegin):
		l.begun = len(l.lines)
	case l.begun >= 0 && faults.MatchString(text):
		l.faulty = append(l.faulty, len(l.lines)-1)
	}
}

// report shows every fault with the lines around it; empty without faults.
func (l *kernelLog) report() string {
	const before, after, most = 3, 40, 200
	var b strings.Builder
	shown, count := -1, 0
	for _, at := range l.faulty {
		from := max(at-before, shown+1, l.begun)
		if shown >= 0 && from > shown+1 {
			b.WriteString("  ...\n")
		}
		for i := from; i <= min(at+after, len(l.lines)-1) && count < most; i++ {
			mark := "  "
			if faults.MatchString(l.lines[i]) {
				mark = "! "
			}
			b.WriteString(mark + l.lines[i] + "\n")
			shown = i
			count++
		}
	}
	return b.String()
}

// tail returns the last n lines, without the boot's once the command has begun.
func (l *kernelLog) tail(n int) []string { return l.lines[max(0, l.begun, len(l.lines)-n):] }
