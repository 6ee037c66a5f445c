// Command l2tpd is the L2TPv2 access concentrator and network server.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/config"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// version is set by the linker; else the module's build information stands in.
var version = ""

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errReported is returned for what has been put into words already.
var errReported = errors.New("reported")

// usageError is a mistake on the command line.
type usageError struct{ error }

func run(args []string, stdout, stderr io.Writer) int {
	root := commands(stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "l2tpd: %v; see l2tpd --help\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "l2tpd: %v\n", err)
	return exitFailed
}

// commands returns the whole command tree; the daemon logs to stderr.
func commands(stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "l2tpd",
		Short:         "L2TPv2 access concentrator and network server",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          arguments(cobra.NoArgs),
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(runCommand(stderr), checkCommand(), referenceCommand(), versionCommand())
	asked := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *asked {
			return printVersion(c)
		}
		return c.Help()
	}
	return root
}

// arguments makes a mistake in the arguments one of the command line.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

const defaultConfig = "/etc/l2tpd/l2tpd.yaml"

func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration file")
}

func runCommand(stderr io.Writer) *cobra.Command {
	var path string
	var format string
	c := &cobra.Command{
		Use: "run", Short: "Run the daemon in the foreground", Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return serve(path, format, stderr) },
	}
	configFlag(c, &path)
	c.Flags().StringVar(&format, "log-format", "auto", "auto, text, json or journal")
	return c
}

func checkCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration and report every mistake at once", Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				path = args[0]
			}
			conf, err := config.Load(path)
			if err != nil {
				fmt.Fprint(c.ErrOrStderr(), report(err))
				return errReported
			}
			for _, w := range conf.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), w)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: good: %s\n", path, conf.Summary())
			return nil
		},
	}
	configFlag(c, &path)
	return c
}

// count puts a number before its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// report puts an error of the configuration on lines of its own.
func report(err error) string {
	var all config.Errors
	if !errors.As(err, &all) {
		return err.Error() + "\n"
	}
	text := ""
	for _, d := range all {
		text += d.String() + "\n"
	}
	return text
}

func referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reference", Short: "Print the annotated configuration with every key and its default", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(config.Reference())
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return printVersion(c) },
	}
}

func printVersion(c *cobra.Command) error {
	_, err := fmt.Fprintln(c.OutOrStdout(), "l2tpd "+versionText())
	return err
}

// versionText is the version this binary was built as.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
