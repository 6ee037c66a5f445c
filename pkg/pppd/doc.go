// Package pppd runs a real pppd on an L2TP session in place of pkg/ppp: one process for each session, on the session's PPPoX
// socket, with pppd's plugin pppol2tp.so (package ppp of Debian; tested with 2.4.9 and 2.5.2).
//
// Everything that pppd reads is written for the session: its options and its secrets are in a directory of the session's own,
// mode 0700, which is pppd's working directory and goes when pppd has gone. No secret is on a command line.
//
// pppd looks for secrets and scripts below /etc/ppp and nowhere else, so /etc/ppp is covered by an empty tmpfs for the
// pppds of this daemon, in which the names of pppd's secret files point to the working directory of whoever opens them
// (/proc/self/cwd), and ip-up and its like report to the daemon. What the machine's administrator has in /etc/ppp is neither
// read nor run. (Root's ~/.ppprc is read, if there is one, and counts less than what is written here.)
//
// A daemon with all powers of root covers it by itself, in a mount namespace of its own. A unit with
// CapabilityBoundingSet=CAP_NET_ADMIN and RestrictNamespaces=yes cannot, and need not be opened for it: systemd covers it,
// by TemporaryFileSystem=/etc/ppp. What the unit must allow is SystemCallFilter=@setuid: pppd drops and takes back its user id
// around every file it opens, and ends when it may not, even from root to root. configs/systemd/pppd.conf has both.
//
// What has come up is reported by script because pppd's log does not tell the name of a peer that authenticated with CHAP.
package pppd
