package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes of the runner itself; every other code is the command's.
const (
	exitTimeout = 124
	exitRunner  = 125
)

// series are the kernel series the project supports: the kernel's L2TP code
// was rewritten in 6.11, so one is on either side.
var series = []string{"6.1", "6.12"}

// defaultSeries serves "auto" where the host kernel does not do.
const defaultSeries = "6.12"

const usage = `usage:
  guest run [--kernel 6.1|6.12|all|auto|native] [--timeout 10m] [--match REGEXP]
            [--env K=V]... [--artifacts DIR] [--memory MiB] [--cpus N]
            [--steady] [--console] -- command args...
  guest shell [--kernel 6.12] [--env K=V]... [--artifacts DIR]
  guest kernels [--update] [series...]
`

// options is one parsed command line.
type options struct {
	verb      string // run, shell or kernels
	kernel    string
	timeout   time.Duration
	match     *regexp.Regexp
	env       []string
	artifacts string
	memory    int
	cpus      int
	steady    bool
	console   bool
	update    bool
	args      []string
}

func main() {
	if os.Getpid() == 1 && os.Args[0] == "/init" {
		initMain()
	}
	runtime.LockOSThread() // Pdeathsig means the thread that started the child
	if len(os.Args) > 1 && os.Args[1] == nativeVerb {
		fmt.Fprintln(os.Stderr, "guest:", nativeChild(os.Args[2:]))
		os.Exit(exitRunner)
	}
	opts, err := parseArgs(os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "guest:", err)
		}
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	code, err := dispatch(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	os.Exit(code)
}

func dispatch(opts *options) (int, error) {
	cache, err := cacheDir()
	if err != nil {
		return exitRunner, err
	}
	switch opts.verb {
	case "kernels":
		return listKernels(cache, opts)
	case "shell":
		return runGuest(cache, opts.kernel, opts)
	}
	kernels := []string{opts.kernel}
	if opts.kernel == "all" {
		kernels = series
	}
	for _, k := range kernels {
		code, err := runOn(cache, k, opts)
		if code != 0 || err != nil {
			return code, err
		}
	}
	return 0, nil
}

// runOn runs the command natively or in a guest, whichever kernel means.
func runOn(cache, kernel string, opts *options) (int, error) {
	switch kernel {
	case "native":
		return runNative(opts)
	case "auto":
		why := nativeMissing()
		if why == nil {
			return runNative(opts)
		}
		fmt.Fprintf(os.Stderr, "guest: not native (%v), using a %s guest\n", why, defaultSeries)
		kernel = defaultSeries
	}
	return runGuest(cache, kernel, opts)
}

func listKernels(cache string, opts *options) (int, error) {
	want := opts.args
	if len(want) == 0 {
		want = series
	}
	for _, s := range want {
		k, err := getKernel(cache, s, opts.update)
		if err != nil {
			return exitRunner, err
		}
		fmt.Printf("%-5s %-24s %s\n", s, k.release, k.dir)
	}
	return 0, nil
}

// parseArgs reads the command line; the error text is meant for the user.
func parseArgs(args []string) (*options, error) {
	if len(args) == 0 {
		return nil, flag.ErrHelp
	}
	o := &options{verb: args[0]}
	fs := flag.NewFlagSet(o.verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var match string
	switch o.verb {
	case "run", "shell":
		fs.StringVar(&o.kernel, "kernel", defaultSeries, "")
		fs.DurationVar(&o.timeout, "timeout", 10*time.Minute, "")
		fs.StringVar(&match, "match", "", "")
		fs.StringVar(&o.artifacts, "artifacts", "", "")
		fs.IntVar(&o.memory, "memory", 2048, "")
		fs.IntVar(&o.cpus, "cpus", 2, "")
		fs.BoolVar(&o.steady, "steady", false, "")
		fs.BoolVar(&o.console, "console", false, "")
		fs.Func("env", "", func(s string) error {
			if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
				return errors.New("want K=V")
			}
			o.env = append(o.env, s)
			return nil
		})
	case "kernels":
		fs.BoolVar(&o.update, "update", false, "")
	case "help", "-h", "--help":
		return nil, flag.ErrHelp
	default:
		return nil, fmt.Errorf("unknown command %q", o.verb)
	}
	if err := fs.Parse(args[1:]); err != nil {
		return nil, err
	}
	o.args = fs.Args()
	return o, o.check(match)
}

func (o *options) check(match string) error {
	if o.verb == "kernels" {
		return nil
	}
	known := append(slices.Clone(series), "native", "auto", "all")
	if o.verb == "shell" {
		known = series
	}
	if !slices.Contains(known, o.kernel) {
		return fmt.Errorf("kernel %q: want one of %s", o.kernel, strings.Join(known, ", "))
	}
	if o.verb == "run" && len(o.args) == 0 {
		return errors.New("run: no command")
	}
	if o.verb == "shell" && len(o.args) == 0 {
		o.args = []string{"bash", "-i"}
	}
	if o.timeout <= 0 || o.memory < 256 || o.cpus < 1 {
		return errors.New("timeout, memory and cpus must be positive (memory at least 256)")
	}
	if match != "" {
		re, err := regexp.Compile(match)
		if err != nil {
			return fmt.Errorf("match: %w", err)
		}
		o.match = re
	}
	if o.artifacts != "" {
		dir, err := filepath.Abs(o.artifacts)
		if err != nil {
			return err
		}
		o.artifacts = dir
	}
	return nil
}

// interrupts delivers the signals that must take the guest down with us.
func interrupts() chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	return c
}
