package ppp

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc3079"
)

const (
	// msValueSize is the length of an MS-CHAP Response value (RFC 2433, 7; RFC 2759, 4): 24 octets, of which MS-CHAPv2 uses 16
	// for the peer's challenge and MS-CHAPv1 all for the LAN Manager response, the NT response, and a flag.
	msValueSize = 49
	ntAt        = 24
	ntSize      = 24
	// msv1ChallengeSize and msv2ChallengeSize are the lengths of a challenge, in v2 of either side's.
	msv1ChallengeSize = 8
	msv2ChallengeSize = 16
	// successSize is the length of an authenticator response: "S=" and 40 digits (RFC 2759, 5).
	successSize = 42
	// KeySize is the length of an MPPE key of 128 bits, in octets.
	KeySize = 16
)

// Keys are what MPPE starts from, one key of KeySize octets for each direction, as we see it; empty: not known. After MS-CHAPv2 they
// are the master session keys of RFC 3079, 3.3, which MS-MPPE-Send-Key and MS-MPPE-Recv-Key carry (RFC 2548, 2.4.2); after
// MS-CHAPv1 both are StartKeyMSCHAPv1.
type Keys struct{ Send, Recv []byte }

// known says whether there is a usable key for both directions.
func (k Keys) known() bool { return len(k.Send) == KeySize && len(k.Recv) == KeySize }

// MSCHAP is what a password makes of one MS-CHAP exchange, for the authenticator.
type MSCHAP struct {
	Response [ntSize]byte // the NT response that the peer must give
	Success  string       // MS-CHAPv2: the authenticator response, for CmdAuthResult
	Keys     Keys
}

// SolveMSCHAP computes what a Response value of the peer with this name must hold, and what a verdict on it needs. It is false for
// another method, and when the challenge or the value has not the method's length. The LAN Manager part is ignored (P259).
func SolveMSCHAP(m AuthMethod, name string, password, challenge, value []byte) (MSCHAP, bool) {
	if !m.microsoft() || len(challenge) != m.challengeSize() || len(value) != msValueSize {
		return MSCHAP{}, false
	}
	password = unicodePassword(password)
	if m == AuthMSCHAPv1 {
		return solveMSCHAPv1(password, challenge)
	}
	user, own := []byte(account(name)), value[:msv2ChallengeSize]
	var x MSCHAP
	nt, err := rfc2759.GenerateNTResponse(challenge, own, user, password)
	if err != nil {
		return MSCHAP{}, false
	}
	copy(x.Response[:], nt)
	if x.Success, err = rfc2759.GenerateAuthenticatorResponse(challenge, own, nt, user, password); err != nil {
		return MSCHAP{}, false
	}
	if x.Keys.Send, err = rfc3079.MakeKey(nt, password, true); err != nil {
		return MSCHAP{}, false
	}
	x.Keys.Recv, err = rfc3079.MakeKey(nt, password, false)
	return x, err == nil
}

func solveMSCHAPv1(password, challenge []byte) (MSCHAP, bool) {
	wide, err := rfc2759.ToUTF16(password)
	if err != nil {
		return MSCHAP{}, false
	}
	hash := rfc2759.NTPasswordHash(wide)
	var x MSCHAP
	copy(x.Response[:], rfc2759.ChallengeResponse(challenge, hash))
	key := StartKeyMSCHAPv1(rfc2759.NTPasswordHash(hash), challenge)
	x.Keys = Keys{Send: key, Recv: bytes.Clone(key)}
	return x, true
}

// StartKeyMSCHAPv1 is the key that MPPE with 128 bits starts from in both directions after MS-CHAPv1 (RFC 3079, 2.3). hashHash is the
// hash of the hash of the password, the second field of MS-CHAP-MPPE-Keys (RFC 2548, 2.4.1).
func StartKeyMSCHAPv1(hashHash, challenge []byte) []byte {
	h := sha1.New()
	h.Write(hashHash)
	h.Write(hashHash)
	h.Write(challenge)
	return h.Sum(nil)[:KeySize]
}

// NTResponse is the part of an MS-CHAP Response value that proves the password; nil when the value is not as long as one is.
func NTResponse(value []byte) []byte {
	if len(value) != msValueSize {
		return nil
	}
	return value[ntAt : ntAt+ntSize]
}

// account is the name that enters the hash: without the domain that may stand before it (RFC 2759, 4 and 8.2).
func account(name string) string { return name[strings.LastIndexByte(name, '\\')+1:] }

// unicodePassword makes valid UTF-8 of a password, because the hash is taken of its UTF-16 form. Interop: octets that are no UTF-8
// count as one character each, which is what pppd makes of every octet.
func unicodePassword(password []byte) []byte {
	if utf8.Valid(password) {
		return password
	}
	wide := make([]rune, 0, len(password))
	for _, b := range password {
		wide = append(wide, rune(b))
	}
	return []byte(string(wide))
}

// authenticatorResponse cuts "S=" and 40 digits off the front of a Success message; case does not matter.
func authenticatorResponse(text string) (s, rest string, ok bool) {
	if len(text) < successSize || text[:2] != "S=" {
		return "", text, false
	}
	for _, c := range []byte(text[2:successSize]) {
		if !strings.ContainsRune("0123456789ABCDEFabcdef", rune(c)) {
			return "", text, false
		}
	}
	return "S=" + strings.ToUpper(text[2:successSize]), text[successSize:], true
}

// msErrorDenied is the error code for a wrong name or password.
const msErrorDenied = 691

// msErrors are the error codes of a Failure (RFC 2433, 10; RFC 2759, 6).
var msErrors = map[uint16]string{
	646: "restricted logon hours", 647: "account disabled", 648: "password expired", 649: "no dial-in permission",
	msErrorDenied: "authentication failure", 709: "error changing the password",
}

// MSCHAPError takes the message of an MS-CHAP Failure apart, "E=691 R=0 C=... V=3 M=text", which is also the form of MS-CHAP-Error
// (RFC 2548, 2.1.5). It is false when there is no error code in it.
func MSCHAPError(text string) (code uint16, message string, ok bool) {
	fields, message, _ := strings.Cut(text, "M=")
	for _, f := range strings.Fields(fields) {
		if v, found := strings.CutPrefix(f, "E="); found {
			n, err := strconv.ParseUint(v, 10, 16)
			return uint16(n), message, err == nil
		}
	}
	return 0, "", false
}

// explainFailure is the other side's Failure in words.
func explainFailure(text string) string {
	code, message, ok := MSCHAPError(text)
	if !ok {
		return text
	}
	what := fmt.Sprintf("error %d", code)
	if name := msErrors[code]; name != "" {
		what += ", " + name
	}
	if message != "" {
		what += ": " + message
	}
	return what
}

// microsoft says whether m is one of the MS-CHAPs.
func (m AuthMethod) microsoft() bool { return m == AuthMSCHAPv1 || m == AuthMSCHAPv2 }

// challengeSize is the length of our challenges; 0: the method has none.
func (m AuthMethod) challengeSize() int {
	switch m {
	case AuthCHAPMD5:
		return md5ChallengeSize
	case AuthMSCHAPv1:
		return msv1ChallengeSize
	case AuthMSCHAPv2:
		return msv2ChallengeSize
	case AuthNone, AuthPAP:
	}
	return 0
}

// responseSize is the length of a Response value; 0: the method has none.
func (m AuthMethod) responseSize() int {
	switch m {
	case AuthCHAPMD5:
		return md5ChallengeSize
	case AuthMSCHAPv1, AuthMSCHAPv2:
		return msValueSize
	case AuthNone, AuthPAP:
	}
	return 0
}
