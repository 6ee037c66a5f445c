// Package tty serves lines with modems and null modems, and ptys in their place: what comes before PPP and after it (S159).
//
// A line is opened, its modem initialised, and then it waits for one of two things: a subscriber who calls, or somebody who has it place
// a call. Either ends with an open file at the point where PPP begins, which is handed over; the line discipline is its new owner's
// matter. When that one has closed it and says so, the line is opened again, hung up, and waits anew.
//
// Where the first octets of PPP are what is waited for, no more of them are read than it takes to know them. What the tty receives
// between then and the change of its discipline is lost all the same, for it goes with the old discipline: most often the rest of the
// first Configure-Request, which the peer repeats.
//
// A line is locked by flock, which goes with the file to its new owner, and by TIOCEXCL against those without CAP_SYS_ADMIN. There is no
// UUCP lock file: it would outlive a daemon that was killed, and one with ProtectSystem=strict may not write it. A pty is not made
// exclusive, for that would outlast our file.
//
// Chat scripts are lists of expectations and answers in turn, close to those of pppd's chat: see Check.
package tty
