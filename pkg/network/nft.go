package network

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Names in our nftables table. None is a keyword of nft, so that operators can list them.
const (
	tableName     = "l2tpd"
	setMasquerade = "masqueraded"
	setClamp      = "mssclamped"
	setRouterless = "routerless"
)

// setNames lists the sets, in the order of their numbers, which begin with 1.
func setNames() []string { return []string{setMasquerade, setClamp, setRouterless} }

// An interface is in a set by its group (IFLA_GROUP), which is plainGroup and a bit for each set that it is in: to join and to leave
// costs no more than to come up and to go down. Interfaces that are in no set have the group that they had.
const (
	plainGroup = 1710
	bitsOfSets = 1<<3 - 1
)

// groupOf gives the group of an interface that is in the sets named; 0: it is in none.
func groupOf(sets []string) int {
	bits := 0
	for i, name := range setNames() {
		if slices.Contains(sets, name) {
			bits |= 1 << i
		}
	}
	if bits == 0 {
		return 0
	}
	return plainGroup + bits
}

// isOurGroup tells whether an interface of the group is in a set.
func isOurGroup(group int) bool { return group > plainGroup && group <= plainGroup+bitsOfSets }

// nft keeps one table that never changes. Without it a host works as long as no call asks for NAT, clamping or IPv6.
type nft struct {
	damaged func() // somebody else took something out of the table, or may have; called by a goroutine of its own
	conn    *nftables.Conn
	port    uint32 // netlink's, of conn
	watch   *watch
	built   bool // the table is there
}

// need makes the table, unless it is there. What an earlier daemon left in its place goes.
func (n *nft) need() error {
	if n.built {
		return nil
	}
	if err := n.open(); err != nil {
		return n.explain(err)
	}
	if err := n.build(); err != nil {
		return n.explain(err)
	}
	n.built = true
	return nil
}

func (n *nft) open() error {
	if n.conn != nil {
		return nil
	}
	port := nftables.WithSockOptions(func(c *netlink.Conn) error {
		n.port = c.PID()
		return nil
	})
	conn, err := nftables.New(nftables.AsLasting(), port)
	if err != nil {
		return err
	}
	n.watch, err = openWatch(unix.NETLINK_NETFILTER, []uint32{unix.NFNLGRP_NFTABLES}, n.concerns, n.damaged)
	if err != nil {
		return errors.Join(err, conn.CloseLasting())
	}
	if err := n.watch.listen(true); err != nil {
		return errors.Join(err, n.watch.close(), conn.CloseLasting())
	}
	n.conn = conn
	return nil
}

// concerns tells whether one of the messages says that another took something out of our table, as a firewall does that begins with
// "flush ruleset".
func (n *nft) concerns(messages []netlink.Message) bool {
	for _, m := range messages {
		if m.Header.PID == n.port || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
			continue
		}
		if slices.Contains(removals(), int(m.Header.Type&0xff)) && isOurTable(m.Data) {
			return true
		}
	}
	return false
}

// removals lists the messages that say that something was taken away.
func removals() []int {
	return []int{unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM}
}

// isOurTable reads the name of the table that a message is about, whatever of it is.
func isOurTable(message []byte) bool {
	const sizeofNfgenmsg, nameOfTable = 4, 1 // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE and so on
	if len(message) < sizeofNfgenmsg || message[0] != unix.NFPROTO_INET {
		return false
	}
	attributes, err := netlink.NewAttributeDecoder(message[sizeofNfgenmsg:])
	if err != nil {
		return false
	}
	for attributes.Next() {
		if attributes.Type() == nameOfTable {
			return attributes.String() == tableName
		}
	}
	return false
}

// repair makes the table anew.
func (n *nft) repair() error {
	n.built = false
	return n.need()
}

// close removes the table, unless an interface needs it.
func (n *nft) close(needed bool) error {
	if n.conn == nil {
		return nil
	}
	errs := []error{n.watch.close()}
	if n.built && !needed {
		n.conn.DelTable(table())
		if err := n.conn.Flush(); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, n.conn.CloseLasting())...)
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// set describes one of our sets. Its number is given, for the library would take it from an unguarded counter.
func set(name string) *nftables.Set {
	id := uint32(slices.Index(setNames(), name) + 1)
	return &nftables.Set{Table: table(), ID: id, Name: name, KeyType: nftables.TypeDevGroup, KeyByteOrder: binaryutil.NativeEndian}
}

// groupsIn lists the groups of which the interfaces are in a set.
func groupsIn(name string) (elements []nftables.SetElement) {
	bit := 1 << slices.Index(setNames(), name)
	for bits := 1; bits <= bitsOfSets; bits++ {
		if bits&bit != 0 {
			elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(plainGroup + bits))})
		}
	}
	return elements
}

// build makes the table as it is to be, in one transaction.
func (n *nft) build() error {
	n.conn.AddTable(table()) // or there would be none to delete
	n.conn.DelTable(table())
	t := n.conn.AddTable(table())
	for _, name := range setNames() {
		if err := n.conn.AddSet(set(name), groupsIn(name)); err != nil {
			return err
		}
	}
	nat := n.conn.AddChain(&nftables.Chain{
		Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	clamp := n.conn.AddChain(&nftables.Chain{
		Name: "forward", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityMangle,
	})
	input := n.conn.AddChain(&nftables.Chain{
		Name: "input", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: nat, Exprs: masquerade()})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: clamp, Exprs: clampMSS(expr.MetaKeyOIFGROUP)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: clamp, Exprs: clampMSS(expr.MetaKeyIIFGROUP)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: input, Exprs: dropICMPv6(routerAdvert)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: input, Exprs: dropICMPv6(redirect)})
	return n.conn.Flush()
}

// masquerade is: meta nfproto ipv4 oifgroup @masqueraded masquerade. Only IPv4 is translated (S168): an interface that has no
// IPv6 address but a link-local one offers nothing to translate to.
func masquerade() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Meta{Key: expr.MetaKeyOIFGROUP, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setMasquerade},
		&expr.Masq{},
	}
}

// clampMSS is: iifgroup @mssclamped tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu. The kernel takes the
// smaller of both directions' MTU and never raises the value (P164).
func clampMSS(direction expr.MetaKey) []expr.Any {
	const flagsOffset, synRst, syn, maxSegment = 13, 0x06, 0x02, 2
	return []expr.Any{
		&expr.Meta{Key: direction, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setClamp},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flagsOffset, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{synRst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
		&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: 1, Type: maxSegment, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}

// Types of ICMPv6 messages by which a router changes the routes of a host (RFC 4861, 4.2 and 4.5).
const (
	routerAdvert = 134
	redirect     = 137
)

// dropICMPv6 is: iifgroup @routerless icmpv6 type ... drop. The routes and addresses of a call are those of its configuration: a
// peer is never the box's router, whatever it advertises. The kernel's own switch, accept_ra, is out of reach: rtnetlink cannot
// set it, and a sandboxed daemon finds /proc/sys read-only.
func dropICMPv6(kind byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setRouterless},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// explain adds what a host without nf_tables needs.
func (n *nft) explain(err error) error {
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("nftables: %w; NAT, MSS clamping and IPv6 need the kernel's nf_tables, nft_masq and nft_rt_inet", err)
	}
	return fmt.Errorf("nftables: %w", err)
}
