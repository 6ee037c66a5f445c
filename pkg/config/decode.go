package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// problem is what is wrong with a value, and what to do; the zero problem is none.
type problem struct{ what, advice string }

func (p problem) none() bool { return p == problem{} }

// inverted is a switch whose off is a value's true.
type inverted struct{ off *bool }

// decode reads n into the place of f in object. What is wrong is reported at n or the item of it.
func (w *walker) decode(f *field, n *yaml.Node, object any) {
	if f.read != nil {
		f.read(w, f, n, object)
		return
	}
	if len(f.words) > 0 {
		w.word(f, n, f.at(object))
		return
	}
	switch p := f.at(object).(type) {
	case *bool:
		scalar(w, f, n, p, parseBool)
	case inverted:
		var on bool
		if scalar(w, f, n, &on, parseBool) {
			*p.off = !on
		}
	case *string:
		scalar(w, f, n, p, parseText)
	case *int:
		scalar(w, f, n, p, parseNumber[int])
	case *uint16:
		scalar(w, f, n, p, parseNumber[uint16])
	case *uint32:
		scalar(w, f, n, p, parseNumber[uint32])
	case *int64:
		scalar(w, f, n, p, parseSize)
	case *time.Duration:
		scalar(w, f, n, p, parseDuration)
	case *netip.Addr:
		scalar(w, f, n, p, parseAddress)
	case *netip.Prefix:
		scalar(w, f, n, p, parseRoute)
	case *policy.Range:
		scalar(w, f, n, p, parseSourceRange)
	case *policy.Secret:
		if s, ok := w.secret(f, n); ok {
			*p = s
		}
	case *[]netip.Addr:
		items(w, f, n, p, parseAddress)
	case *[]netip.AddrPort:
		items(w, f, n, p, parseListen)
	case *[]netip.Prefix:
		items(w, f, n, p, parseRoute)
	case *[]policy.Range:
		items(w, f, n, p, parseSourceRange)
	default:
		panic(fmt.Sprintf("config: %s: nobody reads a %T", f.path, p)) // a defect of the table
	}
}

// scalar reads one value.
func scalar[V any](w *walker, f *field, n *yaml.Node, to *V, parse func(*field, string) (V, problem)) bool {
	if !w.single(f, n) {
		return false
	}
	v, p := parse(f, n.Value)
	if !p.none() {
		if _, text := any(v).(string); text {
			w.fault(n, f.key()+": "+p.what, p.advice)
		} else {
			w.misread(f, n, f.key()+": "+p.what, p.advice)
		}
		return false
	}
	*to = v
	return true
}

// misread reports a scalar that is not what f wants. What it looks like may say better what to do.
func (w *walker) misread(f *field, n *yaml.Node, message, advice string) {
	if goesOn.MatchString(n.Value) {
		message, advice = f.key()+": the value goes on with another key", "put a comma and a space, or a line end, before that key"
	}
	w.fault(n, message, cmp.Or(typography(n.Value), advice))
}

// typography advises against what word processors make of hyphens and quotes; "" if there is none of it.
func typography(text string) string {
	switch {
	case strings.ContainsAny(text, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"):
		return "write a plain hyphen: -"
	case strings.ContainsAny(text, "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"):
		return "write plain quotes, \" or ', or none"
	}
	return ""
}

// single says that n is one plain value.
func (w *walker) single(f *field, n *yaml.Node) bool {
	if !w.plainNode(n) {
		return false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		w.fault(n, f.key()+": expected "+typeText(f)+", found "+describe(n), "write one value"+defaultText(f))
		return false
	}
	return true
}

// items reads a list of values; a single value is a list of one.
func items[V comparable](w *walker, f *field, n *yaml.Node, to *[]V, parse func(*field, string) (V, problem)) {
	if !w.plainNode(n) {
		return
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []V
	for _, item := range list {
		var v V
		if !scalar(w, f, item, &v, parse) {
			continue
		}
		if slices.Contains(out, v) {
			w.fault(item, fmt.Sprintf("%s: %v is here twice", f.key(), v), "keep one of the two")
			continue
		}
		out = append(out, v)
	}
	if len(list) == 0 && f.required {
		w.fault(n, f.key()+" is empty", "write at least one: "+f.example)
	}
	if f.max > 0 && int64(len(out)) > f.max {
		w.fault(n, fmt.Sprintf("%s has %d entries", f.key(), len(out)), fmt.Sprintf("keep at most %d", f.max))
		return
	}
	*to = out
}

// word reads one of the words of f; their order is that of the values.
func (w *walker) word(f *field, n *yaml.Node, to any) {
	if !w.single(f, n) {
		return
	}
	i := slices.Index(f.words, strings.ToLower(n.Value))
	if i < 0 {
		advice := "write one of: " + strings.Join(f.words, ", ")
		if near := nearest(n.Value, f.words); near != "" {
			advice = "did you mean " + near + "? (one of: " + strings.Join(f.words, ", ") + ")"
		}
		w.misread(f, n, f.key()+" cannot be "+quoteKey(n.Value), advice)
		return
	}
	switch p := to.(type) {
	case *bool:
		*p = i == 1
	case *policy.Mode:
		*p = policy.Mode(i)
	case *policy.Sequencing:
		*p = policy.Sequencing(i)
	case *policy.Precedence:
		*p = policy.Precedence(i)
	case *policy.Duplicate:
		*p = policy.Duplicate(i)
	case *policy.Engine:
		*p = policy.Engine(i)
	case *ppp.MPPEMode:
		*p = ppp.MPPEMode(i)
	case *ppp.ProxyLCP:
		*p = ppp.ProxyLCP(i)
	case *ppp.ProxyAuth:
		*p = ppp.ProxyAuth(i)
	case *policy.CallType:
		*p = policy.CallType(i)
	case *policy.Method:
		*p = policy.Method(i)
	case *policy.Action:
		*p = policy.Action(i)
	case *policy.Balance:
		*p = policy.Balance(i)
	case *policy.RADIUSUser:
		*p = policy.RADIUSUser(i)
	case *Level:
		*p = Level(i)
	}
}

func parseBool(_ *field, s string) (bool, problem) {
	switch strings.ToLower(s) {
	case "on", "true", "yes":
		return true, problem{}
	case "off", "false", "no":
		return false, problem{}
	}
	return false, problem{quoteKey(s) + " is neither on nor off", "write on or off"}
}

func parseText(f *field, s string) (string, problem) {
	switch {
	case int64(len(s)) < f.min:
		return "", problem{"the text is empty", "write a text, or remove the key" + defaultText(f)}
	case f.max > 0 && int64(len(s)) > f.max:
		return "", problem{fmt.Sprintf("the text has %d octets", len(s)), fmt.Sprintf("shorten it to %d octets", f.max)}
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "", problem{"the text has characters that cannot be printed", "remove them"}
	case f.typ == "path" && s != "" && !filepath.IsAbs(s):
		return "", problem{quoteKey(s) + " is not an absolute path", "write the whole path" + defaultText(f)}
	}
	return s, problem{}
}

func parseNumber[V int | uint16 | uint32](f *field, s string) (V, problem) {
	if v, ok := f.special[strings.ToLower(s)]; ok {
		return V(v), problem{}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, problem{quoteKey(s) + " is not a number", "allowed: " + typeText(f)}
	}
	if v < f.min || v > f.max {
		return 0, problem{fmt.Sprintf("%d is out of range", v), "allowed: " + typeText(f)}
	}
	return V(v), problem{}
}

// sizes are the units of octets, the largest first.
var sizes = []struct {
	unit   string
	octets int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// parseSize reads a number of octets, with a unit or without.
func parseSize(f *field, s string) (int64, problem) {
	number, octets := s, int64(1)
	for _, z := range sizes {
		if before, ok := strings.CutSuffix(s, z.unit); ok {
			number, octets = strings.TrimSpace(before), z.octets
			break
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil:
		return 0, problem{quoteKey(s) + " is not a size", "write octets, or a number with KiB, MiB or GiB, such as 64MiB; allowed: " + typeText(f)}
	case v < 0 || v > f.max/octets || v*octets < f.min:
		return 0, problem{s + " is out of range", "allowed: " + typeText(f)}
	}
	return v * octets, problem{}
}

// sizeText is octets as the file would have them.
func sizeText(octets int64) string {
	for _, z := range sizes {
		if octets > 0 && octets%z.octets == 0 {
			return fmt.Sprint(octets/z.octets, z.unit)
		}
	}
	return fmt.Sprint(octets)
}

func parseDuration(f *field, s string) (time.Duration, problem) {
	if v, ok := f.special[strings.ToLower(s)]; ok {
		return time.Duration(v), problem{}
	}
	if s == "0" || s == "0s" {
		if v, ok := f.special["never"]; ok && v == 0 {
			return 0, problem{}
		}
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil && s != "0" {
		return 0, problem{s + " has no unit", "write " + s + "s for seconds, " + s + "m for minutes"}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, problem{quoteKey(s) + " is not a duration", "write a number with a unit, such as 60s, 5m or 1m30s; allowed: " + typeText(f)}
	}
	if int64(d) < f.min || int64(d) > f.max {
		return 0, problem{s + " is out of range", "allowed: " + typeText(f)}
	}
	return d, problem{}
}

func parseAddress(f *field, s string) (netip.Addr, problem) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		advice := "allowed: " + typeText(f)
		if strings.Contains(s, "/") {
			advice = "write the address alone, without /" + s[strings.LastIndexByte(s, '/')+1:]
		}
		return netip.Addr{}, problem{quoteKey(s) + " is not an IP address", advice}
	case a.Is6() && a.IsLinkLocalUnicast():
		return netip.Addr{}, problem{s + " is link-local: it needs an interface, which is not offered", "write an address that is valid everywhere"}
	case a.Zone() != "":
		return netip.Addr{}, problem{s + " has a zone", "write an address that is valid everywhere"}
	}
	a = a.Unmap()
	switch {
	case strings.Contains(f.typ, "IPv4") && !a.Is4():
		return netip.Addr{}, problem{s + " is not an IPv4 address", "write an IPv4 address"}
	case strings.Contains(f.typ, "IPv6") && !a.Is6():
		return netip.Addr{}, problem{s + " is not an IPv6 address", "write an IPv6 address"}
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, problem{s + " is no host's address", "write the address of one host"}
	case strings.Contains(f.typ, "IPv4"):
		if what := notOnLink(policy.Range{From: a, To: a}); what != "" {
			return netip.Addr{}, problem{fmt.Sprintf("%s is within %s, which no link has", s, what), "write an address that a host may have"}
		}
	}
	return a, problem{}
}

// notOnLink names a range with an address in r that no end of a link may have; "" if there is none.
func notOnLink(r policy.Range) string {
	for _, odd := range [][2]string{{"0.0.0.0/8", "this network"}, {"127.0.0.0/8", "loopback"}, {"224.0.0.0/4", "multicast"}, {"255.255.255.255/32", "broadcast"}} {
		if r.Overlaps(policy.PrefixRange(netip.MustParsePrefix(odd[0]))) {
			return odd[0] + " (" + odd[1] + ")"
		}
	}
	return ""
}

func parseListen(f *field, s string) (netip.AddrPort, problem) {
	port := uint16(policy.DefaultPort)
	switch f.path {
	case "radius.coa.listen":
		port = coaPort
	case "metrics.listen":
		port = metricsPort
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.AddrPort{}, problem{
				quoteKey(s) + " is not an address with a port", fmt.Sprintf(`write "0.0.0.0:%d", "[::]:%d" or an address of this host`, port, port),
			}
		}
		ap = netip.AddrPortFrom(a, port)
	}
	switch {
	case ap.Port() == 0:
		return netip.AddrPort{}, problem{"port 0 cannot be listened on", fmt.Sprintf("write port %d", port)}
	case ap.Addr().IsMulticast():
		return netip.AddrPort{}, problem{s + " is a multicast address", "write an address of this host"}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), problem{}
}

func parseRoute(_ *field, s string) (netip.Prefix, problem) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, problem{quoteKey(s) + " is not a network", "write network/bits, such as 192.168.20.0/24"}
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p, err = policy.UnmapPrefix(p); err != nil {
		return netip.Prefix{}, problem{s + ": " + err.Error(), "write the IPv4 network: network/bits"}
	}
	if p.Masked() != p {
		return netip.Prefix{}, problem{s + " has host bits", "write " + p.Masked().String() + ", or " + p.Addr().String() + " for the one host"}
	}
	return p, problem{}
}

func parseSourceRange(f *field, s string) (policy.Range, problem) {
	r, err := policy.ParseRange(s)
	switch {
	case err == nil:
	case looksNamed(s):
		advice := "write its addresses: names are not looked up here"
		if f.key() == "from" && f.path != "radius.coa.clients[].from" {
			advice += "; for the peer that calls itself so, write from: any and host_name: " + s
		}
		return r, problem{quoteKey(s) + " is a name, not an address", advice}
	default:
		return r, problem{err.Error(), "write any, an address, from-to, or network/bits"}
	}
	if f.path == "pools.*.ranges" {
		switch {
		case r.IsAny():
			return r, problem{"a pool cannot be any", "write the addresses: from-to, or network/bits"}
		case !r.From.Is4():
			return r, problem{r.String() + " is not IPv4", "write IPv4 ranges: pools of IPv6 are not offered by this version"}
		}
		if what := notOnLink(r); what != "" {
			return r, problem{fmt.Sprintf("%v has addresses of %s, which no link has", r, what), "leave them out"}
		}
	}
	return r, problem{}
}

// looksNamed says that s is a host name, and no mistyped address.
func looksNamed(s string) bool {
	first, _, _ := strings.Cut(s, ".")
	return hostName(s) && strings.ContainsFunc(first, unicode.IsLetter)
}

// typeText says for people what a field may be.
func typeText(f *field) string {
	limits := ""
	if f.max > 0 {
		limits = fmt.Sprintf(" %d..%d", f.min, f.max)
	}
	switch {
	case f.typ != "":
		return f.typ
	case len(f.words) > 0:
		return strings.Join(f.words, ", ")
	}
	text := "text"
	switch f.at(objectOf(f)).(type) {
	case *bool, inverted:
		text = "on or off"
	case *int64:
		text = "size " + sizeText(f.min) + ".." + sizeText(f.max)
	case *int, *uint16, *uint32:
		text = "number" + limits
	case *time.Duration:
		text = "duration " + short(f.min) + ".." + short(f.max)
	case *netip.Addr:
		text = "address"
	case *policy.Range:
		text = "any, address, from-to or prefix"
	case *policy.Secret:
		text = "secret"
	case *[]netip.Addr:
		text = "list of addresses"
	case *[]netip.AddrPort:
		text = "list of address:port"
	case *[]netip.Prefix:
		text = "list of prefixes"
	case *[]policy.Range:
		text = "list of addresses, from-to or prefixes"
	}
	for _, word := range []string{"never", "auto", "unlimited", "none"} {
		if _, ok := f.special[word]; ok {
			text += " or " + word
		}
	}
	return text
}

// objectOf is an empty object of the kind that f belongs to.
func objectOf(f *field) any {
	below := func(prefix string) bool { return strings.HasPrefix(f.path, prefix) }
	switch {
	case below("lac.access[]."):
		return &policy.Access{PPPoE: &policy.PPPoE{}, TTY: &policy.TTY{}}
	case below("lac.rules[].lns[]."):
		return &policy.LNS{}
	case below("lac.rules[]."):
		return &policy.Rule{}
	case below("radius.servers[]."):
		return &policy.RADIUSServer{}
	case below("radius.coa.clients[]."):
		return &policy.CoAClient{}
	}
	switch top, _, _ := strings.Cut(f.path, "."); top {
	case "lac":
		return &policy.LAC{}
	case "radius":
		return &policy.RADIUS{}
	case "server":
		return &policy.Server{}
	case "secrets[]":
		return &policy.SecretRule{}
	case "calls":
		return &policy.Call{}
	case "lns":
		return &policy.Accept{}
	case "ppp":
		return &policy.Template{}
	case "pools":
		return &policy.Pool{}
	case "users":
		return &policy.User{}
	}
	return &Config{}
}

// short prints a duration without zero units: 1h, not 1h0m0s.
func short(ns int64) string {
	s := time.Duration(ns).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
