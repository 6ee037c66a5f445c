package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func (t *tool) debugCommand() *cobra.Command {
	return noun("debug", "Show changes of state and packets as they happen",
		`Show what happens to tunnels, sessions, calls, peers and users, those that are there and those to come, on this terminal and in the
log. A target without a name stands for all of its sort: --tunnel is every tunnel, --tunnel 4711 that one. What is a session's is not
shown with its tunnel: say both to see both. Passwords, responses and hidden values are masked.`,
		t.debugVerb("state", "Show changes of state: tunnels, sessions, stages of the set-up", api.DebugRequest{State: true}),
		t.debugVerb("packet", "Show control messages and PPP negotiation, decoded", api.DebugRequest{Packet: true}),
		t.debugVerb("all", "Show changes of state and packets", api.DebugRequest{State: true, Packet: true}),
		t.look("list", "List debugs under way, on terminals and in the background", "", 0,
			func(c *cobra.Command, _ []string) (*api.Snapshot, error) { return api.Debugs(c.Context(), t.client()) },
			func(s *api.Snapshot) string { return listDebugs(s, t.wide()) }),
		t.act(api.VerbDebugStop, "stop ID", "End a debug, or all", "End the debug with this number, as l2tpctl debug list shows it, or all: l2tpctl debug stop all."))
}

// debugVerb is one of the verbs that begin a debug.
func (t *tool) debugVerb(name, short string, r api.DebugRequest) *cobra.Command {
	var of targets
	c := &cobra.Command{
		Use: name, Short: short,
		Example: "  l2tpctl debug " + name + ` --tunnel --session --for 1m
  l2tpctl debug ` + name + ` --call branch
  l2tpctl debug ` + name + ` --peer 203.0.113.2 --background`,
		Args: func(c *cobra.Command, args []string) error { return of.take(c, args) },
		RunE: func(c *cobra.Command, _ []string) error {
			r.Of = of.byName()
			return t.debug(c.Context(), r)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			x := of.before(len(args))
			if x == nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return t.complete(c.Context(), completions()[string(x.sort)], begun)
		},
	}
	f := c.Flags()
	for _, x := range []struct {
		sort  api.DebugSort
		usage string
	}{
		{api.DebugTunnel, "the tunnel `TUNNEL` itself, without its sessions"},
		{api.DebugSession, "the session `SESSION`: TUNNEL/SESSION, line/NUMBER, its call or its user"},
		{api.DebugCall, "the sessions of the configured call `CALL`, up or not"},
		{api.DebugPeer, "all that is exchanged with `ADDRESS`, which need not have called yet"},
		{api.DebugUser, "the sessions of `USER`, from when his name is known"},
	} {
		f.Var(&targetFlag{&of, x.sort, f}, string(x.sort), x.usage)
		f.Lookup(string(x.sort)).NoOptDefVal = api.DebugAll
	}
	f.DurationVar(&r.For, "for", api.DefaultDebugTime, "end after this time")
	f.BoolVar(&r.Background, "background", false, "show it in the log only, and do not wait")
	if r.Packet {
		f.BoolVar(&r.Hex, "hex", false, "show the octets of packets too")
	}
	return c
}

// targets are whom a debug is of, in the order in which they were said.
type targets []*target

type target struct {
	sort   api.DebugSort
	ref    string
	behind int // how many words stand before it
}

// targetFlag is an option that says one. Without a value it stands for all of its sort. A word behind it is not its value to the parser,
// which is why take looks for it.
type targetFlag struct {
	of   *targets
	sort api.DebugSort
	line *pflag.FlagSet
}

// String implements pflag.Value.
func (*targetFlag) String() string { return "" }

// Type implements pflag.Value.
func (x *targetFlag) Type() string { return string(x.sort) }

// Set implements pflag.Value.
func (x *targetFlag) Set(ref string) error {
	*x.of = append(*x.of, &target{x.sort, ref, x.line.NArg()})
	return nil
}

// before is the option without a value that stands last before a word; nil: there is none.
func (of targets) before(word int) *target {
	for _, x := range slices.Backward(of) {
		if x.ref == api.DebugAll && x.behind == word {
			return x
		}
	}
	return nil
}

// take gives words to the options that they stand behind.
func (of targets) take(c *cobra.Command, words []string) error {
	if len(of) == 0 {
		return usagef("say one or more of --tunnel, --session, --call, --peer and --user, each with a name or for all", "%s needs to know whose", path(c))
	}
	for i, word := range words {
		x := of.before(i)
		if x == nil {
			return usagef("a name stands behind its option: "+c.CommandPath()+" --help lists them", "%q belongs to no option", word)
		}
		x.ref = word
	}
	return nil
}

func (of targets) byName() map[api.DebugSort][]string {
	all := map[api.DebugSort][]string{}
	for _, x := range of {
		all[x.sort] = append(all[x.sort], x.ref)
	}
	return all
}

// debug shows what the daemon does until it ends, or the operator ends it.
func (t *tool) debug(ctx context.Context, r api.DebugRequest) error {
	if r.For <= 0 {
		return usagef("for example --for 5m", "%v is no time for a debug", r.For)
	}
	for _, ref := range r.Of[api.DebugTunnel] {
		if ref != api.DebugAll {
			if err := api.CheckTunnel(ref); err != nil {
				return err
			}
		}
	}
	for _, ref := range r.Of[api.DebugPeer] {
		if ref != api.DebugAll {
			if err := api.CheckAddress(ref); err != nil {
				return err
			}
		}
	}
	err := api.FollowDebug(ctx, t.client(), r, func(x api.DebugRecord) error {
		switch t.format {
		case formatJSON, formatJSONL:
			return t.jsonLine(x)
		case formatYAML:
			if err := t.print("---\n"); err != nil {
				return err
			}
			return t.yaml(x)
		}
		switch x.Kind {
		case api.DebugBegins:
			if r.Background {
				return t.print(line(x.Message+":") + line(fmt.Sprintf("  journalctl -u l2tpd -f L2TP_DEBUG=%d", x.Debug)))
			}
			_, err := io.WriteString(t.err, line(x.Message+"; Ctrl-C ends it"))
			return err
		case api.DebugEnds:
			_, err := io.WriteString(t.err, line(x.Message))
			return err
		case api.DebugState, api.DebugPacket, api.DebugLeftOut:
		}
		return t.print(debugText(&x, t.zone))
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("l2tpd has gone: the debug has ended")
	}
	return err
}

// debugText is a record as the AR routers print it (S55, S56): a label with the ids and the address, and below it the two states or the
// packet. Theirs has the peer's ids only.
func debugText(x *api.DebugRecord, zone *time.Location) string {
	at := x.Time.In(zone).Format("15:04:05.000") + " "
	if x.Kind == api.DebugLeftOut {
		return line(at + "... " + x.Message)
	}
	label := at + debugLabel(x)
	if x.Kind == api.DebugState {
		stage := ""
		if x.Of == "stage" {
			stage = "stage "
		}
		return line(label) + line(fmt.Sprintf("  %s%s -> %s", stage, x.From, x.To))
	}
	way := map[string]string{"in": " rx", "out": " tx"}[x.Direction]
	return line(label+way) + line("  "+x.Decoded) + hexGroups(x.Hex)
}

// debugLabel is whose a record is: our ids, and the peer's, which are 0 until they are known.
func debugLabel(x *api.DebugRecord) string {
	var parts []string
	switch {
	case x.Line != 0:
		parts = append(parts, fmt.Sprint(api.LineRef, x.Line))
	case x.Tunnel == 0:
		parts = append(parts, fmt.Sprintf("no tunnel, peer's %d", x.PeerTunnel))
	default:
		parts = append(parts, fmt.Sprintf("tunnel %d, peer's %d", x.Tunnel, x.PeerTunnel))
	}
	if x.Line == 0 && x.Of != "tunnel" {
		parts = append(parts, fmt.Sprintf("session %d, peer's %d", x.Session, x.PeerSession))
	}
	if x.Call != "" {
		parts = append(parts, "call "+x.Call)
	}
	if x.User != "" {
		parts = append(parts, "user "+x.User)
	}
	if x.Line != 0 {
		parts = append(parts, "at "+x.Access)
	} else {
		parts = append(parts, "to "+port(x.Peer))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// hexGroups are octets in groups of 32 bits, nine a line.
func hexGroups(digits string) string {
	var b strings.Builder
	for i, group := 0, groupsOf8(digits); i < len(group); i += 9 {
		b.WriteString(line("  " + strings.Join(group[i:min(i+9, len(group))], " ")))
	}
	return b.String()
}

// groupsOf8 cuts digits into groups of eight.
func groupsOf8(digits string) (groups []string) {
	for len(digits) > 8 {
		groups, digits = append(groups, digits[:8]), digits[8:]
	}
	if digits != "" {
		groups = append(groups, digits)
	}
	return groups
}

func listDebugs(s *api.Snapshot, wide bool) string {
	if len(s.Debugs) == 0 {
		return "no debugs\n"
	}
	type row = api.Debugging
	return table(
		s.Debugs, wide,
		column[row]{"DEBUG", always, func(c *row) string { return strconv.Itoa(c.ID) }},
		column[row]{"ENDS IN", always, func(c *row) string { return span(c.EndsAt.Sub(s.TakenAt)) }},
		column[row]{"RECORDS", always, func(c *row) string { return strconv.FormatUint(c.Records, 10) }},
		column[row]{"LEFT OUT", always, func(c *row) string { return strconv.FormatUint(c.LeftOut, 10) }},
		column[row]{"BY", always, func(c *row) string { return c.By }},
		column[row]{"WHERE", onlyWide, func(c *row) string { return yes(c.Background, "log", "log and terminal") }},
		column[row]{"HEX", onlyWide, func(c *row) string { return yes(c.Hex, "yes", "no") }},
		column[row]{"SHOWS", always, func(c *row) string { return c.What }},
	)
}

// debugIDs are what debug stop takes.
func debugIDs(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := api.Debugs(ctx, client)
	if err != nil {
		return nil, err
	}
	for i := range snap.Debugs {
		all = offer(all, strconv.Itoa(snap.Debugs[i].ID), snap.Debugs[i].What)
	}
	return offer(all, "all", "every debug"), nil
}
