package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/config"
)

func (t *tool) configCommand() *cobra.Command {
	changed := false
	show := t.look("show", "Show every key of the running configuration", "Show every key of the configuration that runs, and what is not the default. Secrets are masked.", 0,
		func(c *cobra.Command, _ []string) (*api.Snapshot, error) {
			return t.client().Settings(c.Context(), changed)
		}, func(s *api.Snapshot) string { return listSettings(s, t.wide()) })
	show.Flags().BoolVar(&changed, "changed", false, "only keys that are not the default")
	return noun("config", "Show the running configuration, check a file, begin one", "", show,
		&cobra.Command{
			Use: "check FILE", Short: "Check a configuration file and report every mistake at once",
			Long: "Check a configuration file, as l2tpd check does; the daemon is not asked. Exit code 1 if there is a mistake.", Args: arguments(1),
			RunE: func(_ *cobra.Command, args []string) error { return t.checkConfig(args[0]) },
		},
		&cobra.Command{
			Use: "init", Short: "Print an annotated configuration with every key and its default",
			Long: "Print an annotated configuration to begin with, every key with its default:\n\n  l2tpctl config init > l2tpd.yaml", Args: arguments(0),
			RunE: func(*cobra.Command, []string) error {
				if t.machine() && t.format != formatYAML {
					return usagef("leave -o away", "the configuration is YAML")
				}
				return t.print(string(config.Reference()))
			},
		})
}

func listSettings(s *api.Snapshot, wide bool) string {
	if len(s.Settings) == 0 {
		return "every key has its default\n"
	}
	type row = api.Setting
	return table(
		s.Settings, wide,
		column[row]{"", always, func(c *row) string { return yes(c.Changed, "*", " ") }},
		column[row]{"KEY", always, func(c *row) string { return c.Path }},
		column[row]{"VALUE", cut, func(c *row) string { return c.Value }},
		column[row]{"DEFAULT", onlyWide, func(c *row) string { return c.Default }},
		column[row]{"IN USE AFTER", onlyWide, func(c *row) string { return c.Reload }},
	)
}

// checked is what came of the check of a file.
type checked struct {
	APIVersion  string    `json:"apiVersion"`
	File        string    `json:"file"`
	Good        bool      `json:"good"`
	Summary     string    `json:"summary,omitempty"` // what a good one has
	Diagnostics []finding `json:"diagnostics"`
}

// finding is one thing that is wrong or doubtful.
type finding struct {
	Line    int    `json:"line,omitempty"` // from 1
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Advice  string `json:"advice,omitempty"`
	Warning bool   `json:"warning"` // the configuration is usable all the same
}

// errReported is returned for what has been put into words already.
var errReported = errors.New("reported")

// checkConfig checks a file as the daemon would.
func (t *tool) checkConfig(path string) error {
	res := checked{APIVersion: api.APIVersion, File: path, Diagnostics: []finding{}}
	conf, err := config.Load(path)
	found, bad := errors.AsType[config.Errors](err)
	switch {
	case err == nil:
		res.Good, res.Summary, found = true, conf.Summary(), conf.Warnings
	case !bad:
		return err
	}
	text := ""
	for _, d := range found {
		res.Diagnostics = append(res.Diagnostics, finding{Line: d.Line, Column: d.Column, Message: d.Message, Advice: d.Advice, Warning: d.Warning})
		text += d.String() + "\n"
	}
	if res.Good {
		text += path + ": good: " + res.Summary + "\n"
	}
	if err := t.show(res, func() string { return text }); err != nil {
		return err
	}
	if !res.Good {
		return errReported
	}
	return nil
}
