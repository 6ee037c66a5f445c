package pppoe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// cookieSlot is how long cookies have the same time in them. One is valid in its own slot and the next: 30 to 60 s.
	cookieSlot = 30 * time.Second
	cookieMAC  = 16
	cookieSize = 4 + 8 + cookieMAC
)

// cookies makes and checks AC-Cookies, of which nothing is remembered (RFC 2516, appendix A). One holds its time, a number that no
// other has, and a keyed hash of both, the interface and the client's address. So a PADR proves that its sender has received our
// PADO, and a PADR that is repeated is known by its number, whatever Host-Uniq a client takes.
type cookies struct {
	key       [32]byte
	name      string // of the interface
	lastGiven uint64
}

// cookieNumber tells cookies of one client apart.
type cookieNumber uint64

func slotOf(now time.Duration) uint32 { return uint32(now / cookieSlot) }

// make makes a new cookie for a client.
func (c *cookies) make(now time.Duration, client MAC) []byte {
	c.lastGiven++
	b := make([]byte, 0, cookieSize)
	b = binary.BigEndian.AppendUint32(b, slotOf(now))
	b = binary.BigEndian.AppendUint64(b, c.lastGiven)
	return append(b, c.sum(b, client)...)
}

// check says whether a cookie was made for that client lately.
func (c *cookies) check(now time.Duration, client MAC, cookie []byte) (cookieNumber, bool) {
	if len(cookie) != cookieSize {
		return 0, false
	}
	if age := slotOf(now) - binary.BigEndian.Uint32(cookie); age > 1 {
		return 0, false
	}
	head, sum := cookie[:cookieSize-cookieMAC], cookie[cookieSize-cookieMAC:]
	if !hmac.Equal(sum, c.sum(head, client)) {
		return 0, false
	}
	return cookieNumber(binary.BigEndian.Uint64(head[4:])), true
}

func (c *cookies) sum(head []byte, client MAC) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(head)
	h.Write(client[:])
	h.Write([]byte(c.name))
	return h.Sum(nil)[:cookieMAC]
}
