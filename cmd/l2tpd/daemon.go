package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/engine"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/metrics"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/pppd"
	"github.com/l2tpd/l2tpd/pkg/resolve"
	"github.com/l2tpd/l2tpd/pkg/transport"
)

// stopTimeout bounds an orderly stop: the whole retransmission cycle of a StopCCN that nobody acknowledges (31 s) and some.
const stopTimeout = 40 * time.Second

// eventOctets is what the latest events take: a thousand or so.
const eventOctets = 256 << 10

// daemon is the running process: an engine, what it stands on, and the operator's socket.
type daemon struct {
	*engine.Engine
	servers *radiusFor
	metrics *metrics.Handler
	health  healthState
	path    string
	log     *slog.Logger
	level   *slog.LevelVar
	limiter *observe.Limiter
	notify  *observe.Notifier
	events  eventsFor

	reloading sync.Mutex // held while a configuration is being taken, and from the end on
	conf      *config.Config
}

// serve runs the daemon until it is told to stop.
func serve(path, format string, stderr io.Writer) error {
	smallPages()
	f, ok := observe.ParseFormat(format)
	if !ok {
		return usageError{fmt.Errorf("--log-format %q: want auto, text, json or journal", format)}
	}
	conf, err := config.Load(path)
	if err != nil {
		fmt.Fprint(stderr, report(err))
		return errReported
	}
	d := &daemon{path: path, conf: conf, level: new(slog.LevelVar), limiter: observe.NewLimiter(observe.LimiterConfig{})}
	d.events = eventsFor{observe.NewRing(eventOctets)}
	d.level.Set(slogLevel(conf.Log.Level))
	d.log = observe.New(observe.Options{Writer: stderr, Level: d.level, Format: f, Ring: d.events.ring})
	d.notify = observe.NewNotifier(d.log)
	d.warn(conf)

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does not wait for the peers
	if err := d.run(ctx); err != nil {
		d.log.Error("l2tpd ends", slog.String("why", err.Error()))
		return errReported
	}
	return nil
}

// say writes a line whose message is a sentence of another's.
func (d *daemon) say(level slog.Level, msg string, attrs ...slog.Attr) {
	d.log.LogAttrs(context.Background(), level, msg, attrs...) //nolint:sloglint // that is what it is for
}

// warn logs what a good configuration was warned of.
func (d *daemon) warn(conf *config.Config) {
	for _, w := range conf.Warnings {
		d.say(slog.LevelWarn, "configuration: "+w.Message, slog.String("at", fmt.Sprintf("%s:%d:%d", w.File, w.Line, w.Column)),
			slog.String("advice", w.Advice))
	}
}

// run builds the engine from the ground up, serves, and takes everything down in the opposite order.
func (d *daemon) run(ctx context.Context) error {
	d.log.InfoContext(ctx, "l2tpd starts", slog.String("event", "start"), slog.String("version", versionText()), slog.String("config", d.path))
	// The socket first: two daemons on one socket would also fight for the port and for the kernel's objects.
	d.metrics = metrics.NewHandler(metrics.Config{Source: d, Log: d.log})
	srv, err := api.Listen(api.ServerConfig{
		Backend: d, Events: d.events, Metrics: d.metrics, Path: d.conf.API.Socket, Group: d.conf.API.Group, Log: d.log,
	})
	if err != nil {
		return err
	}
	scrapes, problems := d.listenMetrics()
	e, cleanup, err := d.build(problems)
	if err != nil {
		return errors.Join(err, srv.Close(), scrapes.Close())
	}
	defer d.end(cleanup)
	d.Engine = e
	d.Start()

	var tasks sync.WaitGroup
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	tasks.Go(func() {
		if err := srv.Serve(background); err != nil {
			d.log.ErrorContext(background, "operator's socket", slog.String("why", err.Error()))
		}
	})
	tasks.Go(func() { scrapes.Serve(background) })
	tasks.Go(func() { d.notify.Watchdog(background, d.Alive) })
	tasks.Go(func() { d.housekeeping(background) })
	tasks.Go(func() { d.watchHealth(background) })
	d.notify.Ready("running")
	d.log.InfoContext(ctx, "l2tpd is ready", slog.String("event", "ready"), slog.String("mode", d.conf.Policy.Server.Mode.String()))

	<-ctx.Done()
	d.log.InfoContext(background, "l2tpd stops: StopCCN to every peer", slog.String("event", "stop"))
	d.notify.Stopping("closing tunnels")
	limit, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	err = d.Stop(limit)
	cancel()
	tasks.Wait()
	if err != nil {
		d.log.WarnContext(background, "not every peer acknowledged the end", slog.String("why", err.Error()))
	}
	return nil
}

// end takes down what reloads concern, when none is under way any more; nor will one be. Then the daemon has stopped.
func (d *daemon) end(cleanup func()) {
	d.reloading.Lock() // for good: a reload may outlive the request for it
	cleanup()
	d.log.Info("l2tpd has stopped", slog.String("event", "stopped"))
}

// build makes what the engine stands on. What is missing is said once and goes into status, with the problems that were before; the
// daemon goes on where it can.
func (d *daemon) build(problems []string) (*engine.Engine, func(), error) {
	p := d.conf.Policy
	names := resolve.New(resolve.Config{Now: bootTime})
	cfg := engine.Config{
		Policy: p, Resolver: names, Random: rand.Reader, Now: bootTime, WallClock: time.Now,
		Logger: d.log, Limiter: d.limiter, Version: versionText(), VendorName: "l2tpd", ConfigFile: d.path,
		Problems: problems,
	}
	var closers []func() error
	cleanup := func() {
		for i := len(closers) - 1; i >= 0; i-- {
			if err := closers[i](); err != nil {
				d.log.Warn("clean up", slog.String("why", err.Error()))
			}
		}
	}
	k, err := kernel.Open(kernel.Config{Logger: d.log})
	if err != nil {
		d.log.Error("no data path: tunnels will be refused until this is mended and l2tpd restarted", slog.String("why", err.Error()))
		cfg.KernelProblem = err.Error()
		cfg.Problems = append(cfg.Problems, err.Error())
	} else {
		closers = append(closers, k.Close)
		cfg.Kernel = kernelFor{k}
		if f := k.Features(); f.Advice != "" {
			d.say(slog.LevelWarn, "kernel: "+f.Advice, slog.String("release", f.Release))
		}
	}
	n, err := network.New(d.log)
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	closers = append(closers, n.Close)
	cfg.Network = networkFor{n}
	closers = append(closers, d.services(&cfg, names)...)
	if err := n.Sweep(context.Background(), nil); err != nil {
		d.log.Warn("sweep what an earlier run left behind", slog.String("why", err.Error()))
	}

	var e *engine.Engine
	started := make(chan struct{})
	t, err := transport.Listen(p.Server.Listen, transport.Options{
		NoDataChecksum: !p.Server.Checksum, Partial: true,
		OnUnreachable: func(remote netip.AddrPort) {
			<-started
			e.Unreachable(remote)
		},
	},
		func(pkt transport.Packet) {
			<-started
			e.Receive(pkt)
		}, d.log)
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	closers = append(closers, t.Close)
	cfg.Transport, cfg.Listen = transportFor{t}, t.Addrs()
	for _, problem := range t.Problems() {
		d.log.Error("not all addresses are listened on: mend this and restart l2tpd", slog.String("why", problem.Error()))
		cfg.Problems = append(cfg.Problems, problem.Error())
	}
	e = engine.New(cfg)
	close(started)
	listeners, err := d.servers.listen(p.RADIUS, p.Server.HostName, e.RADIUS())
	closers = append(closers, listeners...)
	if err != nil {
		d.log.Error("RADIUS servers are not obeyed: mend this and restart l2tpd", slog.String("why", err.Error()))
		cfg.Problems = append(cfg.Problems, err.Error())
	}
	for _, a := range cfg.Listen {
		d.log.Info("listening", slog.Any("address", a))
	}
	return e, cleanup, nil
}

// services makes those that sessions may need.
func (d *daemon) services(cfg *engine.Config, names *resolve.Resolver) (closers []func() error) {
	p := cfg.Policy
	programs := pppd.New(pppd.Config{Logger: d.log})
	closers = append(closers, func() error { return programs.Close(context.Background()) })
	cfg.Pppd = pppdFor{programs}
	if usesPppd(p) {
		if err := programs.Check(); err != nil {
			d.log.Error("templates with engine: pppd cannot work", slog.String("why", err.Error()))
			cfg.Problems = append(cfg.Problems, err.Error())
		}
	}
	servers := &radiusFor{log: d.log, names: names, farewell: farewell}
	closers = append(closers, servers.close)
	if err := servers.configure(p.RADIUS, p.Server.HostName); err != nil {
		d.log.Error("no RADIUS", slog.String("why", err.Error()))
		cfg.Problems = append(cfg.Problems, err.Error())
	}
	cfg.RADIUS, d.servers = servers, servers
	cfg.Access = access.New(access.Config{HostName: p.Server.HostName, Logger: d.log})
	prefixes := &prefixesFor{log: d.log}
	closers = append(closers, prefixes.close)
	cfg.Prefixes = prefixes
	return closers
}

// usesPppd says that a template has its PPP run by pppds.
func usesPppd(p *policy.Policy) bool {
	for _, t := range p.Templates {
		if t.Engine == policy.EnginePppd {
			return true
		}
	}
	return false
}

// housekeeping reloads on SIGHUP, finishes what the log limiter holds back, and gives memory back.
func (d *daemon) housekeeping(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	calm := time.NewTicker(calmAfter)
	defer calm.Stop()
	var mem memory
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			d.hangup()
		case <-calm.C:
			mem.tend()
		case now := <-tick.C:
			d.limiter.Flush(ctx, now, d.log)
		}
	}
}

// hangup reloads on SIGHUP, where only the log can tell the outcome.
func (d *daemon) hangup() {
	_, err := d.reload("SIGHUP")
	if err == nil {
		return
	}
	d.log.Error("reload refused: the running configuration stays", slog.String("why", err.Error()))
	if e, ok := errors.AsType[*api.Error](err); ok {
		for _, line := range e.Details {
			d.say(slog.LevelError, "configuration: "+line, slog.String("event", "reload"))
		}
	}
}

// Act takes the verb that concerns the process, and leaves the others to the engine.
func (d *daemon) Act(ctx context.Context, a api.Action) (*api.Result, error) {
	if a.Verb == api.VerbReload {
		return d.reload(a.By)
	}
	return d.Engine.Act(ctx, a)
}

// reload reads the configuration again. A bad one changes nothing.
func (d *daemon) reload(by string) (*api.Result, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.notify.Reloading()
	defer d.notify.Ready("running")
	conf, err := config.Load(d.path)
	if err != nil {
		return nil, &api.Error{
			Code: api.CodeConflict, Message: "the configuration has mistakes; the running one stays",
			Details: strings.Split(strings.TrimSpace(report(err)), "\n"), Hint: "mend " + d.path + " and reload again",
		}
	}
	d.warn(conf)
	res := &api.Result{APIVersion: api.APIVersion, Message: "nothing has changed"}
	late := 0
	for _, c := range d.conf.Changes(conf) {
		res.Changed = true
		res.Details = append(res.Details, c.String())
		if c.Reload == config.ReloadDaemonRestart {
			late++
		}
	}
	if res.Changed {
		res.Message = changesText(len(res.Details), late)
	}
	d.level.Set(slogLevel(conf.Log.Level))
	d.conf = conf
	if err := d.servers.configure(conf.Policy.RADIUS, conf.Policy.Server.HostName); err != nil {
		d.log.Error("no RADIUS", slog.String("why", err.Error()))
	}
	d.Reload(conf.Policy)
	d.log.Info("configuration reloaded", slog.String("event", "reload"), slog.String("by", by), slog.Int("changes", len(res.Details)))
	for _, line := range res.Details {
		d.say(slog.LevelInfo, "configuration: "+line, slog.String("event", "reload"))
	}
	return res, nil
}

// changesText says how many of n changes count already.
func changesText(n, late int) string {
	text := count(n-late, "change", "changes") + " taken"
	if late > 0 {
		text += fmt.Sprintf(", %d after a restart of l2tpd", late)
	}
	return text
}

func slogLevel(l config.Level) slog.Level {
	switch l {
	case config.LevelDebug:
		return slog.LevelDebug
	case config.LevelInfo:
		return slog.LevelInfo
	case config.LevelWarn:
		return slog.LevelWarn
	case config.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// bootTime is the engine's clock: it keeps its meaning in a new process, and does not jump.
func bootTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail for a clock that every supported kernel has
	return time.Duration(ts.Nano())
}
