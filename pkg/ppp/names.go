package ppp

import "fmt"

func (p Protocol) String() string {
	switch p {
	case ProtoIPv4:
		return "IPv4"
	case ProtoIPv6:
		return "IPv6"
	case ProtoMPPE:
		return "MPPE"
	case ProtoIPCP:
		return "IPCP"
	case ProtoIPV6CP:
		return "IPV6CP"
	case ProtoCCP:
		return "CCP"
	case ProtoLCP:
		return "LCP"
	case ProtoPAP:
		return "PAP"
	case ProtoCHAP:
		return "CHAP"
	}
	return fmt.Sprintf("protocol 0x%04x", uint16(p))
}

func (m AuthMethod) String() string {
	switch m {
	case AuthNone:
		return "none"
	case AuthPAP:
		return "PAP"
	case AuthCHAPMD5:
		return "CHAP-MD5"
	case AuthMSCHAPv1:
		return "MS-CHAPv1"
	case AuthMSCHAPv2:
		return "MS-CHAPv2"
	}
	return fmt.Sprintf("AuthMethod(%d)", uint8(m))
}

func (m IPv4Mode) String() string {
	switch m {
	case IPv4Off:
		return "off"
	case IPv4Own:
		return "own"
	case IPv4Request:
		return "request"
	case IPv4Unnumbered:
		return "unnumbered"
	}
	return fmt.Sprintf("IPv4Mode(%d)", uint8(m))
}

func (l Line) String() string {
	switch l {
	case LineTunnel:
		return "tunnel"
	case LinePPPoE:
		return "PPPoE"
	case LineAsync:
		return "async"
	}
	return fmt.Sprintf("Line(%d)", uint8(l))
}

func (m MPPEMode) String() string {
	switch m {
	case MPPEOff:
		return "off"
	case MPPEAllow:
		return "allow"
	case MPPERequire:
		return "require"
	}
	return fmt.Sprintf("MPPEMode(%d)", uint8(m))
}

func (p ProxyLCP) String() string {
	switch p {
	case ProxyLCPAccept:
		return "accept"
	case ProxyLCPMismatch:
		return "mismatch"
	case ProxyLCPRenegotiate:
		return "renegotiate"
	}
	return fmt.Sprintf("ProxyLCP(%d)", uint8(p))
}

func (p ProxyAuth) String() string {
	switch p {
	case ProxyAuthAccept:
		return "accept"
	case ProxyAuthRechallenge:
		return "rechallenge"
	case ProxyAuthRenegotiate:
		return "renegotiate"
	}
	return fmt.Sprintf("ProxyAuth(%d)", uint8(p))
}

func (t ProxyType) String() string {
	switch t {
	case ProxyTypeAbsent:
		return "absent"
	case ProxyTypeText:
		return "text"
	case ProxyTypeCHAP:
		return "CHAP"
	case ProxyTypePAP:
		return "PAP"
	case ProxyTypeNone:
		return "none"
	case ProxyTypeMSCHAPv1:
		return "MS-CHAPv1"
	}
	return fmt.Sprintf("ProxyType(%d)", uint16(t))
}

func (p Phase) String() string {
	switch p {
	case PhaseDead:
		return "dead"
	case PhaseEstablish:
		return "establish"
	case PhaseAuthenticate:
		return "authenticate"
	case PhaseNetwork:
		return "network"
	case PhaseTerminate:
		return "terminate"
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

func (s Stage) String() string {
	switch s {
	case StageLCP:
		return "LCP"
	case StageAuth:
		return "user authentication"
	case StageAddress:
		return "address"
	case StageUp:
		return "up"
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}

func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonLocal:
		return "closed here"
	case ReasonPeer:
		return "closed by the peer"
	case ReasonNoAnswer:
		return "no answer"
	case ReasonNoAgreement:
		return "no agreement on LCP options"
	case ReasonAuthRefused:
		return "the peer refuses to authenticate"
	case ReasonAuthFailed:
		return "authentication failed"
	case ReasonAuthTimeout:
		return "authentication timed out"
	case ReasonEcho:
		return "LCP echo unanswered"
	case ReasonIdle:
		return "idle timeout"
	case ReasonSessionTime:
		return "session timeout"
	case ReasonLoop:
		return "line looped back"
	case ReasonNoNetwork:
		return "no network protocol"
	case ReasonProtocolError:
		return "protocol error"
	case ReasonNoEncryption:
		return "no encryption"
	case ReasonDecryption:
		return "packets cannot be decrypted"
	case ReasonProxyLCP:
		return "LCP of the LAC not acceptable"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

func (s state) String() string {
	switch s {
	case stInitial:
		return "Initial"
	case stStarting:
		return "Starting"
	case stClosed:
		return "Closed"
	case stStopped:
		return "Stopped"
	case stClosing:
		return "Closing"
	case stStopping:
		return "Stopping"
	case stReqSent:
		return "Req-Sent"
	case stAckRcvd:
		return "Ack-Rcvd"
	case stAckSent:
		return "Ack-Sent"
	case stOpened:
		return "Opened"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

func (c code) String() string {
	switch c {
	case codeConfigureRequest:
		return "Configure-Request"
	case codeConfigureAck:
		return "Configure-Ack"
	case codeConfigureNak:
		return "Configure-Nak"
	case codeConfigureReject:
		return "Configure-Reject"
	case codeTerminateRequest:
		return "Terminate-Request"
	case codeTerminateAck:
		return "Terminate-Ack"
	case codeCodeReject:
		return "Code-Reject"
	case codeProtocolReject:
		return "Protocol-Reject"
	case codeEchoRequest:
		return "Echo-Request"
	case codeEchoReply:
		return "Echo-Reply"
	case codeDiscardRequest:
		return "Discard-Request"
	case codeResetRequest:
		return "Reset-Request"
	case codeResetAck:
		return "Reset-Ack"
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// String leaves the password out.
func (c Config) String() string {
	return fmt.Sprintf("ppp link: auth %v, answer %v as %q, MPPE %v, IPv4 %v, IPv6 %v", c.Auth, c.Answer, c.User, c.MPPE, c.IPv4, c.IPv6)
}

// GoString leaves the password out, too.
func (c Config) GoString() string { return c.String() }

// String leaves the credentials out.
func (e EvAuthRequest) String() string {
	return fmt.Sprintf("auth request %v id=%d name=%q", e.Method, e.ID, e.Name)
}

// GoString leaves the credentials out, too.
func (e EvAuthRequest) GoString() string { return e.String() }

// String tells only whether there are keys.
func (k Keys) String() string {
	if k.known() {
		return "keys"
	}
	return "no keys"
}

// GoString, too, tells only whether there are keys.
func (k Keys) GoString() string { return k.String() }

// String leaves the response and the keys out.
func (x MSCHAP) String() string { return "MS-CHAP solution with " + x.Keys.String() }

// GoString leaves them out, too.
func (x MSCHAP) GoString() string { return x.String() }

// String leaves the authenticator response out.
func (c CmdAuthResult) String() string {
	return fmt.Sprintf("auth result attempt=%d ok=%v message=%q", c.Attempt, c.OK, c.Message)
}

// GoString leaves it out, too.
func (c CmdAuthResult) GoString() string { return c.String() }

// String leaves the challenge, the response and the password out.
func (x Proxy) String() string {
	return fmt.Sprintf("proxy: LCP %v with %s and %s, auth %v of type %v, name %q",
		x.LCP, octets(len(x.LastSent)), octets(len(x.LastReceived)), x.Auth, x.Type, x.Name)
}

// GoString leaves them out, too.
func (x Proxy) GoString() string { return x.String() }
