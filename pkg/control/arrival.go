package control

import "slices"

// Arrival is a control message that came before its predecessor.
type Arrival struct {
	Ns      uint16
	Session SessionID
	Payload []byte
}

// verdict is what the channel thinks of an arrived Ns.
type verdict uint8

const (
	inOrder verdict = iota
	early
	duplicate
	outside
)

// judge places an Ns (RFC 2661, 5.8: half of the number space is the past).
func (c *channel) judge(ns uint16) verdict {
	switch d := ns - c.Nr; {
	case d == 0:
		return inOrder
	case d >= 0x8000:
		return duplicate
	case d < c.window:
		return early
	}
	return outside
}

// hold keeps a message that came before its predecessor, once. It copies payload.
func (c *ChannelRecord) hold(ns uint16, session SessionID, payload []byte) (fresh bool) {
	i, found := slices.BinarySearchFunc(c.Early, ns, func(a Arrival, ns uint16) int { return int(a.Ns-c.Nr) - int(ns-c.Nr) })
	if found {
		return false
	}
	c.Early = slices.Insert(c.Early, i, Arrival{Ns: ns, Session: session, Payload: slices.Clone(payload)})
	return true
}

// next takes the held message whose turn has come.
func (c *ChannelRecord) next() (a Arrival, ok bool) {
	if len(c.Early) == 0 || c.Early[0].Ns != c.Nr {
		return a, false
	}
	a = c.Early[0]
	c.Early = slices.Delete(c.Early, 0, 1)
	return a, true
}
