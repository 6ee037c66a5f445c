package pppd

import (
	"fmt"
	"syscall"
	"testing"
)

// up stands for a line: a network protocol has come up.
const up = "UP"

// long: a table. The lines are those of pppd 2.4.9.
func TestTheEndIsToldInTheWordsOfPackagePPP(t *testing.T) {
	t.Parallel()
	const killed = -9 // as an exit code
	for _, c := range []struct {
		code  int
		asked bool
		lines []string
		want  string
	}{
		{code: 0, lines: []string{up, "LCP terminated by peer (User request)"}, want: "up: closed by the peer: User request"},
		{code: 16, lines: []string{up, "LCP terminated by peer", "Modem hangup"}, want: "up: closed by the peer"},
		{code: 10, lines: []string{"LCP terminated by peer (peer refused to authenticate)"}, want: "address: closed by the peer: peer refused to authenticate"},
		{code: 0, lines: []string{up}, want: "up: closed by the peer"},
		{code: 0, lines: []string{up, "IPCP terminated by peer"}, want: "up: no network protocol: IPCP terminated by peer"},
		{
			code: 0, lines: []string{"IPV6CP: timeout sending Config-Requests", up, "LCP terminated by peer (bye)"},
			want: "up: closed by the peer: bye",
		},
		{code: 10, lines: []string{"LCP: timeout sending Config-Requests", "Connection terminated."}, want: "LCP: no answer"},
		{code: 16, lines: []string{"LCP: timeout sending Config-Requests", "Modem hangup"}, want: "LCP: no answer"},
		{code: 10, lines: []string{"Connect: ppp0 <--> "}, want: "LCP: no agreement on LCP options"},
		{
			code: 10, lines: []string{"IPCP: timeout sending Config-Requests", "Connection terminated."},
			want: "address: no network protocol: IPCP: timeout sending Config-Requests",
		},
		{
			code: 10, lines: []string{"Could not determine local IP address"},
			want: "address: no network protocol: Could not determine local IP address",
		},
		{
			code: 10, lines: []string{"MPPE required but peer negotiation failed"},
			want: "address: no network protocol: MPPE required but peer negotiation failed",
		},
		{code: 11, lines: []string{"peer refused to authenticate: terminating link"}, want: "user authentication: the peer refuses to authenticate"},
		{code: 11, lines: []string{"Peer alice failed CHAP authentication"}, want: "user authentication: authentication failed"},
		{
			code: 11, lines: []string{"Peer is not authorized to use remote address failed CHAP authentication"},
			want: "user authentication: authentication failed",
		},
		{code: 11, lines: []string{"PAP peer authentication failed for LCP terminated by peer"}, want: "user authentication: authentication failed"},
		{
			code: 11, lines: []string{"no PAP secret found for LCP terminated by peer", "PAP peer authentication failed for x"},
			want: "user authentication: authentication failed",
		},
		{code: 11, lines: []string{up, "Peer alice failed CHAP authentication"}, want: "up: authentication failed"},
		{code: 11, want: "user authentication: authentication timed out"},
		{code: 12, lines: []string{up}, want: "up: idle timeout"},
		{code: 16, lines: []string{up, "Terminating connection due to lack of activity.", "Modem hangup"}, want: "up: idle timeout"},
		{code: 13, lines: []string{up, "Connect time expired"}, want: "up: session timeout"},
		{code: 15, lines: []string{up}, want: "up: LCP echo unanswered"},
		{
			code: 16, lines: []string{up, "No response to 3 echo-requests", "Serial link appears to be disconnected.", "Modem hangup"},
			want: "up: LCP echo unanswered",
		},
		{code: 17, lines: []string{"Serial line is looped back."}, want: "LCP: line looped back"},
		{
			code: 19, lines: []string{"CHAP authentication failed: looped back", "CHAP authentication failed"},
			want: "user authentication: authentication failed: the peer does not take our login",
		},
		{
			code: 19, lines: []string{"CHAP authentication timed out"},
			want: "user authentication: authentication timed out: the peer does not answer our login",
		},
		{code: 20, lines: []string{up}, want: "up: closed here: the traffic limit is reached"},
		{code: 5, lines: []string{up, "Terminating on signal 15"}, want: "up: closed here: pppd was told to end"},
		{code: 16, lines: []string{up, "Hangup (SIGHUP)", "Modem hangup"}, want: "up: closed here: pppd was told to end"},
		{code: 5, asked: true, lines: []string{up, "Terminating on signal 15"}, want: "up: closed here"},
		{code: 16, asked: true, lines: []string{up, "Terminating on signal 15", "Modem hangup"}, want: "up: closed here"},
		{code: 12, asked: true, lines: []string{up}, want: "up: idle timeout"},
		{code: 1, asked: true, want: "address: closed here"},
		{code: killed, asked: true, lines: []string{up}, want: "up: closed here"},
		{code: 16, lines: []string{up, "Modem hangup", "Connection terminated."}, want: "up: the session vanished under pppd"},
		{
			code: 1, lines: []string{"Plugin pppol2tp.so loaded.", "Couldn't rename interface ppp0 to x: File exists"},
			want: "LCP: pppd failed (exit code 1): Couldn't rename interface ppp0 to x: File exists",
		},
		{
			code: 2, lines: []string{"pppd: In file options: unrecognized option 'x'"},
			want: "LCP: pppd failed (exit code 2): pppd: In file options: unrecognized option 'x'",
		},
		{code: 4, want: "LCP: pppd failed (exit code 4)"},
		{code: killed, lines: []string{up}, want: "up: pppd was ended by signal 9 (killed)"},
	} {
		var track tracker
		for _, line := range c.lines {
			if line == up {
				track.up = true
			} else {
				track.see(line)
			}
		}
		status := syscall.WaitStatus(c.code << 8)
		if c.code < 0 {
			status = syscall.WaitStatus(-c.code)
		}
		d := track.end(status, c.asked)
		if got := d.String(); got != c.want {
			t.Errorf("exit %d, asked %v, %q:\n got %s\nwant %s", c.code, c.asked, c.lines, got, c.want)
		}
		if (d.Err != nil) != (d.Reason == 0) || d.Peer != (d.Reason == 2) {
			t.Errorf("exit %d, %q: %+v", c.code, c.lines, d)
		}
	}
}

// The reason is told once, with the line that has it; not when pppd was told to end, and not while another protocol may come up.
func TestReasonIsToldBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{[]string{"Connect: ppp0 <--> ", "Peer bob failed CHAP authentication", "Connection terminated."}, "[user authentication: authentication failed]"},
		{[]string{"LCP terminated by peer (bye)", "Modem hangup"}, "[address: closed by the peer: bye]"},
		{[]string{"IPCP: timeout sending Config-Requests"}, "[]"},
		{[]string{"Terminating on signal 15"}, "[]"},
	} {
		var told []string
		p := &Process{mask: func(s string) string { return s }, events: func(ev Event) {
			if ev, ok := ev.(EvEnding); ok {
				told = append(told, EvDown{EvLinkDown: ev.EvLinkDown}.String())
			}
		}}
		for _, line := range tt.lines {
			p.line(line)
		}
		if got := fmt.Sprint(told); got != tt.want {
			t.Errorf("%q: told %s, want %s", tt.lines, got, tt.want)
		}
	}
}
