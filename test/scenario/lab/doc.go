//go:build kernel

// Package lab builds small networks for scenarios: hosts that are network namespaces, links between them, and programs on
// the hosts (l2tpd, xl2tpd, pppd, anything). Everything a test makes is watched and taken back when the test ends: a lab
// fails its test if a daemon does not stop in good order, or if an interface or a kernel tunnel is left.
//
//	l := lab.New(t)
//	a, b := l.Host("a"), l.Host("b")
//	l.Link(a.At("1.1.1.1/24"), b.At("1.1.1.2/24"))
//	d := a.L2TPD(`calls: {...}`)
//	d.WaitUp("remote")
//	a.Reaches("192.168.20.1")
//
// Nothing sleeps: what a test waits for is a log line or a condition, with a deadline that only catches hangs, because a
// guest under emulation is slow. Where a program's log is kept: $ARTIFACTS/<test>/<host>-<program>.log.
//
// The test process needs root and the programs l2tpd and l2tpctl in the directory $L2TPD_BIN.
package lab
