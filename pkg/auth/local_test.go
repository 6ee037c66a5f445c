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
		ok, u := users().Check(Request{Method: ppp.AuthPAP, Name: c.name, Password: []byte(c.password)})
		if ok != c.want || (u != nil) != ok || ok && u.Name != c.name {
			t.Errorf("%s/%s: %v %v", c.name, c.password, ok, u)
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
		ok, u := users().Check(r)
		if (u != nil) != ok {
			t.Errorf("user %v with %v", u, ok)
		}
		return ok
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
