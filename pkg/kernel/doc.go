// Package kernel programs Linux's L2TP and PPP: tunnels and sessions by generic netlink, PPPoX sockets of L2TP and PPPoE, ttys, /dev/ppp
// channels and units, and bridges of two channels. Everything here may sleep; callers keep it off their loops. The exceptions are
// Session.Send and, of L2TP, Session.Stats, which are single system calls that do not wait.
//
// Objects live in the network namespace of the thread that called: Open, and all of one Kernel that makes a session, attaches it or
// bridges it, are called in the same namespace. Absent objects are os.ErrNotExist, taken ids and names os.ErrExist, closed ones os.ErrClosed, all
// by errors.Is; the errno is there as well.
package kernel
