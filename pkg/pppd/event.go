package pppd

import (
	"fmt"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Event is something the owner of a process must know. The concrete types are the Ev… structs.
type Event interface{ event() }

// Events of a process, in the order in which they happened.
type (
	// EvLine is a line of pppd's log: printable text of at most 2048 octets, passwords masked. There may be many of them. pppd sends
	// the same to syslog by itself, and cannot be kept from it: a second copy is of use for debugging only.
	EvLine struct{ Text string }
	// EvNetworkUp: one NCP has opened; the interface has its addresses, is up and passes the protocol. User is who the peer
	// proved to be, empty if it had to prove nothing. The IPv6 addresses are link-local: their lower half is the interface
	// identifier. DNS is what the peer named for us, if it was asked.
	EvNetworkUp struct {
		Interface string
		User      string
		ppp.EvNetworkUp
	}
	// EvNetworkDown: one NCP has left Opened.
	EvNetworkDown struct{ ppp.EvNetworkDown }
	// EvEnding: pppd has said why it is about to end, unless it was told to. That may come long before EvDown, and the peer's own goodbye in between.
	EvEnding struct{ ppp.EvLinkDown }
	// EvDown: the process has ended and everything it had is gone. Sent once, last. Err is set when pppd could not do its work,
	// or was killed: Reason is then ppp.ReasonNone, and Err's text is what there is to say.
	EvDown struct {
		ppp.EvLinkDown
		Err error
	}
)

func (EvLine) event()        {}
func (EvNetworkUp) event()   {}
func (EvNetworkDown) event() {}
func (EvEnding) event()      {}
func (EvDown) event()        {}

// String is one line for logs and tests.
func (e EvDown) String() string {
	if e.Err != nil {
		return fmt.Sprintf("%v: %v", e.Stage, e.Err)
	}
	text := fmt.Sprintf("%v: %v", e.Stage, e.Reason)
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}
