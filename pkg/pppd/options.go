package pppd

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// maxWord is the longest word of pppd's files, MAXWORDLEN without its closing zero.
const maxWord = 1023

// socketFD and reportFD are the descriptors that pppd inherits, beside its log as standard output: the PPPoX socket, and the
// pipe that its scripts report by.
const (
	socketFD = 3
	reportFD = 4
)

// file is an option file in the making.
type file struct{ bytes.Buffer }

// add writes one option on a line of its own.
func (f *file) add(option string, arguments ...string) {
	f.WriteString(option)
	for _, a := range arguments {
		f.WriteString(" " + quote(a))
	}
	f.WriteByte('\n')
}

// number writes an option with a number, unless that is 0, which stands for pppd's default.
func (f *file) number(n int, options ...string) {
	if n == 0 {
		return
	}
	for _, o := range options {
		f.add(o, strconv.Itoa(n))
	}
}

// options writes the option file of a session whose interface has been named. What pppd would do by default and must not is
// switched off; a further option of the owner comes last, and counts.
func (s *Spec) options(iface string) []byte {
	f := &file{}
	f.add("plugin", "pppol2tp.so")
	f.add("pppol2tp", strconv.Itoa(socketFD))
	f.add("nodetach")
	f.add("logfd", "1")
	f.add("hide-password")
	if iface != "" {
		f.add("ifname", iface)
	}
	f.number(s.MTU, "mtu")
	f.number(s.MRU, "mru")
	f.add("noaccomp")
	f.add("nopcomp")
	s.authOptions(f)
	s.compression(f)
	s.ipv4Options(f)
	s.ipv6Options(f)
	s.timers(f)
	for _, o := range s.Options {
		words, _ := split(o) // CheckOption has been content
		f.add(quote(words[0]), words[1:]...)
	}
	return f.Bytes()
}

// authOptions refuses whatever is not to be answered: pppd would show a peer the secret of one of the users.
func (s *Spec) authOptions(f *file) {
	if s.HostName != "" {
		f.add("name", s.HostName)
	}
	if len(s.Auth) == 0 {
		f.add("noauth")
	}
	for _, a := range []struct {
		auth Auth
		name string
	}{{AuthPAP, "pap"}, {AuthCHAP, "chap"}, {AuthMSCHAPv2, "mschap-v2"}} {
		if slices.Contains(s.Auth, a.auth) {
			f.add("require-" + a.name)
		}
		if !slices.Contains(s.Answer, a.auth) {
			f.add("refuse-" + a.name)
		}
	}
	f.add("refuse-mschap")
	f.add("refuse-eap")
	if len(s.Answer) > 0 {
		f.add("user", s.User)
		f.add("password", string(s.Password.Reveal()))
	}
}

// compression leaves nothing but encryption. Without that CCP is rejected as a whole: some kernels stumble over it.
func (s *Spec) compression(f *file) {
	f.add("nobsdcomp")
	f.add("nodeflate")
	f.add("nopredictor1")
	f.add("novj")
	if s.RequireMPPE {
		f.add("require-mppe-128")
	} else {
		f.add("noccp")
	}
}

func (s *Spec) ipv4Options(f *file) {
	f.add("noipdefault")
	f.add("nodefaultroute")
	f.add("noproxyarp")
	local := s.Local
	switch s.IPv4 {
	case ppp.IPv4Off:
		f.add("noip")
		return
	case ppp.IPv4Own:
	case ppp.IPv4Request:
		local = netip.Addr{}
	case ppp.IPv4Unnumbered:
		f.add("nosendip")
		f.add("noremoteip")
	}
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	if local.IsValid() || s.Peer.IsValid() {
		f.add(text(local) + ":" + text(s.Peer))
	}
	for _, a := range s.DNS {
		f.add("ms-dns", a.String())
	}
	for _, a := range s.NBNS {
		f.add("ms-wins", a.String())
	}
	if s.WantDNS {
		f.add("usepeerdns")
	}
}

func (s *Spec) ipv6Options(f *file) {
	if !s.IPv6 {
		f.add("noipv6")
		return
	}
	f.add("+ipv6")
	f.add("nodefaultroute6")
	id := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("::%x:%x:%x:%x", uint16(n>>48), uint16(n>>32), uint16(n>>16), uint16(n))
	}
	switch {
	case s.PeerIPv6ID != 0:
		f.add("ipv6", id(s.IPv6ID)+","+id(s.PeerIPv6ID))
	case s.IPv6ID != 0:
		f.add("ipv6", id(s.IPv6ID))
	}
}

func (s *Spec) timers(f *file) {
	f.add("lcp-echo-interval", strconv.Itoa(seconds(s.EchoInterval)))
	if s.EchoInterval > 0 {
		f.add("lcp-echo-failure", strconv.Itoa(orDefault(s.EchoFailures, 3)))
	}
	f.number(seconds(s.IdleTimeout), "idle")
	f.number(seconds(s.SessionTimeout), "maxconnect")
	f.number(seconds(s.Rechallenge), "chap-interval")
	f.number(seconds(s.Restart), "lcp-restart", "pap-restart", "chap-restart", "ipcp-restart", "ipv6cp-restart")
	f.number(s.MaxConfigure, "lcp-max-configure", "ipcp-max-configure", "ipv6cp-max-configure")
	f.number(s.MaxTerminate, "lcp-max-terminate", "ipcp-max-terminate", "ipv6cp-max-terminate")
	f.number(s.MaxFailure, "lcp-max-failure", "ipcp-max-failure", "ipv6cp-max-failure")
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// secrets writes pap-secrets and chap-secrets, nil where the peer need not log in that way. pppd makes what it hears visible
// before it compares it, so names are written like that, and with PAP passwords.
func (s *Spec) secrets() (pap, chap []byte) {
	var p, c file
	for _, u := range s.Users {
		if s.checkUser(u) != nil {
			continue
		}
		address := "*"
		switch {
		case u.IPv4.IsValid():
			address = u.IPv4.String()
		case s.Peer.IsValid():
			address = s.Peer.String()
		case s.IPv4 == ppp.IPv4Own:
			address = "-" // none
		}
		password := string(u.Password.Reveal())
		p.add(quote(visible(u.Name)), "*", visible(password), address)
		c.add(quote(visible(u.Name)), "*", password, address)
	}
	if slices.Contains(s.Auth, AuthPAP) {
		pap = p.Bytes()
	}
	if slices.Contains(s.Auth, AuthCHAP) || slices.Contains(s.Auth, AuthMSCHAPv2) {
		chap = c.Bytes()
	}
	return pap, chap
}

// quote writes a word so that pppd reads the very same, on one line: it knows octal escapes within quotes.
func quote(word string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+:,/*"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(word) {
		if c > ' ' && c < 0x7f && c != '"' && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// visible is what pppd makes of octets that are no printable ASCII (its format %v).
func visible(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= 0x80 {
			b.WriteString("M-")
			c -= 0x80
		}
		if (c < ' ' && c != '\t') || c == 0x7f {
			b.WriteByte('^')
			c ^= 0x40
		}
		b.WriteByte(c)
	}
	return b.String()
}
