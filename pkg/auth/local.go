package auth

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Request is what a peer presented.
type Request struct {
	Method    ppp.AuthMethod // AuthNone and unknown ones are refused
	ID        uint8          // CHAP identifier
	Name      string         // of the user
	Presented string         // what the peer calls itself, which MS-CHAPv2 proves too; empty: Name
	Password  []byte         // PAP
	Challenge []byte         // CHAP, as sent by us
	Response  []byte         // CHAP: the whole value
}

// Result is a verdict. Success and Keys belong into ppp.CmdAuthResult; they are there with the MS-CHAPs and only when OK.
type Result struct {
	OK      bool
	User    *policy.User // nil unless OK
	Success string       // MS-CHAPv2: the authenticator response
	Keys    ppp.Keys     // what MPPE starts from
}

// Users is a table of local users. It may be shared: Check changes nothing.
type Users struct{ users map[string]*policy.User }

// Local makes a table of users by name. The map must not change while the table is in use.
func Local(users map[string]*policy.User) Users { return Users{users: users} }

// decoy is the password that an unknown user is measured against; it is never right.
const decoy = "no such user...."

// Check says whether the request proves to know its user's password, and who that is. Names are compared exactly, a domain before
// them included. A user without a password never passes. Unknown users cost the same work as known ones, and passwords and responses
// are compared in constant time, so that the time taken tells nothing (P130).
func (u Users) Check(r Request) Result {
	user := u.users[r.Name]
	known := user != nil && !user.Password.Empty()
	password := []byte(decoy)
	if known {
		password = user.Password.Reveal()
	}
	v := Result{User: user}
	switch r.Method {
	case ppp.AuthPAP:
		v.OK = equal(r.Password, password)
	case ppp.AuthCHAPMD5:
		want := ppp.CHAPMD5(r.ID, password, r.Challenge)
		v.OK = len(r.Challenge) > 0 && equal(r.Response, want[:])
	case ppp.AuthMSCHAPv1, ppp.AuthMSCHAPv2:
		want, ok := ppp.SolveMSCHAP(r.Method, cmp.Or(r.Presented, r.Name), password, r.Challenge, r.Response)
		v.OK = equal(ppp.NTResponse(r.Response), want.Response[:]) && ok
		v.Success, v.Keys = want.Success, want.Keys
	case ppp.AuthNone:
	}
	if !v.OK || !known {
		return Result{}
	}
	return v
}

// equal compares in a time that does not depend on where a and b differ, nor on which of them is longer.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
