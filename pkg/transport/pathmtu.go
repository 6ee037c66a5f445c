package transport

import "golang.org/x/sys/unix"

// PathMTU returns the largest IP packet that the path to the peer is known to carry, in octets; 0 when the kernel cannot say.
// It takes the socket's lock, so it is for the time before the tunnel carries data.
func (c *Conn) PathMTU() int {
	level, name := unix.IPPROTO_IP, unix.IP_MTU
	if c.socket.local.Addr().Is6() {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu := 0
	err := c.socket.control(func(fd int) error {
		var err error
		mtu, err = unix.GetsockoptInt(fd, level, name)
		return err
	})
	if err != nil {
		return 0
	}
	return mtu
}
