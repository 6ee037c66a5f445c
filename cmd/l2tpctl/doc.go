// Command l2tpctl is the operator's tool for l2tpd: it asks the running daemon over its unix socket and tells what it answers.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such tunnel, session or call, 4 the daemon cannot be reached.
package main
