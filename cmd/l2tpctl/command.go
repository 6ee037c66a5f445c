package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// root returns the whole command tree.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "l2tpctl",
		Short: "Look at l2tpd and tell it what to do",
		Long: `l2tpctl asks the running l2tpd over its unix socket.

Everybody in group l2tpd may look; root may act.

Exit codes: 0 done, 1 failed, or status found something wrong, 2 wrong usage, 3 no such tunnel, session, call, pool or peer, 4 the daemon cannot be reached.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          oneOfItsVerbs,
	}
	asked := root.Flags().Bool("version", false, "show the version of l2tpctl")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *asked {
			return t.version()
		}
		return c.Help()
	}
	root.CompletionOptions.DisableDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&t.socket, "socket", api.DefaultSocket, "socket of the daemon")
	flags.StringVarP(&t.format, "output", "o", formatTable, "table, wide, json, yaml or jsonl")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return t.checkFormat() }
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef(c.CommandPath()+" --help lists the options", "%v", err)
	})
	root.AddCommand(t.statusCommand(), t.tunnelCommand(), t.sessionCommand(), t.callCommand(), t.eventsCommand(), t.explainCommand(), t.captureCommand(), t.debugCommand(), t.topCommand(), t.reloadCommand(), t.versionCommand(),
		t.acceptCommand(), t.lacCommand(), t.poolCommand(), t.peerCommand(), t.radiusCommand(), t.countersCommand(), t.configCommand(),
		t.completionCommand())
	return root
}

// oneOfItsVerbs is the argument check of a command that only groups others: whatever comes is no verb of it.
func oneOfItsVerbs(c *cobra.Command, args []string) error {
	var verbs []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			verbs = append(verbs, sub.Name())
		}
	}
	list := strings.Join(verbs, ", ")
	c.SuggestionsMinimumDistance = 2
	switch {
	case len(args) > 0:
		hint := "one of: " + list
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + c.CommandPath() + " " + near[0] + "?"
		}
		return usagef(hint, "there is no command %q", strings.TrimSpace(path(c)+" "+args[0]))
	case c.HasParent():
		return usagef("one of: "+list, "%s needs a verb", path(c))
	}
	return nil
}

// path returns the words of c without the program's name.
func path(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().Name()), " ")
}

// noun returns a command that groups verbs.
func noun(name, short, long string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Long: long,
		Args: oneOfItsVerbs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(verbs...)
	return c
}

// arguments returns an argument check for exactly the arguments that a command's usage line names in capitals.
func arguments(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		use := strings.Fields(c.Use)
		what := "no argument"
		if n > 0 {
			what = "one argument, " + use[1]
		}
		line := c.CommandPath()
		if n > 0 {
			line += " " + use[1]
		}
		return usagef("usage: "+line, "%s takes %s; got %d", path(c), what, len(args))
	}
}

// tunnelID checks the one argument of a command before the daemon is asked, which may be long in answering.
func tunnelID(c *cobra.Command, args []string) error {
	if err := arguments(1)(c, args); err != nil {
		return err
	}
	return api.CheckTunnel(args[0])
}

// look returns a command that gets a Snapshot and shows it, for people by show.
func (t *tool) look(use, short, long string, args int, get func(*cobra.Command, []string) (*api.Snapshot, error), show func(*api.Snapshot) string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: arguments(args),
		RunE: func(c *cobra.Command, args []string) error {
			snap, err := get(c, args)
			if err != nil {
				return err
			}
			return t.show(snap, func() string { return show(snap) })
		},
	}
}

func (t *tool) print(s string) error {
	if _, err := fmt.Fprint(t.out, s); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// act returns a command that has something done and prints what the daemon says of it.
func (t *tool) act(verb api.Verb, use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: arguments(len(strings.Fields(use)) - 1),
		RunE: func(c *cobra.Command, args []string) error {
			req := api.Request{Verb: verb}
			if len(args) > 0 {
				req.Ref = args[0]
			}
			res, err := t.client().Act(c.Context(), req)
			if err != nil {
				return err
			}
			return t.result(res)
		},
	}
}

func (t *tool) result(res *api.Result) error {
	return t.show(res, func() string {
		text := line(res.Message)
		for _, d := range res.Details {
			text += line("  " + d)
		}
		return text
	})
}

func (t *tool) statusCommand() *cobra.Command {
	counters := false
	var raised []api.Condition
	c := t.look("status", "Show the daemon: mode, sockets, kernel, counts, health, problems",
		"Show the daemon as a whole. The exit code is 1 when something is wrong with it: then it is shown under Health, and in one line as an error.", 0,
		func(c *cobra.Command, _ []string) (*api.Snapshot, error) {
			snap, err := t.client().Status(c.Context())
			if err == nil && snap.Status != nil {
				raised = snap.Status.Health
			}
			return snap, err
		},
		func(s *api.Snapshot) string { return showStatus(s, counters) })
	show := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := show(c, args); err != nil {
			return err
		}
		return unhealthy(raised)
	}
	c.Flags().BoolVarP(&counters, "counters", "c", false, "show all counters too")
	return c
}

func (t *tool) tunnelCommand() *cobra.Command {
	show := t.look("show TUNNEL", "Show one tunnel: peer, windows, numbers, timers, counters, sessions", "", 1,
		func(c *cobra.Command, args []string) (*api.Snapshot, error) {
			return t.client().Tunnels(c.Context(), args[0])
		}, func(s *api.Snapshot) string { return showTunnel(s, t.wide()) })
	end := t.act(api.VerbTunnelClose, "close TUNNEL", "Close one tunnel and all its sessions",
		"Close one tunnel and all its sessions: the peer gets a StopCCN. A configured call that was up in it is dialled again.")
	show.Args, end.Args = tunnelID, tunnelID
	return noun("tunnel", "List, show and close tunnels", "A tunnel is named by its local id, as the list shows it.",
		t.look("list", "List tunnels", "", 0,
			func(c *cobra.Command, _ []string) (*api.Snapshot, error) { return t.client().Tunnels(c.Context(), "") },
			func(s *api.Snapshot) string { return listTunnels(s, t.wide()) }),
		show, end)
}

func (t *tool) sessionCommand() *cobra.Command {
	tunnel := ""
	list := t.look("list", "List sessions", "", 0,
		func(c *cobra.Command, _ []string) (*api.Snapshot, error) {
			if tunnel != "" {
				if err := api.CheckTunnel(tunnel); err != nil {
					return nil, err
				}
			}
			return t.client().Sessions(c.Context(), tunnel, "")
		}, func(s *api.Snapshot) string { return listSessions(s, t.wide()) })
	list.Flags().StringVar(&tunnel, "tunnel", "", "only the sessions of this tunnel")
	return noun("session", "List, show and close sessions",
		"A session is named TUNNEL/SESSION with local ids, or by its session id, its call or its user where only one session fits.",
		list,
		t.look("show SESSION", "Show one session: call, PPP, addresses, kernel counters", "", 1,
			func(c *cobra.Command, args []string) (*api.Snapshot, error) {
				return t.client().Sessions(c.Context(), "", args[0])
			}, showSession),
		t.act(api.VerbSessionClose, "close SESSION", "Close one session",
			"Close one session: the peer gets a CDN. The session of a configured call is dialled again; l2tpctl call down keeps it down."))
}

func (t *tool) callCommand() *cobra.Command {
	var wait time.Duration
	up := t.act(api.VerbCallUp, "up CALL", "Dial a call now",
		"Dial a call now, whether or not it is time to. With --wait, tell how it ended: exit code 1 and the reason if it did not come up.")
	up.Flags().DurationVar(&wait, "wait", 0, "wait this long for the call to come up, for example 30s")
	start := up.RunE
	up.RunE = func(c *cobra.Command, args []string) error {
		if wait == 0 {
			return start(c, args)
		}
		return t.dialAndWait(c.Context(), args[0], wait)
	}
	return noun("call", "List, show, dial and drop configured calls", "A call is named as in the configuration; case does not matter.",
		t.look("list", "List configured calls and what became of them", "", 0,
			func(c *cobra.Command, _ []string) (*api.Snapshot, error) { return t.client().Calls(c.Context(), "") },
			func(s *api.Snapshot) string { return listCalls(s, t.wide()) }),
		t.look("show CALL", "Show one configured call", "", 1,
			func(c *cobra.Command, args []string) (*api.Snapshot, error) {
				return t.client().Calls(c.Context(), args[0])
			}, showCall),
		up,
		t.act(api.VerbCallDown, "down CALL", "Drop a call and keep it down until it is asked up",
			"Drop a call and keep it down until l2tpctl call up or a restart: it is not dialled, and the peer's calls to it are refused. "+
				"The name of its session does as well."))
}

func (t *tool) reloadCommand() *cobra.Command {
	return t.act(api.VerbReload, "reload", "Read the configuration again and apply the difference",
		"Read the configuration again and apply the difference. A configuration with errors changes nothing: l2tpd check explains them.")
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of l2tpctl", Args: arguments(0),
		RunE: func(*cobra.Command, []string) error { return t.version() },
	}
}

func (t *tool) version() error {
	return t.show(t.build, func() string { return t.build.String() + "\n" })
}
