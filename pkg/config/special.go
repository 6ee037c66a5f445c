package config

import (
	"bytes"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/pppd"
)

// readTopSecret reads the short form of one secret for everyone (S50).
func readTopSecret(w *walker, f *field, n *yaml.Node, _ any) {
	r := &policy.SecretRule{}
	if w.ruleSecret(f, n, r) {
		w.keep(r, nil)
	}
}

// readRuleSecret reads a secret or the word none (S47).
func readRuleSecret(w *walker, f *field, n *yaml.Node, object any) {
	w.ruleSecret(f, n, object.(*policy.SecretRule))
}

// isReference says that a key of a secret names where it is to be found.
func isReference(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && (key.Value == "file" || key.Value == "credential")
}

// isNone says that n is the word none; in quotes it is a secret.
func isNone(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && strings.EqualFold(n.Value, "none") && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
}

func (w *walker) ruleSecret(f *field, n *yaml.Node, r *policy.SecretRule) bool {
	if isNone(n) {
		r.None = true
		return true
	}
	s, ok := w.secret(f, n)
	if ok {
		r.Secret = s
	}
	return ok
}

const longestSecret = 255 // octets (S28)

// secret reads a literal secret, {file: path} or {credential: name}.
func (w *walker) secret(f *field, n *yaml.Node) (policy.Secret, bool) {
	const forms = "write a text, {file: path} or {credential: name}"
	var octets []byte
	switch {
	case n.Kind == yaml.MappingNode:
		var ok bool
		if octets, ok = w.secretFrom(f, n); !ok {
			return policy.Secret{}, false
		}
	case n.Kind == yaml.ScalarNode && !isNull(n):
		octets = []byte(n.Value)
		if w.env.Shared {
			w.warn(n, f.key()+": a secret in a file that everyone may read", "chmod o-r the file, or use {file: path} or {credential: name}")
		}
	default:
		w.fault(n, f.key()+": expected "+typeText(f)+", found "+describe(n), forms)
		return policy.Secret{}, false
	}
	switch {
	case len(octets) == 0:
		w.fault(n, f.key()+" is empty", forms)
		return policy.Secret{}, false
	case len(octets) > longestSecret:
		w.fault(n, f.key()+" is longer than 255 octets", "choose a shorter one")
		return policy.Secret{}, false
	case bytes.ContainsAny(octets, "\r\n"):
		w.warn(n, f.key()+" has a line end within", "write it as one line; only the one at the end of a file does not count")
	case len(octets) < f.weak:
		w.warn(n, f.key()+" is shorter than 16 octets: it can be guessed from one packet", "choose 16 or more, at random: openssl rand -hex 16")
	}
	return policy.NewSecret(octets), true
}

// secretFrom reads a secret from a file or a credential of systemd. One newline at its end does not count.
func (w *walker) secretFrom(f *field, n *yaml.Node) ([]byte, bool) {
	const forms = "write {file: path} or {credential: name}"
	if len(n.Content) != 2 || !isReference(n.Content[0]) {
		w.fault(n, f.key()+": not exactly one of file and credential", forms)
		return nil, false
	}
	key, value := n.Content[0], n.Content[1]
	if !w.plainNode(value) {
		return nil, false
	}
	if value.Kind != yaml.ScalarNode || value.Value == "" || isNull(value) {
		w.fault(value, key.Value+": expected a text, found "+describe(value), forms)
		return nil, false
	}
	path := value.Value
	advice := "create the file, readable by the daemon alone: chmod 600"
	switch {
	case key.Value == "file" && !filepath.IsAbs(path):
		path = filepath.Join(w.folder, path)
	case key.Value == "file":
	case strings.ContainsRune(path, '/') || path == "." || path == "..":
		w.fault(value, "credential "+quoteKey(path)+" is not a plain name", "write the name of a LoadCredential= or SetCredential= line of the unit")
		return nil, false
	case w.env.CredentialsDir == "":
		w.fault(value, "credential "+quoteKey(path)+": no credentials were given to this process ($CREDENTIALS_DIRECTORY is not set)",
			"run under systemd with LoadCredential="+printable(path)+":/path, or use {file: path}")
		return nil, false
	default:
		path = filepath.Join(w.env.CredentialsDir, path)
		advice = "add LoadCredential=" + printable(value.Value) + ":/path to the unit"
	}
	if w.env.ReadSecret == nil {
		w.fault(value, key.Value+": files cannot be read here", "write the secret itself")
		return nil, false
	}
	octets, isShared, err := w.env.ReadSecret(path)
	if errors.Is(err, errNotRegular) || errors.Is(err, errFileTooBig) {
		advice = "write the secret alone into a file of its own"
	}
	if err != nil {
		w.fault(value, "cannot read "+quoteKey(path)+": "+cause(err), advice)
		return nil, false
	}
	if isShared {
		w.warn(value, quoteKey(path)+": a secret in a file that everyone may read", "chmod o-r the file")
	}
	octets = bytes.TrimSuffix(bytes.TrimSuffix(octets, []byte("\n")), []byte("\r"))
	if len(octets) == 0 {
		w.fault(value, quoteKey(path)+" is empty", "write the secret into it")
		return nil, false
	}
	return octets, true
}

// readPeer reads an address, a host name, or any (S61).
func readPeer(w *walker, f *field, n *yaml.Node, object any) {
	c := object.(*policy.Call)
	if !w.single(f, n) {
		return
	}
	if s := n.Value; strings.EqualFold(s, "any") || s == "0.0.0.0" || s == "::" {
		c.Passive = true
		return
	}
	w.host(f, n, &c.Peer)
}

// readHost reads an address or a host name.
func readHost[O any](get func(*O) *string) func(w *walker, f *field, n *yaml.Node, object any) {
	return func(w *walker, f *field, n *yaml.Node, object any) {
		if w.single(f, n) {
			w.host(f, n, get(object.(*O)))
		}
	}
}

// host reads an address or a host name; a name keeps its case and loses its last dot.
func (w *walker) host(f *field, n *yaml.Node, to *string) {
	s, key := n.Value, f.key()
	if ap, err := netip.ParseAddrPort(s); err == nil {
		w.fault(n, key+": an address with a port", "write "+key+": "+ap.Addr().String()+" and port: "+s[strings.LastIndexByte(s, ':')+1:])
		return
	}
	if _, err := netip.ParseAddr(s); err == nil || strings.Trim(s, "0123456789.") == "" || strings.ContainsAny(s, ":/") {
		a, p := parseAddress(f, s)
		if !p.none() {
			if err != nil {
				p.advice = "write " + f.typ
			}
			w.misread(f, n, key+": "+p.what, p.advice)
			return
		}
		*to = a.String()
		return
	}
	if !hostName(s) {
		w.misread(f, n, key+": "+quoteKey(s)+" is neither an address nor a host name", "write "+f.typ)
		return
	}
	*to = strings.TrimSuffix(s, ".")
}

// hostName says that s can be looked up: labels of letters, digits, "-" and "_", 253 octets at most.
func hostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || !nameChars.MatchString(label) {
			return false
		}
	}
	return true
}

// readCallIPv4 reads where our address comes from (S164-S166).
func readCallIPv4(w *walker, f *field, n *yaml.Node, object any) {
	c := object.(*policy.Call)
	if !w.single(f, n) {
		return
	}
	switch strings.ToLower(n.Value) {
	case "off", "no", "false", "none":
		c.PPP.IPv4 = ppp.IPv4Off
	case "request":
		c.PPP.IPv4 = ppp.IPv4Request
	case "unnumbered":
		c.PPP.IPv4 = ppp.IPv4Unnumbered
	default:
		a, p := parseAddress(&field{typ: "IPv4"}, n.Value)
		if !p.none() {
			if _, err := netip.ParseAddr(n.Value); err == nil {
				w.fault(n, "ipv4: "+p.what, p.advice)
				return
			}
			advice := "write off, request, unnumbered or an IPv4 address"
			if near := nearest(n.Value, []string{"request", "unnumbered"}); near != "" {
				advice = "did you mean " + near + "?"
			}
			w.misread(f, n, "ipv4 cannot be "+quoteKey(n.Value), advice)
			return
		}
		c.PPP.IPv4, c.PPP.Local = ppp.IPv4Own, a
	}
}

// readBorrow reads the address of an unnumbered link (S166).
func readBorrow(w *walker, f *field, n *yaml.Node, object any) {
	c := object.(*policy.Call)
	var a netip.Addr
	if !scalar(w, f, n, &a, parseAddress) {
		return
	}
	if c.PPP.IPv4 != ppp.IPv4Unnumbered {
		w.fault(n, "borrow has no meaning with ipv4: "+c.PPP.IPv4.String(), "remove borrow, or write ipv4: unnumbered")
		return
	}
	c.PPP.Local = a
}

// readAuth reads what the peer must log in with (S154).
func readAuth(w *walker, f *field, n *yaml.Node, object any) {
	t := object.(*policy.Template)
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		w.fault(n, "auth: the list is empty", "write auth: none, if callers shall not log in")
		return
	}
	if n.Kind == yaml.SequenceNode {
		var list []ppp.AuthMethod
		for _, item := range n.Content {
			if !w.single(f, item) {
				continue
			}
			m, ok := w.authMethod(f, item, false)
			switch {
			case !ok:
			case slices.Contains(list, m[0]):
				w.fault(item, "auth: "+quoteKey(item.Value)+" is here twice", "keep one of the two")
			default:
				list = append(list, m[0])
			}
		}
		t.Auth = list
		return
	}
	if !w.single(f, n) {
		return
	}
	if m, ok := w.authMethod(f, n, true); ok {
		t.Auth = m
	}
}

// authMethod reads one word; either and none stand alone.
func (w *walker) authMethod(f *field, n *yaml.Node, alone bool) ([]ppp.AuthMethod, bool) {
	word := strings.ToLower(n.Value)
	switch word {
	case "chap", "chap-md5":
		return []ppp.AuthMethod{ppp.AuthCHAPMD5}, true
	case "pap":
		return []ppp.AuthMethod{ppp.AuthPAP}, true
	case "mschapv2", "mschap-v2", "ms-chap-v2":
		return []ppp.AuthMethod{ppp.AuthMSCHAPv2}, true
	case "mschapv1", "mschap", "ms-chap", "ms-chap-v1":
		return []ppp.AuthMethod{ppp.AuthMSCHAPv1}, true
	case "either", "none":
		if !alone {
			w.fault(n, "auth: "+word+" cannot stand in a list", "write auth: "+word+", or a list of chap, pap, mschapv2 and mschapv1")
			return nil, false
		}
		if word == "none" {
			return nil, true
		}
		return []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}, true
	}
	if strings.HasPrefix(word, "eap") {
		w.fault(n, "auth: "+quoteKey(word)+" is not offered by this version", "use chap or mschapv2")
		return nil, false
	}
	advice := "write none, either, or a list of chap, pap, mschapv2 and mschapv1"
	if near := nearest(word, []string{"chap", "pap", "mschapv2", "mschapv1", "either", "none"}); near != "" {
		advice = "did you mean " + near + "?"
	}
	w.misread(f, n, "auth cannot be "+quoteKey(n.Value), advice)
	return nil, false
}

// readUsers reads where users are looked up, in that order (S155).
func readUsers(w *walker, f *field, n *yaml.Node, object any) {
	if !w.plainNode(n) {
		return
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if len(list) == 0 {
		w.fault(n, "users: the list is empty", "write users: [local], or auth: none, if callers shall not log in")
		return
	}
	var sources []policy.Source
	for _, item := range list {
		if !w.single(f, item) {
			continue
		}
		var s policy.Source
		switch word := strings.ToLower(item.Value); word {
		case "local", "user":
		case "radius":
			s = policy.SourceRADIUS
		case "tacacs", "tacacs+":
			w.fault(item, "users: TACACS is not offered", "use users: [local, radius]")
			continue
		default:
			w.misread(f, item, "users cannot be "+quoteKey(item.Value), "write users: [local], [radius] or [local, radius]")
			continue
		}
		if slices.Contains(sources, s) {
			w.fault(item, "users: "+quoteKey(item.Value)+" is here twice", "keep one of the two")
			continue
		}
		sources = append(sources, s)
	}
	object.(*policy.Template).Sources = sources
}

// readPppdOptions reads options of pppd, of which some would break what the daemon does with it.
func readPppdOptions(w *walker, f *field, n *yaml.Node, object any) {
	t := object.(*policy.Template)
	items(w, f, n, &t.PppdOptions, func(f *field, s string) (string, problem) {
		v, p := parseText(&field{min: 1, max: 200}, s)
		if p.none() {
			if err := pppd.CheckOption(v); err != nil {
				p = problem{err.Error(), "remove it; what a template has a key for is written there"}
			}
		}
		return v, p
	})
}
