package control

import "strconv"

// String is the state's name in RFC 2661, 7.2.1.
func (s TunnelState) String() string {
	switch s {
	case TunnelIdle:
		return "idle"
	case TunnelWaitCtlReply:
		return "wait-ctl-reply"
	case TunnelWaitCtlConn:
		return "wait-ctl-conn"
	case TunnelEstablished:
		return "established"
	case TunnelClosing:
		return "closing"
	case TunnelDead:
		return "dead"
	}
	return unknown("tunnel state", uint8(s))
}

// String is the state's name in RFC 2661, 7.4 and 7.5.
func (s SessionState) String() string {
	switch s {
	case SessionIdle:
		return "idle"
	case SessionWaitTunnel:
		return "wait-tunnel"
	case SessionWaitReply:
		return "wait-reply"
	case SessionWaitConnect:
		return "wait-connect"
	case SessionWaitCSAnswer:
		return "wait-cs-answer"
	case SessionEstablished:
		return "established"
	}
	return unknown("session state", uint8(s))
}

// String names the role for people.
func (r Role) String() string {
	switch r {
	case LACIncoming:
		return "lac-incoming"
	case LNSIncoming:
		return "lns-incoming"
	case LACOutgoing:
		return "lac-outgoing"
	case LNSOutgoing:
		return "lns-outgoing"
	}
	return unknown("role", uint8(r))
}

// IsLAC reports whether the local side is the LAC of the session: it then times out with CDN 10, not 2/4 (P109).
func (r Role) IsLAC() bool { return r == LACIncoming || r == LACOutgoing }

// String names the cause for a log line or a counter label.
func (c Cause) String() string {
	switch c {
	case CauseNone:
		return "none"
	case CauseLocal:
		return "local"
	case CausePeer:
		return "peer"
	case CauseTimeout:
		return "timeout"
	case CauseAuth:
		return "authentication"
	case CauseProtocol:
		return "protocol"
	case CauseTieLost:
		return "tie-lost"
	case CauseTieEqual:
		return "tie-equal"
	case CauseTunnelClosed:
		return "tunnel-closed"
	case CauseIdle:
		return "idle"
	case CauseRefused:
		return "refused"
	}
	return unknown("cause", uint8(c))
}

// String names the outcome.
func (c Collision) String() string {
	switch c {
	case CollisionNone:
		return "none"
	case CollisionOurs:
		return "ours"
	case CollisionPeers:
		return "peers"
	case CollisionEqual:
		return "equal"
	}
	return unknown("collision", uint8(c))
}

func unknown(what string, v uint8) string { return what + " " + strconv.Itoa(int(v)) }
