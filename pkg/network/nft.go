package network

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
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

// nft keeps one table whose rules never change; an interface joins and leaves its sets. It opens nothing before it is needed:
// a host without nf_tables works as long as no call asks for NAT, clamping or IPv6.
type nft struct {
	conn    *nftables.Conn
	members map[string]map[string]bool // of each set, as the kernel has them; nil until read
	built   bool                       // the table is as this version makes it
}

// join makes an interface a member of one set more.
func (n *nft) join(name, set string) error {
	if err := n.load(); err != nil {
		return n.explain(err)
	}
	return n.ensure(name, set, true)
}

// member makes an interface a member of exactly the sets named.
func (n *nft) member(name string, sets ...string) error {
	if err := n.load(); err != nil {
		if len(sets) == 0 {
			return nil // what cannot be read has no members of ours
		}
		return n.explain(err)
	}
	var failures []error
	for _, set := range setNames() {
		failures = append(failures, n.ensure(name, set, slices.Contains(sets, set)))
	}
	return errors.Join(failures...)
}

// ensure adds a member that is missing, or deletes one that is not wanted.
func (n *nft) ensure(name, set string, want bool) error {
	if want == n.members[set][name] {
		return nil
	}
	if err := n.change(set, name, want); err != nil {
		return n.explain(fmt.Errorf("%s of %s: %w", set, name, err))
	}
	return nil
}

// retain drops every member that is not kept.
func (n *nft) retain(kept map[string]bool) error {
	if err := n.load(); err != nil {
		return nil // nothing there
	}
	for _, set := range setNames() {
		for name := range n.members[set] {
			if kept[name] {
				continue
			}
			if err := n.ensure(name, set, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// close removes the table when it has no members.
func (n *nft) close() error {
	if n.conn == nil {
		return nil
	}
	empty := true
	for _, members := range n.members {
		empty = empty && len(members) == 0
	}
	if n.built && empty {
		n.conn.DelTable(table())
		if err := n.conn.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Join(err, n.conn.CloseLasting())
		}
	}
	return n.conn.CloseLasting()
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// set describes one of our sets. Its number is given, for the library would take it from an unguarded counter.
func set(name string) *nftables.Set {
	id := uint32(slices.Index(setNames(), name) + 1)
	return &nftables.Set{Table: table(), ID: id, Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

func element(name string) []nftables.SetElement {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return []nftables.SetElement{{Key: key}}
}

// load reads the members that an earlier daemon left; no table means none.
func (n *nft) load() error {
	if n.members != nil {
		return nil
	}
	if n.conn == nil {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		n.conn = conn
	}
	members := make(map[string]map[string]bool)
	for _, name := range setNames() {
		members[name] = make(map[string]bool)
	}
	_, err := n.conn.ListTableOfFamily(tableName, nftables.TableFamilyINet)
	if errors.Is(err, os.ErrNotExist) {
		n.members = members
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range setNames() {
		_, err := n.conn.GetSetByName(table(), name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the table is an earlier version's
		}
		if err != nil {
			return err
		}
		elements, err := n.conn.GetSetElements(set(name))
		if err != nil {
			return err
		}
		for _, e := range elements {
			members[name][unix.ByteSliceToString(e.Key)] = true
		}
	}
	n.members = members
	return nil
}

// change adds or deletes one member. At the first change, and when an administrator flushed the rule set, the table is made,
// with all its members.
func (n *nft) change(set, name string, add bool) error {
	n.note(set, name, add)
	err := os.ErrNotExist
	if n.built {
		err = n.flushChange(set, name, add)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = n.build()
	}
	n.built = err == nil
	if err != nil {
		n.note(set, name, !add)
	}
	return err
}

// note keeps the books of the sets.
func (n *nft) note(set, name string, member bool) {
	if member {
		n.members[set][name] = true
	} else {
		delete(n.members[set], name)
	}
}

func (n *nft) flushChange(setName, name string, add bool) error {
	change := n.conn.SetDeleteElements
	if add {
		change = n.conn.SetAddElements
	}
	return errors.Join(change(set(setName), element(name)), n.conn.Flush())
}

// build makes the table as it is to be, in one transaction.
func (n *nft) build() error {
	t := n.conn.AddTable(table())
	for _, name := range setNames() {
		var elements []nftables.SetElement
		for m := range n.members[name] {
			elements = append(elements, element(m)...)
		}
		if err := n.conn.AddSet(set(name), nil); err != nil {
			return err
		}
		n.conn.FlushSet(set(name))
		if err := n.conn.SetAddElements(set(name), elements); err != nil {
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
	n.conn.FlushChain(nat)
	n.conn.FlushChain(clamp)
	n.conn.FlushChain(input)
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: nat, Exprs: masquerade()})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: clamp, Exprs: clampMSS(expr.MetaKeyOIFNAME)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: clamp, Exprs: clampMSS(expr.MetaKeyIIFNAME)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: input, Exprs: dropICMPv6(routerAdvert)})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: input, Exprs: dropICMPv6(redirect)})
	return n.conn.Flush()
}

// masquerade is: meta nfproto ipv4 oifname @masqueraded masquerade. Only IPv4 is translated (S168): an interface that has no
// IPv6 address but a link-local one offers nothing to translate to.
func masquerade() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: setMasquerade},
		&expr.Masq{},
	}
}

// clampMSS is: iifname @mssclamped tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu. The kernel takes the
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

// dropICMPv6 is: iifname @routerless icmpv6 type ... drop. The routes and addresses of a call are those of its configuration: a
// peer is never the box's router, whatever it advertises. The kernel's own switch, accept_ra, is out of reach: rtnetlink cannot
// set it, and a sandboxed daemon finds /proc/sys read-only.
func dropICMPv6(kind byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
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
