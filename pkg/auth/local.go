package auth

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Request is what a peer presented.
type Request struct {
	Method    ppp.AuthMethod // AuthPAP or AuthCHAPMD5; every other one is refused
	ID        uint8          // CHAP identifier
	Name      string
	Password  []byte // PAP
	Challenge []byte // CHAP, as sent by us
	Response  []byte // CHAP
}

// Users is a table of local users. It may be shared: Check changes nothing.
type Users struct{ users map[string]*policy.User }

// Local makes a table of users by name. The map must not change while the table is in use.
func Local(users map[string]*policy.User) Users { return Users{users: users} }

// decoy is the password that an unknown user is measured against; it is never right.
const decoy = "no such user...."

// Check says whether the request proves to know its user's password, and who that is; the user is nil otherwise. Names are
// compared exactly. A user without a password never passes. Unknown users cost the same work as known ones, and
// passwords and responses are compared in constant time, so that the time taken tells nothing (P130).
func (u Users) Check(r Request) (ok bool, user *policy.User) {
	user = u.users[r.Name]
	known := user != nil && !user.Password.Empty()
	password := []byte(decoy)
	if known {
		password = user.Password.Reveal()
	}
	switch r.Method {
	case ppp.AuthPAP:
		ok = equal(r.Password, password)
	case ppp.AuthCHAPMD5:
		want := ppp.CHAPMD5(r.ID, password, r.Challenge)
		ok = len(r.Challenge) > 0 && equal(r.Response, want[:])
	case ppp.AuthNone:
	}
	if !ok || !known {
		return false, nil
	}
	return true, user
}

// equal compares in a time that does not depend on where a and b differ, nor on which of them is longer.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
