package config

import (
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Reload says when a changed value is in use after a reload.
type Reload uint8

// Reload classes, from the mildest to the hardest.
const (
	ReloadLive          Reload = iota // at once; nothing is interrupted
	ReloadNewSessions                 // by sessions that begin afterwards (S72)
	ReloadTunnelRestart               // by tunnels that begin afterwards
	ReloadDaemonRestart               // after a restart of the daemon
)

// String gives live, new-sessions, tunnel-restart or daemon-restart.
func (r Reload) String() string {
	switch r {
	case ReloadLive:
		return "live"
	case ReloadNewSessions:
		return "new-sessions"
	case ReloadTunnelRestart:
		return "tunnel-restart"
	case ReloadDaemonRestart:
		return "daemon-restart"
	}
	return "unknown"
}

// MarshalText gives String.
func (r Reload) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// kind is the shape of a field.
type kind uint8

const (
	kindValue   kind = iota // a scalar, or a list of scalars
	kindSection             // a mapping with fixed keys
	kindNamed               // a mapping from names to sections; path of a section's fields: "x.*.key"
	kindList                // a list of sections; path of a section's fields: "x[].key"
	kindRefused             // a key that is known and refused: doc says why, advice what to do instead
)

// field is one row of the table: everything that is known of one key.
type field struct {
	path    string
	kind    kind
	typ     string // for people: "address", "duration 1s..1h"; empty: from the words or the Go type
	doc     string
	rows    string // S-rows
	def     string // default as YAML; empty: none
	example string // as YAML, for the reference where there is no default; of kindNamed: a name
	reload  Reload

	required bool
	optional bool // of kindSection: what it stands for is there only where the section is; one of several in an item of a list
	aside    bool // its example contradicts the others: the reference shows it as a remark
	words    []string
	special  map[string]int64 // numbers and durations with a name
	min, max int64            // of numbers; of durations in nanoseconds; of strings in octets; both 0: no limit
	weak     int              // shorter secrets than this are warned of (S28)
	inner    []string         // keys of the mapping that may stand for the value; none of them is a secret
	names    nameRule         // of the keys of kindNamed
	aka      []string         // words that operators may know it by
	advice   string           // of kindRefused
	offOK    bool             // of kindRefused: "off" is what happens anyway and is let pass

	// at points to the value in its object, or, beside read, gives what Changes compares.
	at func(object any) any
	// read, if not nil, decodes instead of the type of the pointer that at gives. It works for defaults as well.
	read func(w *walker, f *field, n *yaml.Node, object any)
}

// nameRule says which names the keys of a kindNamed may be.
type nameRule struct {
	what   string
	max    int
	fold   bool // names that differ only in case are the same (S27)
	any    bool // every printable character; else letters, digits, "_", and "." and "-" unless strict
	strict bool
}

// in makes an accessor out of a typed one.
func in[O, V any](get func(*O) *V) func(any) any {
	return func(o any) any { return get(o.(*O)) }
}

// key is the last part of the path.
func (f *field) key() string { return f.path[strings.LastIndexByte(f.path, '.')+1:] }

// secret says that the value is one, or where one is to be found.
func (f *field) secret() bool { return strings.HasPrefix(f.typ, "secret") }

// orNone says that the word none is not a secret.
func (f *field) orNone() bool { return strings.HasSuffix(f.typ, "none") }

// node is the table as a tree.
type node struct {
	field    *field
	def      *yaml.Node // the default, parsed; nil: none
	order    []string   // keys in the order of the table
	children map[string]*node
}

// hasSecret says that n, or something below it, is a secret.
func (n *node) hasSecret() bool {
	if n.field.secret() {
		return true
	}
	for _, c := range n.children {
		if c.hasSecret() {
			return true
		}
	}
	return false
}

// keys adds the names of all keys below n.
func (n *node) keys(to map[string]bool) {
	for key, c := range n.children {
		to[key] = true
		for _, k := range c.field.inner {
			to[k] = true
		}
		c.keys(to)
	}
}

// schema is the tree of the table, made once: nobody changes it. Its root stands for the whole file.
var schema = sync.OnceValue(func() *node {
	root := &node{field: &field{kind: kindSection}, children: map[string]*node{}}
	for _, f := range table() {
		at := root
		parts := strings.Split(strings.ReplaceAll(strings.ReplaceAll(f.path, ".*", ""), "[]", ""), ".")
		for _, p := range parts[:len(parts)-1] {
			at = at.children[p]
		}
		key := parts[len(parts)-1]
		at.order = append(at.order, key)
		at.children[key] = &node{field: f, def: parseDefault(f.def), children: map[string]*node{}}
	}
	return root
})

// keyNames are the names of all keys, made once.
var keyNames = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	schema().keys(names)
	return names
})

// parseDefault gives the node of a default without a position. That every default parses is tested.
func parseDefault(text string) *yaml.Node {
	if text == "" {
		return nil
	}
	doc, err := decodeNode(yaml.NewDecoder(strings.NewReader(text)))
	if err != nil || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// table is every key of the configuration in the order of the manual. It is made anew on each call: nobody shares it.
func table() []*field {
	var t []*field
	for _, part := range [][]field{
		serverFields(), accessFields(), acceptFields(), lacFields(), callFields(), templateFields(), dataFields(), radiusFields(), daemonFields(),
	} {
		for i := range part {
			t = append(t, &part[i])
		}
	}
	return t
}

// tunnelFields are the rows of a control connection below prefix; the defaults of a call are the server's.
func tunnelFields(prefix string, reload Reload, defaults bool, get func(any) *policy.Tunnel) []field {
	at := func(sel func(*policy.Tunnel) any) func(any) any {
		return func(o any) any { return sel(get(o)) }
	}
	rows := []field{
		{
			path: "receive_window", doc: "Control messages that the peer may send ahead (Receive Window Size AVP).", rows: "S136", def: "16",
			min: 1, max: 32767, at: at(func(t *policy.Tunnel) any { return &t.ReceiveWindow }),
		},
		{
			path: "hello", doc: "Silence after which HELLO asks whether the peer is still there; never: it is not asked.", def: "60s",
			min: int64(time.Second), max: int64(time.Hour), special: map[string]int64{"never": 0},
			at: at(func(t *policy.Tunnel) any { return &t.Hello }),
		},
		{
			path: "retransmit", doc: "Wait before a control message is sent again; it doubles each time.", def: "1s",
			min: int64(100 * time.Millisecond), max: int64(time.Minute), at: at(func(t *policy.Tunnel) any { return &t.Retransmit }),
		},
		{
			path: "retransmit_cap", doc: "Longest wait between two retransmissions.", rows: "S39, S104, S107", def: "8s",
			min: int64(8 * time.Second), max: int64(300 * time.Second), aka: []string{"timeout"},
			at: at(func(t *policy.Tunnel) any { return &t.RetransmitCap }),
		},
		{
			path: "max_retransmits", doc: "Retransmissions before the peer counts as gone.", def: "5", min: 1, max: 100,
			at: at(func(t *policy.Tunnel) any { return &t.MaxRetransmits }),
		},
		{
			path: "setup_timeout", doc: "Longest time that a tunnel may take to be established; auto: the whole cycle of retransmissions.", def: "auto",
			min: int64(time.Second), max: int64(10 * time.Minute), special: map[string]int64{"auto": 0},
			at: at(func(t *policy.Tunnel) any { return &t.SetupTimeout }),
		},
		{
			path: "idle_timeout", doc: "A tunnel without calls is closed after this time; never: it is kept.", rows: "S184", def: "60s",
			min: int64(time.Second), max: int64(24 * time.Hour), special: map[string]int64{"never": -1},
			at: at(func(t *policy.Tunnel) any { return &t.IdleTimeout }),
		},
	}
	for i := range rows {
		rows[i].path, rows[i].reload = prefix+"."+rows[i].path, reload
		if !defaults {
			rows[i].example, rows[i].def = rows[i].def, ""
		}
	}
	return rows
}
