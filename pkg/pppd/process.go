package pppd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// dying is how long a killed process may take.
const dying = 5 * time.Second

// Process is one pppd. Safe for concurrent use.
type Process struct {
	s       *Supervisor
	name    string
	dir     string
	process *os.Process
	log     *os.File // pppd's, to read
	reports *os.File // its scripts', to read
	release func()   // gives the interface's name back
	mask    func(string) string
	users   map[string]string // by the names that pppd may report
	ended   chan struct{}     // closed after EvDown

	mu     sync.Mutex // held while an event is handed over: one after the other
	events func(Event)
	track  tracker
	asked  bool // by Stop
}

// launch writes what pppd reads, and starts it.
func (s *Supervisor) launch(spec *Spec, iface string, release func(), events func(Event)) (*Process, error) {
	p := &Process{
		s: s, name: spec.Name, release: release, mask: masker(spec), users: make(map[string]string), ended: make(chan struct{}),
		events: events,
	}
	for _, u := range spec.Users {
		p.users[visible(u.Name)] = u.Name // as CHAP has it
	}
	for _, u := range spec.Users {
		p.users[u.Name] = u.Name // as PAP has it
	}
	err := p.write(spec, iface)
	if err == nil {
		err = p.exec(spec)
	}
	if err != nil && p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	if err != nil {
		return nil, err
	}
	s.log.Debug("pppd started", slog.String("session", p.name), slog.Int("pid", p.process.Pid))
	return p, nil
}

// write makes the session's directory.
func (p *Process) write(spec *Spec, iface string) error {
	var err error
	if p.dir, err = os.MkdirTemp(p.s.cfg.Dir, sessionPrefix); err != nil { // 0700
		return err
	}
	pap, chap := spec.secrets()
	for name, content := range map[string][]byte{fileOptions: spec.options(iface), filePAP: pap, fileCHAP: chap} {
		if content != nil {
			err = errors.Join(err, os.WriteFile(filepath.Join(p.dir, name), content, 0o600))
		}
	}
	return err
}

// exec starts the process from the launcher's thread. The parent's copies of what is the child's are closed.
func (p *Process) exec(spec *Spec) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	log, logTo, err := os.Pipe()
	if err != nil {
		return err
	}
	defer logTo.Close()
	reports, reportTo, err := os.Pipe()
	if err != nil {
		log.Close()
		return err
	}
	defer reportTo.Close()
	files := []*os.File{null, logTo, logTo, socketFD: spec.Socket, reportFD: reportTo}
	err = p.s.thread.do(func() error {
		p.process, err = os.StartProcess(p.s.cfg.Path, []string{
			"pppd", "nodetach", "ipparam", spec.Name, "file", filepath.Join(p.dir, fileOptions),
		}, &os.ProcAttr{
			Dir: p.dir, Files: files,
			Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"},
			// A session of its own: ^C on the daemon's terminal is the daemon's. If the daemon is killed, pppd hangs up.
			Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM},
		})
		return err
	})
	if err != nil {
		log.Close()
		reports.Close()
		return err
	}
	p.log, p.reports = log, reports
	return nil
}

// run lives as long as the process.
func (p *Process) run() {
	var readers sync.WaitGroup
	readers.Go(func() { records(p.log, '\n', p.line) })
	readers.Go(func() { records(p.reports, 0, p.report) })
	state, err := p.process.Wait()
	late := time.AfterFunc(p.s.straggle, func() { p.log.Close(); p.reports.Close() })
	readers.Wait()
	late.Stop()
	p.log.Close() // a second time if it was late, which does nothing
	p.reports.Close()
	if e := os.RemoveAll(p.dir); e != nil {
		p.s.log.Error("remove the files of a pppd", slog.String("session", p.name), slog.String("why", e.Error()))
	}
	p.release()
	p.s.vacate() // before EvDown: who hears of that may start another
	p.mu.Lock()
	if err != nil {
		p.events(EvDown{Err: fmt.Errorf("wait for pppd: %w", err)})
	} else {
		p.events(p.track.end(state.Sys().(syscall.WaitStatus), p.asked))
	}
	p.mu.Unlock()
	p.s.forget(p)
	close(p.ended)
}

// line takes one line of the log.
func (p *Process) line(text string) {
	text = printable(text)
	p.mu.Lock()
	defer p.mu.Unlock()
	text = p.mask(text)
	before := p.track.decided()
	p.track.see(text)
	if !isNoise(text) {
		p.events(EvLine{Text: text})
	}
	if s := p.track.said; !before && p.track.decided() && s.reason != ppp.ReasonLocal { // who told it to end knows
		p.events(EvEnding{p.track.down(s.reason, s.stage, s.text).EvLinkDown})
	}
}

// report takes what a script says.
func (p *Process) report(text string) {
	f := strings.SplitN(text, " ", 9)
	if len(f) != 9 {
		return
	}
	addr := func(s string) netip.Addr {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Addr{} // "-"
		}
		return a
	}
	up := EvNetworkUp{Interface: f[1], User: p.users[f[8]]}
	for _, s := range f[6:8] {
		if a := addr(s); a.IsValid() && !slices.Contains(up.DNS, a) { // a pppd that has one names it twice
			up.DNS = append(up.DNS, a)
		}
	}
	var ev Event
	switch f[0] {
	case "ip-up":
		up.Proto, up.Local, up.Peer = ppp.ProtoIPv4, addr(f[2]), addr(f[3])
		ev = up
	case "ipv6-up":
		up.Proto, up.Local, up.Peer, up.DNS = ppp.ProtoIPv6, addr(f[4]), addr(f[5]), nil
		ev = up
	case "ip-down":
		ev = EvNetworkDown{ppp.EvNetworkDown{Proto: ppp.ProtoIPv4}}
	case "ipv6-down":
		ev = EvNetworkDown{ppp.EvNetworkDown{Proto: ppp.ProtoIPv6}}
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, isUp := ev.(EvNetworkUp); isUp {
		p.track.up = true
	}
	p.events(ev)
}

// Stop asks pppd to hang up: Terminate-Request, then the end. It waits for that, kills pppd when Config.Grace is over or ctx
// ends, and returns after EvDown. An error means that the process is still there.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.asked = true
	p.mu.Unlock()
	// Not to the process group: pppd tells its own children. An error is that it has ended, or the next signal's as well.
	_ = p.process.Signal(syscall.SIGTERM)
	grace := time.NewTimer(p.s.cfg.Grace)
	defer grace.Stop()
	select {
	case <-p.ended:
		return nil
	case <-grace.C:
	case <-ctx.Done():
	}
	err := p.process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	dead := time.NewTimer(dying)
	defer dead.Stop()
	select {
	case <-p.ended:
		return nil
	case <-dead.C:
		return errors.Join(fmt.Errorf("pppd %d of session %s does not die", p.process.Pid, p.name), err)
	}
}

// PID is the process id, for show output.
func (p *Process) PID() int { return p.process.Pid }
