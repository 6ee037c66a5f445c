package kernel

import (
	"net/netip"
	"time"
)

// TunnelSpec asks for a kernel tunnel on a connected UDP socket (spec of TUNNEL_CREATE, managed form).
// The kernel tunnel lives as long as the socket: closing the socket's last descriptor removes it.
type TunnelSpec struct {
	ID, PeerID uint16 // 1..65535
	FD         int    // connected UDP socket, stays the caller's
}

// SessionSpec asks for a kernel session with a connected PPPoX socket.
type SessionSpec struct {
	TunnelID, PeerTunnelID uint16 // 1..65535
	SessionID, PeerID      uint16 // 1..65535
	Sequencing             Sequencing
}

// Receiver gets what reaches user space of a session. Its methods are called by one goroutine for all sessions of a Kernel, so they must not
// block; before the call that makes the session has returned, too, but never after Close has.
type Receiver interface {
	// Frame takes a PPP frame that begins with the two octets of its protocol. It is valid until Frame returns, which may call Send.
	Frame(frame []byte)
	// Dead is told once when the session vanishes, or its channel or interface under it: by "ip link del", a PADT, which the kernel reads
	// too, or the hanging up of a line. Of PPPoE it is told at once after Attach or Bridge, and by the next Send before them.
	Dead(err error)
}

// Funcs is a Receiver of two functions, each of which may be nil.
type Funcs struct {
	OnFrame func(frame []byte)
	OnDead  func(err error)
}

// Frame implements Receiver.
func (f Funcs) Frame(frame []byte) {
	if f.OnFrame != nil {
		f.OnFrame(frame)
	}
}

// Dead implements Receiver.
func (f Funcs) Dead(err error) {
	if f.OnDead != nil {
		f.OnDead(err)
	}
}

// Sequencing are the data sequence number switches of a session. Reorder must be 20..50 ms when Send or Require is set:
// the kernel drops six frames for each lost one otherwise. With both off, 0 stands for 30 ms, because a peer that numbers
// its frames unasked is served by the same code.
type Sequencing struct {
	Send    bool          // number the frames we send
	Require bool          // drop received frames without numbers
	LNS     bool          // the peer must not switch our numbering: always true in the LNS role
	Reorder time.Duration // reorder time-out
}

// UnitSpec describes the PPP interface wanted for a session.
type UnitSpec struct {
	// Name is the interface's name, 1..15 octets; a "%d" in it stands for a number, the lowest that is free. Empty: the kernel's
	// pppN. An interface with a name of its own vanishes with the session; the others wait for another session of the same Name,
	// see Config.Units.
	Name string
	MTU  int // octets, 68..65535; 0: the kernel's 1500
}

// Unit is the PPP interface that a session got.
type Unit struct {
	Name  string
	Index int // interface index
	Unit  int // PPP unit number
}

// Stats are the kernel's counters of one session: packets and octets include the L2TP header and FF 03.
// Session.Stats leaves RxInvalid 0: only SESSION_GET has it.
type Stats struct {
	TxPackets, TxBytes, TxErrors              uint64
	RxPackets, RxBytes, RxErrors              uint64
	RxSeqDiscards, RxOutOfSequence, RxInvalid uint64
}

// NetworkProtocol is a network protocol whose traffic a unit passes or drops (PPPIOCSNPMODE).
type NetworkProtocol uint16

// Network protocols.
const (
	IPv4 NetworkProtocol = 0x0021
	IPv6 NetworkProtocol = 0x0057
)

// Features is what the probe found. Code asks for a feature, never for a version.
type Features struct {
	Release      string // uname release
	NewCore      bool   // the core rewritten in 6.11: several tunnels on one 5-tuple work
	Reinjects    bool   // GCHAN re-injects queued frames (6.1.190, 6.12.110)
	BelowMinimum bool   // older than 6.1.190 / 6.12.110: warn, Advice says why
	Advice       string
}

// TunnelInfo and SessionInfo are what the kernel says of an object (TUNNEL_GET, SESSION_GET), for show and adoption.
type TunnelInfo struct {
	ID, PeerID    uint16
	Local, Remote netip.AddrPort
	UDPChecksum   bool
}

// SessionInfo is the kernel's view of one session.
type SessionInfo struct {
	TunnelID, PeerTunnelID, SessionID, PeerID uint16
	Sequencing                                Sequencing
	Stats                                     Stats
}
