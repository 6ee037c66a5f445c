package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// artifactsDir is where the guest sees the writable share.
const artifactsDir = "/artifacts"

// agent is the guest's /init: it sets the guest up and runs the command.
type agent struct {
	task  task
	out   *frameWriter
	port  *os.File
	pty   *os.File // the command's terminal, nil without
	pid   atomic.Int64
	ended chan struct{} // closed when the kernel log has been sent up to markEnd
}

// initMain is process 1 of the guest. It does not return: the runner ends the
// guest when the exit report has arrived.
func initMain() {
	a := &agent{ended: make(chan struct{})}
	if err := a.run(); err != nil {
		fmt.Printf("guest init: %v\n", err) // on the console, for lack of anything better
		if a.out != nil {
			a.out.post(frameFatal, []byte(err.Error()))
		}
	}
	select {}
}

func (a *agent) run() error {
	spec, err := os.ReadFile(initTask)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(spec, &a.task); err != nil {
		return err
	}
	if err := loadBootModules(); err != nil {
		return err
	}
	if err := mountEarly(); err != nil {
		return err
	}
	if a.port, err = openAgentPort(); err != nil {
		return err
	}
	a.out = &frameWriter{w: a.port}
	if err := setUp(a.task); err != nil {
		return err
	}
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if a.task.Terminal { // before input for it can arrive
		if a.pty, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
			return err
		}
	}
	go a.followKernelLog(kmsg)
	go a.beat()
	go a.obey()
	if err := a.out.sendJSON(frameReady, readyReport{Release: unameRelease(), Uptime: uptime()}); err != nil {
		return err
	}
	fmt.Fprintln(kmsg, "<6>"+markBegin)
	report, err := a.command()
	if err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond) // let the kernel finish what the command's end set off
	fmt.Fprintln(kmsg, "<6>"+markEnd)
	select {
	case <-a.ended:
	case <-time.After(10 * time.Second):
	}
	unix.Sync()
	return a.out.sendJSON(frameExit, report)
}

func (a *agent) beat() {
	for range time.Tick(beatEvery) {
		a.out.post(frameBeat, nil)
	}
}

// followKernelLog sends every record of the kernel log to the runner.
func (a *agent) followKernelLog(f *os.File) {
	buf := make([]byte, 16<<10)
	for {
		n, err := f.Read(buf)
		if errors.Is(err, unix.EPIPE) { // overwritten before it was read: go on
			continue
		}
		if err != nil {
			return
		}
		record := string(buf[:n])
		a.out.post(frameKmsg, buf[:n])
		if strings.HasSuffix(strings.TrimSpace(record), markEnd) {
			close(a.ended)
			return
		}
	}
}

// obey does what the runner asks while the command runs.
func (a *agent) obey() {
	for {
		kind, body, err := readFrame(a.port)
		if err != nil {
			return
		}
		switch kind {
		case frameInput:
			if a.pty != nil {
				_, _ = a.pty.Write(body)
			}
		case frameResize:
			if a.pty != nil && len(body) == 4 {
				size := unix.Winsize{Row: uint16(body[0])<<8 | uint16(body[1]), Col: uint16(body[2])<<8 | uint16(body[3])}
				_ = unix.IoctlSetWinsize(int(a.pty.Fd()), unix.TIOCSWINSZ, &size)
			}
		case frameDump:
			a.dump()
		}
	}
}

// dump prints the processes and has the command's group quit.
func (a *agent) dump() {
	var b strings.Builder
	b.WriteString("guest: processes (pid, state, waits in, command):\n")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		args, _ := os.ReadFile(d + "/cmdline")
		if len(args) == 0 { // a kernel thread
			continue
		}
		stat, _ := os.ReadFile(d + "/stat")
		wchan, _ := os.ReadFile(d + "/wchan")
		state := "?"
		if _, after, ok := strings.Cut(string(stat), ") "); ok {
			state = after[:1]
		}
		fmt.Fprintf(&b, "  %6s %s %-24s %s\n", filepath.Base(d), state, wchan, strings.ReplaceAll(string(args), "\x00", " "))
	}
	a.out.post(frameErr, []byte(b.String()))
	if pid := int(a.pid.Load()); pid > 0 {
		_ = unix.Kill(-pid, unix.SIGQUIT)
	}
}

// command runs the command to its end, then gives leftover children that hold
// its output a moment. As process 1 it reaps every orphan on the way.
func (a *agent) command() (exitReport, error) {
	env := environment(a.task)
	path, err := lookPath(a.task.Args[0], a.task.Dir, env)
	if err != nil {
		a.out.post(frameErr, fmt.Appendf(nil, "guest: %v\n", err))
		return exitReport{Code: 127}, nil
	}
	attr := &os.ProcAttr{Dir: a.task.Dir, Env: env, Sys: &unix.SysProcAttr{Setpgid: true}}
	var drained *sync.WaitGroup
	if a.task.Terminal {
		drained, err = a.onTerminal(attr)
	} else {
		drained, err = a.onPipes(attr)
	}
	if err != nil {
		return exitReport{}, err
	}
	p, err := os.StartProcess(path, a.task.Args, attr)
	for _, f := range attr.Files {
		f.Close()
	}
	if err != nil {
		a.out.post(frameErr, fmt.Appendf(nil, "guest: %v\n", err))
		return exitReport{Code: 126}, nil
	}
	a.pid.Store(int64(p.Pid))
	status := reapUntil(p.Pid)
	go reapUntil(-1)
	done := make(chan struct{})
	go func() { drained.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond): // a daemon holds the pipe: not our concern
	}
	if status.Signaled() {
		return exitReport{Code: 128 + int(status.Signal()), Signal: unix.SignalName(status.Signal())}, nil
	}
	return exitReport{Code: status.ExitStatus()}, nil
}

// reapUntil collects dead children until pid is one of them; pid -1 never is.
func reapUntil(pid int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			time.Sleep(100 * time.Millisecond)
		case err == nil && got == pid:
			return status
		}
	}
}

// pipeSize is what a pipe of the command holds. What one process writes at once stays in one piece unless the pipe is full: several may
// write whole lines beside each other.
const pipeSize = 1 << 20

// onPipes sets the command's output up; the group is done when all is relayed.
func (a *agent) onPipes(attr *os.ProcAttr) (*sync.WaitGroup, error) {
	null, err := os.Open("/dev/null")
	if err != nil {
		return nil, err
	}
	attr.Files = []*os.File{null}
	var wg sync.WaitGroup
	for _, kind := range []byte{frameOut, frameErr} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize); err != nil {
			return nil, fmt.Errorf("size of a pipe: %w", err)
		}
		attr.Files = append(attr.Files, w)
		wg.Go(func() { _, _ = io.Copy(a.out.stream(kind), r) })
	}
	return &wg, nil
}

// onTerminal gives the command a terminal of its own.
func (a *agent) onTerminal(attr *os.ProcAttr) (*sync.WaitGroup, error) {
	if err := unix.IoctlSetPointerInt(int(a.pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(int(a.pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("number of terminal: %w", err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	attr.Files = []*os.File{tty, tty, tty}
	attr.Sys = &unix.SysProcAttr{Setsid: true, Setctty: true}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(a.out.stream(frameOut), a.pty) }) // ends with an error when the last user is gone
	return &wg, nil
}

// lookPath finds a program as a shell would.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	var dirs string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = v
		}
	}
	for _, d := range filepath.SplitList(dirs) {
		path := filepath.Join(d, name)
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not in PATH %s", name, dirs)
}

// environment is what the command sees: little, and the caller's words last.
func environment(t task) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=xterm",
		"L2TPD_GUEST=1", "L2TPD_KERNEL=" + t.Series,
	}
	if t.Artifacts {
		env = append(env, "ARTIFACTS="+artifactsDir)
	}
	return append(env, t.Env...)
}
