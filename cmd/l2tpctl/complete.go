package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/observe"
)

// lister returns what a word of a command line may be: each with a remark behind a tabulator.
type lister func(context.Context, *api.Client) ([]cobra.Completion, error)

// completions are by what the usage of a command calls its argument, or by the name of an option.
func completions() map[string]lister {
	return map[string]lister{
		"TUNNEL": tunnelIDs, "tunnel": tunnelIDs,
		"SESSION": sessionNames, "session": sessionNames,
		"CALL": callNames, "call": callNames,
		"USER": userNames, "user": userNames,
		"ADDRESS": peerAddresses, "peer": peerAddresses,
		"ID": debugIDs, "POOL": poolNames, "SHELL": shells, "output": outputs,
	}
}

// completeAll has every command below c complete its argument and its options from the daemon that runs.
func (t *tool) completeAll(c *cobra.Command) error {
	known := completions()
	if use := strings.Fields(c.Use); len(use) > 1 {
		switch of := known[use[1]]; {
		case of != nil:
			c.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return t.complete(c.Context(), of, begun)
			}
		case strings.HasPrefix(strings.Trim(use[1], "[]"), "FILE"):
			c.ValidArgsFunction = cobra.FixedCompletions([]cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
		}
	}
	if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for name, of := range known {
		if c.LocalFlags().Lookup(name) == nil || c.HasParent() && c.InheritedFlags().Lookup(name) != nil {
			continue
		}
		err := c.RegisterFlagCompletionFunc(name, func(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return t.complete(c.Context(), of, begun)
		})
		if err != nil {
			return fmt.Errorf("complete --%s of %s: %w", name, c.CommandPath(), err)
		}
	}
	for _, sub := range c.Commands() {
		if err := t.completeAll(sub); err != nil {
			return err
		}
	}
	return nil
}

// complete asks the daemon. One that does not answer at once has nothing to offer: nobody wants to read of it in the middle of a line.
func (t *tool) complete(ctx context.Context, of lister, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, t.tab)
	defer cancel()
	all, err := of(ctx, api.NewClient(api.ClientConfig{Path: t.socket, Wait: -1}))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all = slices.DeleteFunc(all, func(word string) bool { return !strings.HasPrefix(word, begun) })
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// offer adds a word and a remark, unless a peer has put something into the word that a shell could take for more than one.
func offer(all []cobra.Completion, word, remark string) []cobra.Completion {
	if word == "" || word != observe.Clean(word) || strings.ContainsAny(word, expands) {
		return all
	}
	remark = strings.Map(func(r rune) rune {
		if strings.ContainsRune("$`\"'", r) {
			return '.'
		}
		return r
	}, observe.Clean(remark))
	return append(all, cobra.CompletionWithDesc(word, shorten(remark, widest)))
}

// expands are the characters in which a shell sees more than themselves.
const expands = " '\"\\$`;&|<>()*?#~!"

func tunnelIDs(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Tunnels(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range snap.Tunnels {
		c := &snap.Tunnels[i]
		all = offer(all, id(c.ID), port(c.Remote)+" "+c.HostName)
	}
	return all, nil
}

func sessionNames(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Sessions(ctx, "", "")
	if err != nil {
		return nil, err
	}
	for i := range snap.Sessions {
		c := &snap.Sessions[i]
		all = offer(all, sessionName(c), heldBy(c))
	}
	return all, nil
}

func callNames(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Calls(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range snap.Calls {
		c := &snap.Calls[i]
		all = offer(all, c.Name, string(c.State))
	}
	return all, nil
}

func userNames(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Sessions(ctx, "", "")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range snap.Sessions {
		c := &snap.Sessions[i]
		if !seen[c.User] {
			all = offer(all, c.User, sessionName(c))
		}
		seen[c.User] = true
	}
	slices.Sort(all)
	return all, nil
}

func peerAddresses(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Peers(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range snap.Peers {
		c := &snap.Peers[i]
		all = offer(all, addr(c.Address), c.HostName)
	}
	return all, nil
}

func poolNames(ctx context.Context, client *api.Client) (all []cobra.Completion, err error) {
	snap, err := client.Pools(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range snap.Pools {
		c := &snap.Pools[i]
		all = offer(all, c.Name, fmt.Sprintf("%d of %d used", c.Used, c.Size))
	}
	return all, nil
}

func shells(context.Context, *api.Client) ([]cobra.Completion, error) {
	return []cobra.Completion{"bash", "zsh", "fish"}, nil
}

func outputs(context.Context, *api.Client) ([]cobra.Completion, error) { return formats(), nil }

func (t *tool) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print what makes bash, zsh or fish complete commands, names and ids",
		Long: `Print a script that makes a shell complete commands, options, and what the running daemon has: tunnels, sessions, calls, users, peers, pools.

  bash  l2tpctl completion bash | sudo tee /etc/bash_completion.d/l2tpctl     (with the package bash-completion)
  zsh   l2tpctl completion zsh | sudo tee /usr/local/share/zsh/site-functions/_l2tpctl
  fish  l2tpctl completion fish > ~/.config/fish/completions/l2tpctl.fish`,
		Args: arguments(1),
		RunE: func(c *cobra.Command, args []string) error {
			var b bytes.Buffer
			var err error
			switch args[0] {
			case "bash":
				err = c.Root().GenBashCompletionV2(&b, true)
			case "zsh":
				err = c.Root().GenZshCompletion(&b)
			case "fish":
				err = c.Root().GenFishCompletion(&b, true)
			default:
				return usagef("one of: bash, zsh, fish", "there is no completion for %q", args[0])
			}
			if err != nil {
				return fmt.Errorf("write the completion for %s: %w", args[0], err)
			}
			return t.print(b.String())
		},
	}
}
