package radius

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

const vectorSecret = "xyzzy5461"

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secretOf(text string) policy.Secret { return policy.NewSecret([]byte(text)) }

// requestAuthenticator is that of V10.
func requestAuthenticator(t testing.TB) authenticator {
	return authenticator(octets(t, "0f403f9473978057bd83d5cb98f4227a"))
}

// parsed takes a request of ours apart, and checks its Message-Authenticator.
func parsed(t *testing.T, b []byte) *codec.Packet {
	t.Helper()
	p, err := codec.Parse(b, []byte(vectorSecret))
	if err != nil {
		t.Fatal(err)
	}
	if first := p.Attributes[0]; first.Type != rfc2869.MessageAuthenticator_Type ||
		!bytes.Equal(first.Attribute, macOf(b, headerSize+2, []byte(vectorSecret), p.Authenticator)) {
		t.Errorf("% x does not begin with a good Message-Authenticator", b)
	}
	return p
}

// V10.
func TestPasswordIsHidden(t *testing.T) {
	t.Parallel()
	r := Request{Method: ppp.AuthPAP, Name: "nemo", Password: secretOf("arctangent")}
	b, err := r.packet(NAS{}, []byte(vectorSecret), 0, requestAuthenticator(t))
	if err != nil {
		t.Fatal(err)
	}
	got := hex.EncodeToString(parsed(t, b).Get(rfc2865.UserPassword_Type))
	if got != "0dbe708d93d413ce3196e43f782a0aee" {
		t.Error(got)
	}
}

// V12. What pkg/ppp computes of a password is what a server is shown.
func TestCHAPIsPassedOn(t *testing.T) {
	t.Parallel()
	challenge := octets(t, "2aee86f08d0d55969ca5978e0d3367a2")
	response := ppp.CHAPMD5(0x16, []byte("arctangent"), challenge)
	r := Request{Method: ppp.AuthCHAPMD5, Name: "flopsy", ID: 0x16, Challenge: challenge, Response: response[:]}
	b, err := r.packet(NAS{}, []byte(vectorSecret), 1, requestAuthenticator(t))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed(t, b)
	if got := hex.EncodeToString(p.Get(rfc2865.CHAPPassword_Type)); got != "16e97557c316185895f293ff6344077275" {
		t.Error(got)
	}
	if !bytes.Equal(p.Get(rfc2865.CHAPChallenge_Type), challenge) {
		t.Error("another challenge")
	}
}

// V11, and that nothing about an answer may change.
func TestAnswersMustBeAuthentic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ request, answer string }{
		{
			"0f403f9473978057bd83d5cb98f4227a",
			"0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103",
		},
		{
			"2aee86f08d0d55969ca5978e0d3367a2",
			"0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d06000000010c06000005dc",
		},
	} {
		a, b, secret := authenticator(octets(t, c.request)), octets(t, c.answer), []byte(vectorSecret)
		if _, err := believe(b, secret, a, false); err != nil {
			t.Error(err)
		}
		if _, err := believe(b, secret, a, true); err != errUnsigned { //nolint:errorlint // believe does not wrap
			t.Error("unsigned, but believed:", err)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if _, err := believe(bad, secret, a, false); err == nil {
				t.Errorf("octet %d is changed, but believed", i)
			}
		}
		if _, err := believe(b, []byte("another"), a, false); err == nil {
			t.Error("another secret, but believed")
		}
	}
}

const acceptV14 = "020000d18a9550a6b2616165e066ca1f8fffe1ce06060000000207060000000140060100000341060100000143" +
	"0c013139322e302e322e3145150183aa6e8091270f84422c062437d411081aa8520701676f6c6453060100000a" +
	"5a0e016c61632e6578616d706c655b0e016c6e732e6578616d706c655106017265644006020000034106020000" +
	"02430e02323030313a6462383a3a314535028a6748e78763a54682f0d608e8917d5aabd4259d40fc9d9e941182" +
	"365cf32ac8557b05680938a651eca08c8db3de1d48b487530602000014"

// V13, V13b, V14; P226.
func TestTwoTunnelsOfFreeRADIUS(t *testing.T) {
	t.Parallel()
	p, err := believe(octets(t, acceptV14), []byte(vectorSecret), requestAuthenticator(t), false)
	if err != nil {
		t.Fatal(err)
	}
	q := question{secret: []byte(vectorSecret), authenticator: requestAuthenticator(t), maxTunnels: 16}
	got := q.decode(p)
	want := Answer{Accept: true, Tunnels: []Tunnel{
		{
			Tag: 1, Medium: 1, ServerEndpoint: "192.0.2.1", Password: secretOf("tunnelsecret"), PrivateGroup: "red", AssignmentID: "gold",
			ClientAuthID: "lac.example", ServerAuthID: "lns.example", Preference: 10,
		},
		{Tag: 2, Medium: 2, ServerEndpoint: "2001:db8::1", Password: secretOf("a-longer-tunnel-secret-over-16-octets"), Preference: 20},
	}}
	if d := cmp.Diff(want, got, comparers...); d != "" {
		t.Error(d)
	}
}

const (
	disconnectV21 = "2823003e0bd87813378119969724a7a423fcce6d01086d63686962612c0a393032333334353637066553f1005012fcb6fb0f26100a7863626c6d522dde77"
	nakV22        = "2a23001a543b9842af78107e8094753e94c7bf826506000001f7"
	changeV23     = "2b50002286f3282de090eee3aa8a4234a612157201086d63686962611b060000003c"
	ackV23        = "2c500014a0279e2c327a3ae9900813c4401a6d73"
)

// V21-V23; P243, P244.
func TestServersRequestsAreUnderstood(t *testing.T) {
	t.Parallel()
	timeout := time.Minute
	for name, c := range map[string]struct {
		request string
		want    demand
		outcome Outcome
		answer  string
	}{
		"V21": {disconnectV21, demand{match: Match{User: "mchiba", SessionID: "90233456"}, signed: true, found: true}, NotFound, nakV22},
		"V23": {changeV23, demand{
			coa: true, match: Match{User: "mchiba"}, change: Change{SessionTimeout: &timeout}, found: true, changes: true,
		}, Done, ackV23},
	} {
		p, err := believe(octets(t, c.request), []byte(vectorSecret), authenticator{}, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var d demand
		if o := d.read(p, NAS{}); o != Done {
			t.Errorf("%s: %v", name, o)
		}
		d.at = nil
		if diff := cmp.Diff(c.want, d, append(comparers, cmp.AllowUnexported(demand{}))...); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		d.signed = false // radclient was answered without
		b, err := d.answer(c.outcome, []byte(vectorSecret), p.Identifier, p.Authenticator)
		if err != nil || hex.EncodeToString(b) != c.answer {
			t.Errorf("%s: answer %x, %v", name, b, err)
		}
	}
}
