package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/access/tty"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// readUnlessNone reads a secret or the word none; the word only keeps the check from warning.
func readUnlessNone[O any](get func(*O) *policy.Secret) func(w *walker, f *field, n *yaml.Node, object any) {
	return func(w *walker, f *field, n *yaml.Node, object any) {
		if isNone(n) {
			return
		}
		if s, ok := w.secret(f, n); ok {
			*get(object.(*O)) = s
		}
	}
}

// longestText bounds the texts of a list in octets, mostTexts their number.
const (
	longestText = 128
	mostTexts   = 64
)

// readTexts reads a list of texts of which each is there once.
func readTexts(w *walker, f *field, n *yaml.Node, object any) {
	items(w, &field{path: f.path, typ: f.typ, max: mostTexts}, n, f.at(object).(*[]string), func(_ *field, s string) (string, problem) {
		return parseText(&field{min: 1, max: longestText}, s)
	})
}

// readScript reads a chat script: what is expected and said in turn, "" where nothing is.
func readScript(w *walker, f *field, n *yaml.Node, object any) {
	if !w.plainNode(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		w.fault(n, f.key()+": expected a list of texts, found "+describe(n), "write what is expected and said in turn: "+f.example)
		return
	}
	var script []string
	for _, item := range n.Content {
		var s string
		if scalar(w, f, item, &s, func(_ *field, s string) (string, problem) { return parseText(&field{max: longestText}, s) }) {
			script = append(script, s)
		}
	}
	if len(script) > mostTexts {
		w.fault(n, fmt.Sprintf("%s has %d entries", f.key(), len(script)), fmt.Sprintf("keep at most %d", mostTexts))
		return
	}
	if err := tty.CheckScript(script); err != nil {
		w.fault(n, f.key()+": "+err.Error(), "write what is expected and said in turn: "+f.example)
		return
	}
	*f.at(object).(*[]string) = script
}

// readLineType reads what a line is (S60, S159).
func readLineType(w *walker, f *field, n *yaml.Node, object any) {
	if !w.single(f, n) {
		return
	}
	t := object.(*policy.Access).TTY
	switch word := strings.ToLower(n.Value); word {
	case "async":
		t.Type = policy.CallAsync
	case "isdn":
		t.Type = policy.CallISDN
	default:
		w.misread(f, n, "type cannot be "+quoteKey(n.Value), "write one of: async, isdn")
	}
}

// matchText is whom a rule is for, as the key of its entry.
func matchText(r *policy.Rule) string {
	if r.Match == policy.MatchRealm {
		return "realm " + r.Realm
	}
	return r.Match.String()
}

// matchWords are whom a rule may be for by one word, and what else operators know them by (S89-S92).
var matchWords = []struct {
	match policy.Match
	known []string
}{
	{policy.MatchLocal, nil},
	{policy.MatchAnyRealm, []string{"remote", "realm", "any_realm", "anyrealm"}},
	{policy.MatchAll, []string{"any", "everyone"}},
	{policy.MatchUnauthenticated, []string{"none", "anonymous"}},
}

// readMatch reads whom a rule is for (S88-S92).
func readMatch(w *walker, f *field, n *yaml.Node, object any) {
	r := object.(*policy.Rule)
	if !w.plainNode(n) {
		return
	}
	if n.Kind == yaml.MappingNode {
		w.realm(f, n, r)
		return
	}
	if !w.single(f, n) {
		return
	}
	word := strings.ToLower(n.Value)
	var words []string
	for _, m := range matchWords {
		if word == m.match.String() {
			r.Match = m.match
			return
		}
		words = append(words, m.match.String())
	}
	advice := "write one of: " + strings.Join(words, ", ") + "; for users of one realm match: {realm: NAME}"
	for _, m := range matchWords {
		if slices.Contains(m.known, word) {
			words = []string{m.match.String()}
			word = words[0]
		}
	}
	switch near := nearest(word, words); {
	case near != "":
		advice = "did you mean " + near + "?"
	case strings.Contains(word, ".") && hostName(word):
		advice = "for users of one realm write match: {realm: " + word + "}"
	}
	w.misread(f, n, "match cannot be "+quoteKey(n.Value), advice)
}

const longestRealm = 253 // octets

// realm reads {realm: NAME} (S36, S88).
func (w *walker) realm(f *field, n *yaml.Node, r *policy.Rule) {
	if len(n.Content) != 2 || n.Content[0].Kind != yaml.ScalarNode || n.Content[0].Value != "realm" {
		w.fault(n, "match: a mapping with other keys than the one realm", "write match: {realm: NAME}")
		return
	}
	value := n.Content[1]
	if !w.plainNode(value) {
		return
	}
	const advice = "write the realm alone, without user@"
	if value.Kind != yaml.ScalarNode || isNull(value) {
		w.fault(value, "realm: expected a text, found "+describe(value), advice)
		return
	}
	text, p := parseText(&field{min: 1, max: longestRealm}, value.Value)
	realm := policy.FoldRealm(text)
	switch {
	case !p.none():
		w.fault(value, "realm: "+p.what, advice)
	case realm == "":
		w.fault(value, "realm: "+quoteKey(text)+" is empty", advice+"; for users without one match: local")
	case strings.ContainsAny(realm, `@\`) || strings.TrimSpace(realm) != realm:
		w.misread(f, value, "realm: "+quoteKey(text)+" is no realm", advice)
	default:
		r.Match, r.Realm = policy.MatchRealm, realm
	}
}

// actionWords are what a rule may do, and what else operators know it by (S94-S97).
var actionWords = []struct {
	action policy.Action
	known  []string
}{
	{policy.ActionTunnel, []string{"database", "l2tp", "lns"}},
	{policy.ActionDNS, []string{"dnslookup", "lookup"}},
	{policy.ActionRADIUS, nil},
	{policy.ActionLocal, []string{"ignore", "ppp", "terminate"}},
	{policy.ActionReject, []string{"deny", "refuse", "drop"}},
}

// readAction reads what becomes of a subscriber (S94-S97).
func readAction(w *walker, f *field, n *yaml.Node, object any) {
	if !w.single(f, n) {
		return
	}
	word := strings.ToLower(n.Value)
	var words []string
	near := ""
	for _, a := range actionWords {
		if word == a.action.String() {
			object.(*policy.Rule).Action = a.action
			return
		}
		words = append(words, a.action.String())
		if slices.Contains(a.known, word) {
			near = a.action.String()
		}
	}
	if near == "" {
		near = nearest(word, words)
	}
	advice := "write one of: " + strings.Join(words, ", ")
	if near != "" {
		advice = "did you mean " + near + "? (one of: " + strings.Join(words, ", ") + ")"
	}
	w.misread(f, n, "action cannot be "+quoteKey(n.Value), advice)
}

// readPrefix reads a label of DNS (S103).
func readPrefix(w *walker, f *field, n *yaml.Node, object any) {
	var s string
	if !scalar(w, f, n, &s, parseText) {
		return
	}
	if s = strings.TrimSuffix(s, "."); !hostName(s) || strings.Contains(s, ".") {
		w.misread(f, n, "prefix: "+quoteKey(n.Value)+" is no label of a name", "write letters, digits and hyphens; the dot before the realm is added")
		return
	}
	object.(*policy.Rule).Prefix = s
}

// readRuleSequencing reads when a LAC numbers packets (S100).
func readRuleSequencing(w *walker, f *field, n *yaml.Node, object any) {
	if n.Kind == yaml.ScalarNode && strings.EqualFold(n.Value, policy.SequencingStartup.String()) {
		w.fault(n, "sequencing: startup is for an LNS: a LAC does not see when the network protocols are up", "write on-request, and startup at the LNS")
		return
	}
	w.word(f, n, f.at(object))
}
