package network

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// settleTime is how long changes are collected before they are looked at.
const settleTime = 100 * time.Millisecond

// watch tells of changes that the kernel announces.
type watch struct {
	conn      *netlink.Conn
	groups    []uint32
	concerns  func([]netlink.Message) bool
	reader    sync.WaitGroup
	listening bool // guarded by the manager's lock
}

// outerGroups are those of changes of the outer network: routes, addresses and interfaces. The kernel says nothing of the IPv4 routes
// that go with their interface or address, so these are watched, too.
func outerGroups() []uint32 {
	return []uint32{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	}
}

// openWatch begins to watch the network namespace of the calling thread, as soon as listen says so: the messages of the groups of one
// netlink family. changed is called when messages came that are of concern, or were lost, by one goroutine, which ends with close.
func openWatch(family int, groups []uint32, concerns func([]netlink.Message) bool, changed func()) (*watch, error) {
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return nil, err
	}
	w := &watch{conn: conn, groups: groups, concerns: concerns}
	w.reader.Go(func() { w.read(changed) })
	return w, nil
}

// listen begins or ends to hear of changes. As long as no host route depends on them, those that thousands of our own interfaces make
// cost nothing.
func (w *watch) listen(on bool) error {
	if on == w.listening {
		return nil
	}
	join := w.conn.LeaveGroup
	if on {
		join = w.conn.JoinGroup
	}
	for _, group := range w.groups {
		if err := join(group); err != nil {
			return err
		}
	}
	w.listening = on
	return nil
}

// close ends watching, and waits for a call of changed that is under way.
func (w *watch) close() error {
	err := w.conn.Close()
	w.reader.Wait()
	return err
}

func (w *watch) read(changed func()) {
	for {
		collecting := false
		for {
			messages, err := w.conn.Receive()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			// What overflowed is lost, and what is left in the queue may concern others alone: it counts as a change.
			overflowed := errors.Is(err, unix.ENOBUFS)
			if err != nil && !overflowed {
				return
			}
			if collecting || !overflowed && !w.concerns(messages) {
				continue
			}
			collecting = true
			if w.conn.SetReadDeadline(time.Now().Add(settleTime)) != nil {
				return
			}
		}
		if w.conn.SetReadDeadline(time.Time{}) != nil {
			return
		}
		changed()
	}
}

// concernsOthers tells whether one of the messages is about more than our own routes, of which the host routes are a part: what
// we change ourselves must not wake us.
func concernsOthers(messages []netlink.Message) bool {
	const protocolOffset = 5 // of struct rtmsg
	for _, m := range messages {
		isRoute := m.Header.Type == unix.RTM_NEWROUTE || m.Header.Type == unix.RTM_DELROUTE
		if !isRoute || len(m.Data) <= protocolOffset || m.Data[protocolOffset] != Protocol {
			return true
		}
	}
	return false
}
