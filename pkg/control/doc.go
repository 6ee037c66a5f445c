// Package control runs one L2TPv2 control connection and its sessions: reliable delivery, tunnel authentication, the
// tunnel machine and the four session machines of RFC 2661. It is pure: time, bytes and entropy come in, datagrams,
// deadlines and events go out as values.
package control
