package wire

import "fmt"

// ValidateOptions relaxes Validate for one peer.
type ValidateOptions struct {
	// PRE13 is for peers older than draft 13: Packet Processing Delay (20) is recognised, and it and Receive Window
	// Size (10) belong to OCRQ, OCCN, ICRP and ICCN (P282).
	PRE13 bool
}

// Validate judges the content of a message after Unhide and keeps in m.AVPs what counts (P22-P37):
//
//   - unknown AVPs, AVPs with a reserved bit and AVPs of extensions that have only a name: removed, or a Problem with
//     error 8 if M is set (P22, P23, P25);
//   - known AVPs that do not belong into the message: removed and noted (P30); second copies too (P31);
//   - wrong lengths: removed and noted, or a Problem if M is set (P27, P28);
//   - mandatory AVPs that are missing, zero ids and a zero window: a Problem (P32, P35, P36).
//
// An M bit other than the RFC's is accepted (P29). The Protocol Version is left to the caller (P34). A message type that
// is not Known is a Problem if its M bit is set; else its AVPs are not looked at (P26).
//
// ignored holds the notes of Unhide and those made here, for a rate-limited log; they hold no secrets. The error is the
// first *Problem; every AVP is treated even then, so that the answer can be addressed.
func (m *Message) Validate(opts ValidateOptions) (ignored []string, err error) {
	ignored = m.Ignored[:len(m.Ignored):len(m.Ignored)]
	if !m.Type.Known() {
		if m.Mandatory {
			return ignored, &Problem{
				Kind: ProblemUnknownMessage, Code: ErrCodeUnknownMandatory, Message: m.Type,
				Text: fmt.Sprintf("unknown message type %d with M bit set", m.Type),
			}
		}
		return ignored, nil
	}
	v := validation{message: m.Type, opts: opts}
	kept := m.AVPs[:0]
	for _, a := range m.AVPs {
		if v.judge(a) {
			kept = append(kept, a)
		}
	}
	clear(m.AVPs[len(kept):])
	m.AVPs = kept
	v.checkMissing()
	ignored = append(ignored, v.notes...)
	if v.first != nil {
		return ignored, v.first
	}
	return ignored, nil
}

// validation is the state of one Validate.
type validation struct {
	message  MessageType
	opts     ValidateOptions
	seen     [len(catalogue)]bool
	seenLine [len(lineCatalogue)]bool
	notes    []string
	first    *Problem
}

// judge reports whether a stays in the message.
func (v *validation) judge(a AVP) bool {
	row := v.recognise(a)
	if row == nil {
		if a.Mandatory {
			v.blame(avpProblem(ProblemUnknownAVP, ErrCodeUnknownMandatory, v.message, a, "unknown AVP with M bit set"))
		}
		return false
	}
	switch {
	case !v.belongs(a, row):
		v.note(a, "does not belong here, ignored")
		return false
	case *v.mark(a) && !row.repeat:
		v.note(a, "second copy ignored")
		return false
	case a.Hidden:
		return v.drop(a, ProblemHidden, ErrCodeUnknownMandatory, "hidden value was not read")
	case !row.fits(len(a.Value)):
		return v.drop(a, ProblemLength, ErrCodeLength, fmt.Sprintf("wrong length %d", avpHeaderLen+len(a.Value)))
	}
	*v.mark(a) = true
	v.checkValue(a)
	return true
}

// recognise is the row of an AVP that this implementation understands, or nil.
func (v *validation) recognise(a AVP) *attribute {
	if a.Reserved {
		return nil
	}
	row := rowOf(a)
	delay13 := v.opts.PRE13 && a.Vendor == 0 && a.Type == AVPPacketProcDelay
	if row == nil || row.nameOnly && !delay13 {
		return nil
	}
	return row
}

// mark is where it is noted that the message holds a known AVP.
func (v *validation) mark(a AVP) *bool {
	if a.Vendor == VendorAccessLine {
		return &v.seenLine[lineIndex(LineAttribute(a.Type))]
	}
	return &v.seen[a.Type]
}

// belongs reports whether the message may carry the AVP.
func (v *validation) belongs(a AVP, row *attribute) bool {
	places := row.must | row.may
	if v.opts.PRE13 && a.Vendor == 0 && (a.Type == AVPPacketProcDelay || a.Type == AVPReceiveWindowSize) {
		places |= inWindow13
	}
	return places.has(v.message)
}

// fits reports whether a value of n octets has a length that the AVP can have. Between a Result Code alone and one with
// an error code there is nothing (P56).
func (row *attribute) fits(n int) bool {
	return n >= row.min && n <= row.max && (row.kind != kindResult || n != 3)
}

// checkValue blames values that no peer may send (P35, P36). An id of 0 in a StopCCN or CDN is only noted: a message
// that ends something cannot be refused. A session window of 0 means "numbers, no flow control" (P283).
func (v *validation) checkValue(a AVP) {
	if a.Vendor != 0 {
		return
	}
	id := a.Type == AVPAssignedTunnelID || a.Type == AVPAssignedSessionID
	window := a.Type == AVPReceiveWindowSize && !v.message.Session()
	if !id && !window || a.Value[0]|a.Value[1] != 0 {
		return
	}
	if v.message == MsgStopCCN || v.message == MsgCDN {
		v.note(a, "is 0")
		return
	}
	v.blame(avpProblem(ProblemValue, ErrCodeValue, v.message, a, "must not be 0"))
}

// checkMissing blames the first mandatory AVP that is absent (P32).
func (v *validation) checkMissing() {
	for t := range catalogue {
		row := &catalogue[t]
		if row.must.has(v.message) && !v.seen[t] {
			v.blame(avpProblem(ProblemMissing, ErrCodeValue, v.message, AVP{Type: AVPType(t)}, "mandatory AVP is missing"))
			return
		}
	}
}

// drop removes an AVP that is known and broken: a Problem if it is mandatory, a note if not.
func (v *validation) drop(a AVP, kind ProblemKind, code uint16, what string) bool {
	if a.Mandatory {
		v.blame(avpProblem(kind, code, v.message, a, what))
	} else {
		v.note(a, what+", ignored")
	}
	return false
}

func (v *validation) note(a AVP, what string) {
	v.notes = append(v.notes, avpName(v.message, a)+": "+what)
}

func (v *validation) blame(p *Problem) {
	if v.first == nil {
		v.first = p
	}
}
