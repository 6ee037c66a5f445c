package policy

import "fmt"

// String gives the word of the configuration: none, lac, lns, both.
func (m Mode) String() string {
	switch m {
	case ModeNone:
		return "none"
	case ModeLAC:
		return "lac"
	case ModeLNS:
		return "lns"
	case ModeBoth:
		return "both"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// String gives the word of the configuration: on-request, always, startup.
func (s Sequencing) String() string {
	switch s {
	case SequencingOnRequest:
		return "on-request"
	case SequencingAlways:
		return "always"
	case SequencingStartup:
		return "startup"
	}
	return fmt.Sprintf("Sequencing(%d)", uint8(s))
}

// String gives the word of the configuration: l2tpd, pppd.
func (e Engine) String() string {
	switch e {
	case EngineOwn:
		return "l2tpd"
	case EnginePppd:
		return "pppd"
	}
	return fmt.Sprintf("Engine(%d)", uint8(e))
}

// String gives the word of the configuration: allow, replace, refuse.
func (d Duplicate) String() string {
	switch d {
	case DuplicateAllow:
		return "allow"
	case DuplicateReplace:
		return "replace"
	case DuplicateRefuse:
		return "refuse"
	}
	return fmt.Sprintf("Duplicate(%d)", uint8(d))
}

// String gives the word of the configuration: in, out.
func (p Precedence) String() string {
	switch p {
	case PrecedenceIn:
		return "in"
	case PrecedenceOut:
		return "out"
	}
	return fmt.Sprintf("Precedence(%d)", uint8(p))
}

// String gives the word of the configuration: virtual, isdn, async.
func (t CallType) String() string {
	switch t {
	case CallVirtual:
		return "virtual"
	case CallISDN:
		return "isdn"
	case CallAsync:
		return "async"
	}
	return fmt.Sprintf("CallType(%d)", uint8(t))
}

// String gives the word of the configuration: icrq, ocrq.
func (m Method) String() string {
	switch m {
	case MethodICRQ:
		return "icrq"
	case MethodOCRQ:
		return "ocrq"
	}
	return fmt.Sprintf("Method(%d)", uint8(m))
}

// MarshalText gives String.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// MarshalText gives String.
func (s Sequencing) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText gives String.
func (p Precedence) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalText gives String.
func (t CallType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText gives String.
func (m Method) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
