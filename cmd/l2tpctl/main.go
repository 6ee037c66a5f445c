package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, env{out: os.Stdout, err: os.Stderr, build: build(), poll: 200 * time.Millisecond, tab: 500 * time.Millisecond, zone: time.Local}, os.Args[1:])
	stop()
	os.Exit(code)
}

// env is what a run needs of the world.
type env struct {
	out, err io.Writer
	build    buildInfo
	wait     time.Duration // for a daemon that starts; 0: the client's default
	poll     time.Duration // between looks at a call that is coming up
	zone     *time.Location
	tab      time.Duration // that somebody who presses the tabulator waits for a daemon
}

// run does what args say and returns the exit code.
func run(ctx context.Context, e env, args []string) int {
	t := &tool{env: e}
	root := t.root()
	root.SetArgs(args)
	root.SetOut(e.out)
	root.SetErr(e.err)
	if err := t.completeAll(root); err != nil {
		return report(e.err, err)
	}
	return report(e.err, root.ExecuteContext(ctx))
}

// tool holds the flags of one run.
type tool struct {
	env
	socket string
	format string
}

func (t *tool) client() *api.Client {
	return api.NewClient(api.ClientConfig{Path: t.socket, Wait: t.wait, Waiting: func() {
		_, _ = io.WriteString(t.err, "waiting for l2tpd to answer ...\n") // a lost hint is no reason to fail
	}})
}
