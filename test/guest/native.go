package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// nativeVerb is how the runner calls itself inside the new namespaces.
const nativeVerb = "native-child"

// nativeModules are what a kernel needs to be used natively.
var nativeModules = []string{"l2tp_netlink", "l2tp_ppp", "pppoe", "veth"}

// nativeMissing says why the host kernel will not do, or nil if it will.
// Asking the kernel to load the modules is the only answer that counts: a
// container may see modules that it cannot load.
func nativeMissing() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	const pppol2tp = "/proc/net/pppol2tp" // l2tp_ppp makes it
	if _, err := os.Stat(pppol2tp); err == nil {
		return nil
	}
	for _, m := range nativeModules {
		if _, err := output("modprobe", m); err != nil {
			return fmt.Errorf("no module %s", m)
		}
	}
	if _, err := os.Stat(pppol2tp); err != nil {
		return errors.New("no L2TP in the host kernel")
	}
	return nil
}

// runNative runs the command on the host in fresh mount and network
// namespaces, and judges it as a guest's would be.
func runNative(opts *options) (int, error) {
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		defer kmsg.Close()
		_, err = kmsg.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return exitRunner, fmt.Errorf("native run: kernel log: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return exitRunner, err
	}
	s := &session{
		k: kernel{series: "native", release: unameRelease()}, opts: opts, log: newKernelLog(),
		console: &lastLines{keep: consoleKept}, match: &matcher{re: opts.match}, started: time.Now(),
	}
	s.log.begun = 0
	cmd := exec.Command(self, append([]string{nativeVerb}, opts.args...)...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, s.match), io.MultiWriter(os.Stderr, s.match)
	cmd.WaitDelay = 500 * time.Millisecond // a daemon may hold the pipe
	cmd.Env = append(os.Environ(), "L2TPD_GUEST=1", "L2TPD_KERNEL=native")
	if opts.artifacts != "" {
		if err := os.MkdirAll(opts.artifacts, 0o755); err != nil {
			return exitRunner, err
		}
		cmd.Env = append(cmd.Env, "ARTIFACTS="+opts.artifacts)
	}
	cmd.Env = append(cmd.Env, opts.env...)
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Setpgid:    true, Pdeathsig: unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return exitRunner, fmt.Errorf("native run: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		err = cmd.Wait()
		close(ended)
	}()
	signals := interrupts()
	select {
	case <-ended:
	case <-time.After(opts.timeout):
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGQUIT) // goroutines of a Go program, please
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			_ = cmd.Process.Kill() // takes the whole process namespace down
			<-ended
		}
		readKernelLog(kmsg, s.log)
		return s.fail(exitTimeout, fmt.Sprintf("the command did not end within %v", opts.timeout))
	case sig := <-signals:
		_ = cmd.Process.Kill()
		<-ended
		return 128 + int(sig.(unix.Signal)), errors.New("interrupted")
	}
	if cmd.ProcessState == nil {
		return exitRunner, err
	}
	readKernelLog(kmsg, s.log)
	return s.verdict(exitReport{Code: cmd.ProcessState.ExitCode()})
}

// readKernelLog reads what has been logged since kmsg was last read.
func readKernelLog(kmsg *os.File, log *kernelLog) {
	raw, err := kmsg.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	_ = raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), buf)
			if errors.Is(err, unix.EPIPE) {
				continue
			}
			if err != nil {
				return
			}
			log.add(string(bytes.TrimSpace(buf[:n])))
		}
	})
}

// nativeChild is process 1 of the new namespaces: it finishes them, runs the
// command and passes its end on. What the command leaves behind dies with us.
func nativeChild(args []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mountAll([]mount{
		{source: "proc", target: "/proc", fstype: "proc"},
		{source: "sys", target: "/sys", fstype: "sysfs"},
		{source: "run", target: "/run/netns", fstype: "tmpfs", data: "mode=755"},
	}); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "guest: %v\n", err)
		os.Exit(127)
	}
	signal.Notify(make(chan os.Signal, 1), unix.SIGQUIT) // meant for the command; ignoring it would be inherited
	p, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintf(os.Stderr, "guest: %v\n", err)
		os.Exit(126)
	}
	status := reapUntil(p.Pid)
	if status.Signaled() {
		fmt.Fprintf(os.Stderr, "guest: the command was killed by %s\n", unix.SignalName(status.Signal()))
		os.Exit(128 + int(status.Signal()))
	}
	os.Exit(status.ExitStatus())
	return nil
}

func windowChanges() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGWINCH)
	return c
}
