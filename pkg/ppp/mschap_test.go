package ppp

import (
	"bytes"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc3079"
)

// The exchange of RFC 2759, 9.2.
const (
	sampleUser     = "User"
	samplePassword = "clientPass"
)

var (
	sampleChallenge     = opts("5b5d7c7d7b3f2f3e3c2c602132262628")
	samplePeerChallenge = opts("21402324255e262a28295f2b3a337c7e")
	sampleNT            = opts("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")
	sampleValue         = append(append(append(bytes.Clone(samplePeerChallenge), make([]byte, 8)...), sampleNT...), 0)
)

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if want = strings.ReplaceAll(want, " ", ""); hex.EncodeToString(got) != want {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}

// hashes are the hash of a password and the hash of that.
func hashes(t *testing.T, password string) (hash, hashHash []byte) {
	t.Helper()
	wide, err := rfc2759.ToUTF16([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	hash = rfc2759.NTPasswordHash(wide)
	return hash, rfc2759.NTPasswordHash(hash)
}

// V15
func TestMSCHAPv2Vector(t *testing.T) {
	t.Parallel()
	wantHex(t, "challenge", rfc2759.ChallengeHash(samplePeerChallenge, sampleChallenge, []byte(sampleUser)), "d02e4386bce91226")
	hash, _ := hashes(t, samplePassword)
	wantHex(t, "hash", hash, "44ebba8d5312b8d611474411f56989ae")
	x, ok := SolveMSCHAP(AuthMSCHAPv2, sampleUser, []byte(samplePassword), sampleChallenge, sampleValue)
	if !ok || x.Success != "S=407A5589115FD0D6209F510FE9C04566932CDA56" {
		t.Errorf("%v, authenticator response %s", ok, x.Success)
	}
	wantHex(t, "NT response", x.Response[:], hex.EncodeToString(sampleNT))
	if !bytes.Equal(NTResponse(sampleValue), sampleNT) {
		t.Errorf("NT response in the value: %x", NTResponse(sampleValue))
	}
}

// V16: seven octets of a hash become the eight of a key.
func TestDESKeyExpansionVector(t *testing.T) {
	t.Parallel()
	hash, _ := hashes(t, "MyPw")
	wantHex(t, "hash", hash, "fc156af7edcd6c0edde3337d427f4eac")
	clear := []byte("8 octets")
	for i, key := range []string{"fd0b5b5e7f6e34d9", "0e6e796737ea08fe"} {
		wantHex(t, "cipher", rfc2759.DESCrypt(hash[7*i:7*i+7], clear), hex.EncodeToString(rfc2759.DESCrypt(opts(key), clear)))
	}
}

// V17
func TestMSCHAPv1Vector(t *testing.T) {
	t.Parallel()
	x, ok := SolveMSCHAP(AuthMSCHAPv1, "ignored", []byte("MyPw"), opts("102db5df085d3041"), make([]byte, 49))
	if !ok || x.Success != "" {
		t.Errorf("%v %q", ok, x.Success)
	}
	wantHex(t, "NT response", x.Response[:], "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61")
}

// session is the session key that the kernel makes of a start key (RFC 3079, 3: GetNewKeyFromSHA).
func session(start []byte, bits int) []byte {
	n := 8
	if bits == 128 {
		n = 16
	}
	h := sha1.New()
	h.Write(start[:n])
	h.Write(make([]byte, 40))
	h.Write(start[:n])
	h.Write(bytes.Repeat([]byte{0xf2}, 40))
	key := h.Sum(nil)[:n]
	if salt := map[int][]byte{40: {0xd1, 0x26, 0x9e}, 56: {0xd1}}[bits]; salt != nil {
		copy(key, salt)
	}
	return key
}

func sealed(t *testing.T, key []byte) []byte {
	t.Helper()
	c, err := rc4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len("test message"))
	c.XORKeyStream(out, []byte("test message"))
	return out
}

// V18, V18b, V19: the start keys of both directions, and that the RFC's samples come from them. The authenticator's direction is
// Send. The last octet of the sample of 56 bits is 58 in RFC 3079, 3.5.2; RC4 under the key that stands there gives b8. FreeRADIUS 3.2
// answers V15 with the same two as MS-MPPE-Send-Key and MS-MPPE-Recv-Key, and in MS-CHAP2-Success with the response of V15.
func TestMPPEKeyVectors(t *testing.T) {
	t.Parallel()
	_, hashHash := hashes(t, samplePassword)
	wantHex(t, "master key", rfc3079.GetMasterKey(hashHash, sampleNT), "fdece3717a8c838cb388e527ae3cdd31")
	x, ok := SolveMSCHAP(AuthMSCHAPv2, sampleUser, []byte(samplePassword), sampleChallenge, sampleValue)
	if !ok {
		t.Fatal("no solution")
	}
	wantHex(t, "send key", x.Keys.Send, "8b7cdc149b993a1ba118cb153f56dccb")
	wantHex(t, "receive key", x.Keys.Recv, "d5f0e9521e3ea9589645e86051c82226")
	for _, c := range []struct {
		bits                         int
		sendKey, sentText, recvInput string
	}{
		{40, "d1269ec49fa62e3e", "929137917e5803d668d75898", "d1269ed2ae999038"},
		{56, "d15c00c49fa62e3e", "3f106833fa448da842bc57b8", "d16a9bd2ae999038"},
		{128, "405cb2247a7956e6e211007ae27b22d4", "81848317df68846272fb5abe", "49d11d0f0cc6befba2a9b4b688f91eee"},
	} {
		key := session(x.Keys.Send, c.bits)
		wantHex(t, fmt.Sprintf("send session key of %d bits", c.bits), key, c.sendKey)
		wantHex(t, fmt.Sprintf("text under %d bits", c.bits), sealed(t, key), c.sentText)
		wantHex(t, fmt.Sprintf("receive session key of %d bits", c.bits), session(x.Keys.Recv, c.bits), c.recvInput)
	}
}

// V20. FreeRADIUS 3.2 accepts the response that belongs to it, and sends the hash of the hash in MS-CHAP-MPPE-Keys behind 8 octets.
func TestMPPEKeysOfMSCHAPv1(t *testing.T) {
	t.Parallel()
	challenge := opts("102db5df085d3041")
	x, ok := SolveMSCHAP(AuthMSCHAPv1, "", []byte(samplePassword), challenge, make([]byte, 49))
	if !ok {
		t.Fatal("no solution")
	}
	wantHex(t, "NT response", x.Response[:], "54f22ac5aa6c5cbf7e60531821852087d681f1cc9e1bb36e")
	wantHex(t, "send key", x.Keys.Send, "a8947850cfc0acc1d1789fb62ddcddb0")
	wantHex(t, "receive key", x.Keys.Recv, "a8947850cfc0acc1d1789fb62ddcddb0")
	wantHex(t, "session key", session(x.Keys.Send, 128), "59d159bc09f76f1da2a86a28ffec0b1e")
	_, hashHash := hashes(t, samplePassword)
	wantHex(t, "key of the hash alone", StartKeyMSCHAPv1(hashHash, challenge), "a8947850cfc0acc1d1789fb62ddcddb0")
}

// RFC 2759, 4: a domain before the name does not enter the hash, a realm behind it does.
func TestDomainIsNoPartOfTheHash(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{
		"User": true, `BIGCO\User`: true, `A\B\User`: true, `\User`: true,
		"user": false, "User@bigco": false, `User\`: false, "": false,
	} {
		x, ok := SolveMSCHAP(AuthMSCHAPv2, name, []byte(samplePassword), sampleChallenge, sampleValue)
		if !ok || bytes.Equal(x.Response[:], sampleNT) != same {
			t.Errorf("%q: the same response: %v, want %v", name, !same, same)
		}
	}
}

// The password counts as Unicode. Interop: what is no UTF-8 counts octet by octet, as with pppd.
func TestPasswordsAreUnicode(t *testing.T) {
	t.Parallel()
	solve := func(password string) MSCHAP {
		x, ok := SolveMSCHAP(AuthMSCHAPv2, sampleUser, []byte(password), sampleChallenge, sampleValue)
		if !ok {
			t.Errorf("%q: no solution", password)
		}
		return x
	}
	if solve("p\xe4ss").Response != solve("päss").Response {
		t.Error("an octet is not its character")
	}
	if solve("päss").Response == solve("pass").Response || solve("").Response == solve("x").Response {
		t.Error("different passwords, one response")
	}
}

func TestMSCHAPNeedsTheRightLengths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m                AuthMethod
		challenge, value int
	}{
		{AuthMSCHAPv2, 15, 49},
		{AuthMSCHAPv2, 8, 49},
		{AuthMSCHAPv2, 16, 48},
		{AuthMSCHAPv2, 16, 50},
		{AuthMSCHAPv2, 0, 0},
		{AuthMSCHAPv1, 16, 49},
		{AuthMSCHAPv1, 8, 24},
		{AuthCHAPMD5, 16, 49},
		{AuthPAP, 0, 49},
		{AuthNone, 0, 49},
	} {
		if _, ok := SolveMSCHAP(c.m, "u", []byte("p"), make([]byte, c.challenge), make([]byte, c.value)); ok {
			t.Errorf("%v: a challenge of %d and a value of %d octets pass", c.m, c.challenge, c.value)
		}
	}
	if NTResponse(make([]byte, 48)) != nil {
		t.Error("an NT response in 48 octets")
	}
}

func TestAuthenticatorResponseIsReadLeniently(t *testing.T) {
	t.Parallel()
	const good = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
	for text, want := range map[string]string{
		good: good, good + " M=hi": good, strings.ToLower(good[2:]): "", "S=" + strings.ToLower(good[2:]): good,
		good[:41]: "", "": "", "M=hi " + good: "", "S=" + strings.Repeat("g", 40): "", "s=" + good[2:]: "",
	} {
		if got, rest, ok := authenticatorResponse(text); got != want || ok != (want != "") || ok && text[42:] != rest {
			t.Errorf("%q: %q, rest %q, %v", text, got, rest, ok)
		}
	}
}

func TestMSCHAPErrorIsTakenApart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"E=691 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Access denied": "error 691, authentication failure: Access denied",
		"E=648 R=1 C=0011223344556677 V=2":                                 "error 648, password expired",
		"R=1 E=12345 V=3 M=":                                               "error 12345",
		"E=691 M=a M=b":                                                    "error 691, authentication failure: a M=b",
		"E=x R=0":                                                          "E=x R=0",
		"E=99999999999":                                                    "E=99999999999",
		"Access denied":                                                    "Access denied",
		"M=E=691":                                                          "M=E=691",
		"":                                                                 "",
	} {
		if got := explainFailure(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	x, _ := SolveMSCHAP(AuthMSCHAPv2, sampleUser, []byte(samplePassword), sampleChallenge, sampleValue)
	for _, v := range []any{x, &x, x.Keys, struct{ K Keys }{x.Keys}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q"} {
			text := strings.ToLower(fmt.Sprintf(format, v))
			for _, secret := range []string{"8b7c", "0x8b, 0x7c", "139 124", "407a5589", "82309e", "0x82, 0x30", "130 48"} {
				if strings.Contains(text, secret) {
					t.Errorf("%T with %s prints a secret: %s", v, format, text)
				}
			}
		}
	}
	if text := fmt.Sprint(x.Keys, Keys{}); text != "keys no keys" {
		t.Error(text)
	}
}
