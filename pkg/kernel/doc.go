// Package kernel programs Linux's L2TP and PPP: tunnels and sessions by generic netlink, PPPoX sockets, /dev/ppp channels
// and units. Everything here may sleep; callers keep it off their loops.
package kernel
