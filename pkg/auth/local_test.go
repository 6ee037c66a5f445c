package auth

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func users() Users {
	return Local(map[string]*policy.User{
		"RouterA": {Name: "RouterA", Password: policy.NewSecret([]byte("PasswordA"))},
		"empty":   {Name: "empty"},
	})
}

// S160, RFC 1334.
func TestPAPNeedsTheExactPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"RouterA", "PasswordA", true},
		{"RouterA", "passworda", false},
		{"RouterA", "PasswordA ", false},
		{"RouterA", "", false},
		{"routera", "PasswordA", false},
		{"nobody", "PasswordA", false},
		{"nobody", decoy, false},
		{"nobody", "", false},
		{"empty", "", false},
		{"empty", decoy, false},
	} {
		v := users().Check(Request{Method: ppp.AuthPAP, Name: c.name, Password: []byte(c.password)})
		if v.OK != c.want || (v.User != nil) != v.OK || v.OK && v.User.Name != c.name {
			t.Errorf("%s/%s: %v %v", c.name, c.password, v.OK, v.User)
		}
	}
}

// RFC 1994, 4.1. The digest was computed with another tool: printf '\x07PasswordA0123456789abcdef' | md5sum.
func TestCHAPNeedsTheRightResponse(t *testing.T) {
	t.Parallel()
	challenge := []byte("0123456789abcdef")
	good, err := hex.DecodeString("c9faa9809ad94c47e2c26e4d5a2ba061")
	if err != nil {
		t.Fatal(err)
	}
	response := func(password string, challenge []byte) []byte {
		r := ppp.CHAPMD5(7, []byte(password), challenge)
		return r[:]
	}
	ask := func(change func(*Request)) bool {
		r := Request{Method: ppp.AuthCHAPMD5, ID: 7, Name: "RouterA", Challenge: challenge, Response: bytes.Clone(good)}
		change(&r)
		v := users().Check(r)
		if (v.User != nil) != v.OK || v.Success != "" || v.Keys.Send != nil {
			t.Errorf("%+v", v)
		}
		return v.OK
	}
	if !ask(func(*Request) {}) {
		t.Error("the right response is refused")
	}
	for name, change := range map[string]func(*Request){
		"id":               func(r *Request) { r.ID = 8 },
		"name":             func(r *Request) { r.Name = "routera" },
		"challenge":        func(r *Request) { r.Challenge = []byte("0123456789abcdeF") },
		"flipped bit":      func(r *Request) { r.Response[15] ^= 1 },
		"short response":   func(r *Request) { r.Response = r.Response[:15] },
		"long response":    func(r *Request) { r.Response = append(r.Response, 0) },
		"no response":      func(r *Request) { r.Response = nil },
		"no challenge":     func(r *Request) { r.Challenge, r.Response = nil, response("PasswordA", nil) },
		"PAP instead":      func(r *Request) { r.Method = ppp.AuthPAP },
		"no method":        func(r *Request) { r.Method = ppp.AuthNone },
		"unknown method":   func(r *Request) { r.Method = 99 },
		"decoy, unknown":   func(r *Request) { r.Name, r.Response = "nobody", response(decoy, challenge) },
		"decoy, no secret": func(r *Request) { r.Name, r.Response = "empty", response(decoy, challenge) },
		"empty, no secret": func(r *Request) { r.Name, r.Response = "empty", response("", challenge) },
	} {
		if ask(change) {
			t.Errorf("%s: let in", name)
		}
	}
}

// value is a Response of MS-CHAPv2 or v1 with this NT response.
func value(own, nt string) []byte {
	v := make([]byte, 49)
	for at, text := range map[int]string{0: own, 24: nt} {
		octets, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		copy(v[at:], octets)
	}
	return v
}

// V15, V17, V18, V20: the exchanges of RFC 2759, 9.2, RFC 3079, 3.5.3 and 2.5.3.
func TestMSCHAPNeedsTheRightResponse(t *testing.T) {
	t.Parallel()
	table := Local(map[string]*policy.User{
		"User":       {Name: "User", Password: policy.NewSecret([]byte("clientPass"))},
		`BIGCO\User`: {Name: `BIGCO\User`, Password: policy.NewSecret([]byte("clientPass"))},
		"empty":      {Name: "empty"},
		"other":      {Name: "other", Password: policy.NewSecret([]byte("other"))},
		"realmless":  {Name: "realmless", Password: policy.NewSecret([]byte("clientPass"))},
	})
	const peerChallenge = "21402324255e262a28295f2b3a337c7e"
	challenge, _ := hex.DecodeString("5b5d7c7d7b3f2f3e3c2c602132262628")
	v2 := value(peerChallenge, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")
	short, _ := hex.DecodeString("102db5df085d3041")
	solved, ok := ppp.SolveMSCHAP(ppp.AuthMSCHAPv1, "", []byte("clientPass"), short, make([]byte, 49))
	if !ok {
		t.Fatal("no solution")
	}
	v1 := value("", hex.EncodeToString(solved.Response[:]))
	for name, c := range map[string]struct {
		r       Request
		ok      bool
		success string
		send    string
	}{
		"v2": {
			Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: challenge, Response: v2},
			true,
			"S=407A5589115FD0D6209F510FE9C04566932CDA56", "8b7cdc149b993a1ba118cb153f56dccb",
		},
		"v2 with a domain": {
			Request{Method: ppp.AuthMSCHAPv2, Name: `BIGCO\User`, Challenge: challenge, Response: v2},
			true,
			"S=407A5589115FD0D6209F510FE9C04566932CDA56", "8b7cdc149b993a1ba118cb153f56dccb",
		},
		"v1": {Request{Method: ppp.AuthMSCHAPv1, Name: "User", Challenge: short, Response: v1}, true, "", "a8947850cfc0acc1d1789fb62ddcddb0"},

		"v2 with a name that is not the user's": { // as that of one whose realm is not part of it here
			Request{Method: ppp.AuthMSCHAPv2, Name: "realmless", Presented: "User", Challenge: challenge, Response: v2},
			true,
			"S=407A5589115FD0D6209F510FE9C04566932CDA56", "8b7cdc149b993a1ba118cb153f56dccb",
		},

		"the user's own name":  {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Presented: "realmless", Challenge: challenge, Response: v2}},
		"an unknown domain":    {r: Request{Method: ppp.AuthMSCHAPv2, Name: `OTHER\User`, Challenge: challenge, Response: v2}},
		"another user":         {r: Request{Method: ppp.AuthMSCHAPv2, Name: "other", Challenge: challenge, Response: v2}},
		"a flipped bit":        {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: challenge, Response: value(peerChallenge, "83309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")}},
		"another challenge":    {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: make([]byte, 16), Response: v2}},
		"a short challenge":    {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: challenge[:8], Response: v2}},
		"a short value":        {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: challenge, Response: v2[:48]}},
		"nothing":              {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User"}},
		"zeros for what fails": {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Response: make([]byte, 49)}},
		"v2 as v1":             {r: Request{Method: ppp.AuthMSCHAPv1, Name: "User", Challenge: challenge, Response: v2}},
		"v1 as v2":             {r: Request{Method: ppp.AuthMSCHAPv2, Name: "User", Challenge: short, Response: v1}},
		"without a password":   {r: Request{Method: ppp.AuthMSCHAPv2, Name: "empty", Challenge: challenge, Response: v2}},
	} {
		v := table.Check(c.r)
		if v.OK != c.ok || v.Success != c.success || hex.EncodeToString(v.Keys.Send) != c.send || (v.User != nil) != c.ok {
			t.Errorf("%s: %v, user %v, %q, %x", name, v.OK, v.User, v.Success, v.Keys.Send)
		}
		if c.ok && v.User.Name != c.r.Name {
			t.Errorf("%s: user %q", name, v.User.Name)
		}
	}
}

// The decoy of an unknown user opens nothing, with any method.
func TestMSCHAPDecoyIsNeverRight(t *testing.T) {
	t.Parallel()
	for _, m := range []ppp.AuthMethod{ppp.AuthMSCHAPv1, ppp.AuthMSCHAPv2} {
		for _, name := range []string{"nobody", "empty"} {
			for _, password := range []string{decoy, ""} {
				challenge := make([]byte, map[ppp.AuthMethod]int{ppp.AuthMSCHAPv1: 8, ppp.AuthMSCHAPv2: 16}[m])
				solved, ok := ppp.SolveMSCHAP(m, name, []byte(password), challenge, make([]byte, 49))
				response := value("", hex.EncodeToString(solved.Response[:]))
				if v := users().Check(Request{Method: m, Name: name, Challenge: challenge, Response: response}); !ok || v.OK || v.Keys.Send != nil {
					t.Errorf("%v as %s with %q: %v", m, name, password, v.OK)
				}
			}
		}
	}
}
