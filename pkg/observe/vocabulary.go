package observe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Kind is an event that the daemon tells of by name: field L2TP_EVENT of the journal, "event" of JSON.
type Kind struct {
	Name string
	Mean string // what has happened
	Do   string // what to do about it; empty: nothing
}

// Vocabulary are all events that have a name, sorted by it.
func Vocabulary() []Kind {
	return []Kind{
		{"accm", "An LNS has told which characters an asynchronous line has to escape.", ""},
		{"accounting", "A record of what a session has used could not be kept, and is lost.", "Look at radius.spool and at the room on its file system."},
		{"anomaly", "A peer has done what the protocol does not foresee; nothing came of it.", ""},
		{"api-refused", "Somebody who may not has asked over the operator's socket.", "Members of api.group may look, root may act."},
		{
			"call-down", "A session has ended. L2TP_CAUSE says by what, L2TP_WHY in words, with those of the other side.",
			"l2tpctl explain session TUNNEL/SESSION tells how it came to that.",
		},
		{
			"call-failed", "A call has not come up. The stage at which it stopped is in the message.",
			"L2TP_WHY says what to mend. l2tpctl explain tells how long each step took.",
		},
		{"call-refused", "A peer has asked for a call and was refused.", "L2TP_WHY names the rule or the limit: server.mode, lns.accept, or max_sessions."},
		{"call-replaced", "A session makes way for a newer one of the same call or user.", ""},
		{"call-up", "A call carries packets from now on.", ""},
		{"capture", "Somebody begins or ends to capture what is exchanged with peers; L2TP_BY says who.", ""},
		{"control-dropped", "A control message was dropped, most often one that came twice or too late.", "Many of them come of a path that loses packets: l2tpctl tunnel show."},
		{"crossing", "Both ends have called each other at once; precedence says which call stays.", ""},
		{"debug", "Somebody begins or ends to have states or packets shown; L2TP_BY says who.", "l2tpctl debug list shows what is under way."},
		{"debug-left-out", "A debug has left records out: there were more than it shows in a second.", "Have fewer sessions or peers debugged, or states only."},
		{"debug-packet", "A debug shows a packet: L2TP_DEBUG is its number, L2TP_DIRECTION in or out.", ""},
		{"debug-state", "A debug shows that a state has changed: L2TP_DEBUG is its number, L2TP_FROM the old state, L2TP_TO the new one.", ""},
		{"dialling", "A tunnel is asked for.", ""},
		{"foreign-source", "Somebody sends packets for the tunnel of another peer.", "If it is the peer itself, its address has changed: the tunnel must come up anew."},
		{"frame-lost", "The kernel did not take a frame of PPP; it will be sent again.", ""},
		{"health-cleared", "A condition that operators should know of is over.", ""},
		{"health-raised", "Something is wrong that lasts: L2TP_CONDITION names it.", "L2TP_ADVICE says what to do; l2tpctl status shows all that is raised."},
		{"ipv6-forwarding", "Callers have IPv6, and this host does not forward it.", "sysctl -w net.ipv6.conf.all.forwarding=1"},
		{"line", "A subscriber has come.", ""},
		{"line-errors", "The LAC reports errors on a caller's line.", "Look at the modem and its line."},
		{"line-refused", "A subscriber has come whose line cannot be served.", "L2TP_WHY says what is in the way."},
		{"lns-failed", "An LNS has not taken a subscriber's call, and the next one is tried.", "L2TP_WHY has its words. Is it up, and is the secret the same?"},
		{"lns-locked", "An LNS does not serve, and gets no calls for lac.lockout.", "See lns-failed."},
		{"lns-recovered", "An LNS that was left alone serves again.", ""},
		{"malformed", "A packet that is not L2TP was dropped.", "Scanners do that. server.allow_from keeps them out."},
		{"metrics", "Metrics could not be collected.", "L2TP_ERROR has the reason."},
		{"no-credit", "Somebody who has not shown that he is where he says gets no more answers for now.", ""},
		{"no-such-session", "Data came for a session that does not exist.", ""},
		{"no-such-tunnel", "A packet came for a tunnel that does not exist: the peer does not know yet that it has ended.", ""},
		{"not-sccrq", "A control message came outside any tunnel that does not ask for one.", ""},
		{"operator", "An operator has had something done; L2TP_BY says who.", ""},
		{"placing", "A call is placed on a line, for an LNS.", ""},
		{"ppp", "PPP has met something odd and goes on.", ""},
		{"pppoe-down", "PPPoE is not served at an interface.", "L2TP_REASON says why. ip link set INTERFACE up"},
		{"pppoe-drop", "A packet of PPPoE discovery was dropped; the name ends in the reason.", "Many of one client: its rate is limited. See l2tpctl status --counters."},
		{"pppoe-receive", "PPPoE discovery cannot be received.", "L2TP_ERR has the kernel's words."},
		{"pppoe-refused", "A client has asked for a PPPoE session that it cannot have.", "max_sessions and max_sessions_per_mac of lac.access are the limits."},
		{"pppoe-send", "PPPoE discovery cannot be sent.", "L2TP_ERR has the kernel's words."},
		{"pppoe-up", "PPPoE is served at an interface.", ""},
		{"precedence-conflict", "Both ends of a call want theirs to stay, or neither does.", "Write precedence: in at one end, and out at the other."},
		{"prefix", "A caller's router asks for a prefix, or has got one.", ""},
		{"pressure", "More peers have begun tunnels than have finished them: new ones are answered when they ask again.", "If they are yours, raise server.max_half_open."},
		{"radius-answer", "A RADIUS server has answered with something that cannot be used.", "The message names the attribute."},
		{"radius-pool", "A RADIUS server names a pool that is not configured.", "Add the pool under pools, or mend the server."},
		{"ready", "The daemon is ready.", ""},
		{"reload", "The configuration was read again; one line for each difference.", ""},
		{"restarted", "A peer has been restarted and has a new tunnel in place of the old one.", ""},
		{"sccrq-refused", "A peer has asked for a tunnel and was refused.", "The message says why: allow_from, secrets, lns.accept, or a limit."},
		{"send-failed", "The host cannot send to a peer.", "Look at its route: ip route get ADDRESS"},
		{"session-changed", "A live session has got other parameters.", ""},
		{"session-up", "The two ends have agreed on a session. PPP follows.", ""},
		{"start", "The daemon starts.", ""},
		{"stop", "The daemon stops, and says so to every peer.", ""},
		{"stopped", "The daemon has stopped.", ""},
		{"tty-call", "A line is in use.", ""},
		{"tty-dial-failed", "A call could not be placed on a line.", "L2TP_WHY has the modem's words."},
		{"tty-down", "A line does not work; it is tried again.", "L2TP_WHY has the reason: the device, or the init script."},
		{"tty-free", "A line is free again.", ""},
		{"tty-hang-up", "A modem did not hang up as its script says.", "Look at hang_up of the line."},
		{"tty-lost", "The carrier of a line has gone.", ""},
		{"tty-ring", "A line rings.", ""},
		{"tty-up", "A line is served.", ""},
		{"tunnel-down", "A tunnel has ended, with all its sessions.", "L2TP_WHY has the peer's words. l2tpctl explain peer ADDRESS"},
		{"tunnel-up", "A tunnel is up.", ""},
		{"unchecked", "No RADIUS server could check the user of a live session again; it goes on.", "l2tpctl status shows which servers do not answer."},
		{"user-again", "A user has logged in who has a session already.", "duplicate_login of the template says what becomes of that."},
	}
}

// MessageID is what the journal knows an event by (sd_journal_send(3), MESSAGE_ID); the catalog explains it.
func MessageID(event string) string {
	if strings.HasPrefix(event, "pppoe-drop-") { // whose name ends in the reason
		event = "pppoe-drop"
	}
	sum := sha256.Sum256([]byte("l2tpd event " + event))
	return hex.EncodeToString(sum[:16])
}

// Catalog is the message catalog of the journal: "journalctl -x" shows its texts.
func Catalog() string {
	var b strings.Builder
	b.WriteString("# What l2tpd's events mean: journalctl -x -u l2tpd. Install it in /usr/lib/systemd/catalog, then: journalctl --update-catalog\n")
	for _, k := range Vocabulary() {
		subject, _, _ := strings.Cut(k.Mean, ".")
		fmt.Fprintf(&b, "\n-- %s\nSubject: %s\nDefined-By: l2tpd\n\nEvent %s. %s\n", MessageID(k.Name), subject, k.Name, k.Mean)
		if k.Do != "" {
			b.WriteString("\n" + k.Do + "\n")
		}
	}
	return b.String()
}
