package radius

import (
	"errors"
	"fmt"
	"net/netip"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Request is a login, or, made by Realm, the question where a realm's users go.
type Request struct {
	Method    ppp.AuthMethod // with AuthNone the password is sent as with PAP, an empty one too
	Name      string
	Password  policy.Secret // PAP
	ID        uint8         // CHAP identifier
	Challenge []byte        // CHAP, as sent by us
	Response  []byte        // CHAP: the whole value

	SessionID string // Acct-Session-Id
	Port      Port
	Address   netip.Addr // Framed-IP-Address as a hint; none: not sent
	Tunnel    TunnelInfo // over which tunnel it came, as a hint (P233)
	// Outbound asks for Service-Type Outbound instead of Framed PPP.
	Outbound bool
}

// Realm makes the request for a realm's tunnels: its name for a user, and a password that is the same for all (P235, S96).
func Realm(name string, password policy.Secret, port Port) Request {
	return Request{Method: ppp.AuthPAP, Name: name, Password: password, Port: port, Outbound: true}
}

// Why a request cannot be sent. The peer has chosen what is wrong, so it counts as a refusal.
var (
	errNameLength     = errors.New("the name is empty or longer than 253 octets")
	errPasswordLength = errors.New("the password is longer than 128 octets")
	errResponseLength = errors.New("the challenge or the response has not the length of its method")
)

const (
	maxPassword = 128
	chapSize    = 16
	msValueSize = 49 // of a Response in PPP, whose last octet are flags
)

// check says why a request cannot be sent.
func (r Request) check() error {
	if r.Name == "" || len(r.Name) > maxValue {
		return errNameLength
	}
	challenge, response := len(r.Challenge), len(r.Response)
	fits := true
	switch r.Method {
	case ppp.AuthNone, ppp.AuthPAP:
		if len(r.Password.Reveal()) > maxPassword {
			return errPasswordLength
		}
	case ppp.AuthCHAPMD5:
		fits = challenge > 0 && challenge <= maxValue && response == chapSize
	case ppp.AuthMSCHAPv1:
		fits = challenge == 8 && response == msValueSize
	case ppp.AuthMSCHAPv2:
		fits = challenge == 16 && response == msValueSize
	default:
		return fmt.Errorf("method %v cannot be asked for", r.Method)
	}
	if !fits {
		return errResponseLength
	}
	return nil
}

// packet makes an Access-Request; its authenticator must be random.
func (r Request) packet(nas NAS, secret []byte, id uint8, a authenticator) ([]byte, error) {
	p := codec.Packet{Code: codec.CodeAccessRequest, Identifier: id, Authenticator: a, Secret: secret}
	p.Add(rfc2865.UserName_Type, codec.Attribute(r.Name))
	if err := r.prove(&p); err != nil {
		return nil, err
	}
	if r.Outbound {
		p.Add(rfc2865.ServiceType_Type, number(serviceOutbound))
	} else {
		p.Add(rfc2865.ServiceType_Type, number(serviceFramed))
		p.Add(rfc2865.FramedProtocol_Type, number(framedPPP))
	}
	nas.add(&p.Attributes)
	r.Port.add(&p.Attributes)
	addText(&p.Attributes, rfc2866.AcctSessionID_Type, r.SessionID)
	if r.Address.Is4() {
		p.Add(rfc2865.FramedIPAddress_Type, r.Address.AsSlice())
	}
	r.Tunnel.add(&p.Attributes)
	return sign(&p)
}

// prove adds the credentials (P236, P250).
func (r Request) prove(p *codec.Packet) error {
	switch r.Method {
	case ppp.AuthNone, ppp.AuthPAP:
		hidden, err := codec.NewUserPassword(r.Password.Reveal(), p.Secret, p.Authenticator[:])
		if err != nil {
			return fmt.Errorf("hide the password: %w", err)
		}
		p.Add(rfc2865.UserPassword_Type, hidden)
	case ppp.AuthCHAPMD5:
		p.Add(rfc2865.CHAPPassword_Type, append(codec.Attribute{r.ID}, r.Response...))
		p.Add(rfc2865.CHAPChallenge_Type, codec.Attribute(r.Challenge))
	case ppp.AuthMSCHAPv1:
		// Identifier, flags, both responses (RFC 2548, 2.1.3); in PPP the flags are behind.
		v := append([]byte{r.ID, r.Response[msValueSize-1]}, r.Response[:msValueSize-1]...)
		addVendor(&p.Attributes, vendorMicrosoft, msCHAPChallenge, r.Challenge)
		addVendor(&p.Attributes, vendorMicrosoft, msCHAPResponse, v)
	case ppp.AuthMSCHAPv2:
		// Identifier, flags, the peer's challenge, zeros, the response (RFC 2548, 2.3.2). The flags are zero whatever the peer said.
		v := append([]byte{r.ID, 0}, r.Response[:msValueSize-1]...)
		addVendor(&p.Attributes, vendorMicrosoft, msCHAPChallenge, r.Challenge)
		addVendor(&p.Attributes, vendorMicrosoft, msCHAP2Response, v)
	}
	return nil
}
