package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The retry of RTM_NEWLINK, which answers EBUSY whenever any process holds the PPP driver's mutex.
const (
	linkRetryFirst = 100 * time.Microsecond
	linkRetryMax   = 16 * time.Millisecond
	linkRetryFor   = 10 * time.Second
)

// netlinkConfig has room for every answer, of which the kernel sends 32 KiB at a time at most (netlink_recvmsg): otherwise each is looked
// at once more, for its size.
var netlinkConfig = &netlink.Config{MessageBufferSize: 32 << 10}

// l2tpClient talks to the L2TP generic netlink family. One connection serves everybody: the kernel serialises the family's
// requests anyway. Safe for concurrent use.
type l2tpClient struct {
	conn   *genetlink.Conn
	family uint16
	log    *slog.Logger
}

// openL2TP finds the family, which loads its module where that is allowed.
func openL2TP(log *slog.Logger) (*l2tpClient, error) {
	conn, err := genetlink.Dial(netlinkConfig)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", edge(err))
	}
	family, err := conn.GetFamily(familyName)
	if err != nil {
		_ = conn.Close()
		return nil, &UnavailableError{
			What: "l2tp_netlink is not available",
			Advice: "modprobe l2tp_ppp; if there is no such module install linux-modules-extra (Ubuntu) or " +
				"kernel-modules-extra (Fedora, RHEL), and look for \"blacklist l2tp\" below /etc/modprobe.d",
			Err: edge(err),
		}
	}
	return &l2tpClient{conn: conn, family: family.ID, log: log}, nil
}

func (c *l2tpClient) close() error { return c.conn.Close() }

// do sends one request. A GET has no acknowledgement beside its answer.
func (c *l2tpClient) do(command uint8, flags netlink.HeaderFlags, attrs []byte) ([]genetlink.Message, error) {
	m := genetlink.Message{
		Header: genetlink.Header{Command: command, Version: familyVersion},
		Data:   attrs,
	}
	answers, err := c.conn.Execute(m, c.family, netlink.Request|flags)
	if err != nil {
		return nil, edge(err)
	}
	return answers, nil
}

// get sends a GET and gives the attributes of its one answer.
func (c *l2tpClient) get(command uint8, attrs []byte) ([]byte, error) {
	answers, err := c.do(command, 0, attrs)
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("%d answers to one request", len(answers))
	}
	return answers[0].Data, nil
}

// createTunnel makes a tunnel, or adopts the one that exists although the kernel reported an error: before 6.1.192 and
// 6.12.109 the failure to notify a third party is returned for a tunnel that was made.
func (c *l2tpClient) createTunnel(s TunnelSpec) error {
	attrs, err := tunnelCreateAttributes(s)
	if err != nil {
		return err
	}
	_, err = c.do(cmdTunnelCreate, netlink.Acknowledge, attrs)
	if err == nil || refusal(err) {
		return err
	}
	info, getErr := c.tunnel(s.ID)
	if getErr != nil || info.PeerID != s.PeerID || !connects(s.FD, info) {
		return err
	}
	c.log.Warn("kernel tunnel adopted", slog.Int("tunnel", int(s.ID)), slog.Any("error", err))
	return nil
}

// refusal reports whether an errno of TUNNEL_CREATE says for certain that nothing was made.
func refusal(err error) bool {
	for _, errno := range []unix.Errno{
		unix.EEXIST, unix.EINVAL, unix.EBADF, unix.EBUSY, unix.EPERM, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.ENOTSOCK,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// connects reports whether a tunnel uses the addresses of a socket.
func connects(fd int, info TunnelInfo) bool {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	return addrPort(local) == info.Local && addrPort(remote) == info.Remote
}

// addrPort gives the address of a UDP socket without its zone, which netlink does not tell.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func (c *l2tpClient) tunnel(id uint16) (TunnelInfo, error) {
	attrs, err := tunnelGetAttributes(id)
	if err != nil {
		return TunnelInfo{}, err
	}
	answer, err := c.get(cmdTunnelGet, attrs)
	if err != nil {
		return TunnelInfo{}, err
	}
	return parseTunnel(answer)
}

func (c *l2tpClient) session(tunnel, session uint16) (SessionInfo, error) {
	attrs, err := sessionGetAttributes(tunnel, session)
	if err != nil {
		return SessionInfo{}, err
	}
	answer, err := c.get(cmdSessionGet, attrs)
	if err != nil {
		return SessionInfo{}, err
	}
	return parseSession(answer)
}

// linkClient makes PPP interfaces by rtnetlink. Safe for concurrent use.
type linkClient struct {
	linkConn
	meter linkConn // for counters alone, which do not wait behind interfaces that are being made
	query int      // a socket for interface ioctls in the same namespace
}

// linkConn is a socket of rtnetlink.
type linkConn struct {
	conn *netlink.Conn
	busy chan struct{} // full while conn is used: with a mutex all that wait for the kernel would spin at first
}

func openLinks() (*linkClient, error) {
	conn, err := dialLinks()
	if err != nil {
		return nil, err
	}
	meter, err := dialLinks()
	if err != nil {
		return nil, errors.Join(err, conn.conn.Close())
	}
	query, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open interface query socket: %w", err), conn.conn.Close(), meter.conn.Close())
	}
	return &linkClient{linkConn: conn, meter: meter, query: query}, nil
}

func dialLinks() (linkConn, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, netlinkConfig)
	if err != nil {
		return linkConn{}, fmt.Errorf("open rtnetlink: %w", edge(err))
	}
	// Without strict checks a dump is one of everything.
	err = errors.Join(conn.SetOption(netlink.ExtendedAcknowledge, true), conn.SetOption(netlink.GetStrictCheck, true))
	if err != nil {
		_ = conn.Close()
		return linkConn{}, fmt.Errorf("open rtnetlink: %w", edge(err))
	}
	return linkConn{conn: conn, busy: make(chan struct{}, 1)}, nil
}

func (c *linkClient) close() error {
	return errors.Join(c.conn.Close(), c.meter.conn.Close(), unix.Close(c.query))
}

func (c *linkConn) execute(m netlink.Message) ([]netlink.Message, error) {
	c.busy <- struct{}{}
	defer func() { <-c.busy }()
	return c.conn.Execute(m)
}

// create turns an unattached /dev/ppp file into the owner of a new interface.
func (c *linkClient) create(fd int, u UnitSpec) error {
	body, err := newLinkRequest(fd, u)
	if err != nil {
		return err
	}
	m := netlink.Message{
		Header: netlink.Header{
			Type:  unix.RTM_NEWLINK,
			Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
		},
		Data: body,
	}
	deadline := time.Now().Add(linkRetryFor)
	for pause := linkRetryFirst; ; pause = min(2*pause, linkRetryMax) {
		_, err := c.execute(m)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return edge(err)
		}
		time.Sleep(pause)
	}
}

// set takes an interface down and sets its group, and its MTU unless that is 0.
func (c *linkClient) set(index, group, mtu int) error {
	body, err := setLinkRequest(index, group, mtu)
	if err != nil {
		return err
	}
	_, err = c.execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_SETLINK, Flags: netlink.Request | netlink.Acknowledge},
		Data:   body,
	})
	return edge(err)
}

// remove deletes an interface. One that is gone is no error.
func (c *linkClient) remove(index int) error {
	_, err := c.execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_DELLINK, Flags: netlink.Request | netlink.Acknowledge}, Data: ifInfo(index),
	})
	if err = edge(err); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// changed looks for what another session must not inherit. It says what that is, or nothing.
func (c *linkClient) changed(u Unit) (string, error) {
	body, err := getLinkRequest(u.Index)
	if err != nil {
		return "", err
	}
	answers, err := c.execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: body,
	})
	if err != nil {
		return "", edge(err)
	}
	for _, m := range answers {
		if what, err := parseLink(m.Data, u.Name); what != "" || err != nil {
			return what, err
		}
	}
	answers, err = c.execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETADDR, Flags: netlink.Request | netlink.Dump}, Data: getAddressesRequest(u.Index),
	})
	if err != nil {
		return "", edge(err)
	}
	if len(answers) > 0 {
		return "its addresses", nil
	}
	return "", nil
}

// stats reads the counters of an interface.
func (c *linkClient) stats(index int) (Stats, error) {
	answers, err := c.meter.execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: ifInfo(index),
	})
	if err != nil {
		return Stats{}, edge(err)
	}
	if len(answers) == 0 {
		return Stats{}, errNoCounters
	}
	return parseLinkStats(answers[0].Data)
}

// index asks for an interface by name. It does not dump: that is quadratic with thousands of interfaces.
func (c *linkClient) index(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.query, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, edge(err)
	}
	return int(ifr.Uint32()), nil
}

// name gives the name of an interface. To ask for the index of a name that is not there costs two runs of modprobe, for the kernel looks
// for a module of that name; this does not.
func (c *linkClient) name(index int) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	ifr.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(c.query, unix.SIOCGIFNAME, ifr); err != nil {
		return "", edge(err)
	}
	return ifr.Name(), nil
}
