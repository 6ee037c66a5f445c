package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// kvmLimit is what KVM gets to bring a kernel to the end of its boot; where it
// works that takes a second.
const kvmLimit = 20 * time.Second

// emulated has both processors of a guest emulated on one thread: with a thread for each, a kernel that patches its code was seen to trip
// over it.
const emulated = "tcg,thread=single"

// accelerator picks KVM where it works. $L2TPD_ACCEL overrides.
func accelerator(k kernel) string {
	if a := os.Getenv("L2TPD_ACCEL"); a != "" {
		return a
	}
	if kvmWorks(k) {
		return "kvm"
	}
	return emulated
}

// kvmWorks boots the kernel without any root under KVM, to see it panic over
// that. Less proves little: inside another virtual machine /dev/kvm may open,
// make a processor, run an instruction, and fail on the first real kernel.
func kvmWorks(k kernel) bool {
	if unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), kvmLimit)
	defer cancel()
	probe := &kvmProbe{stop: cancel}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-accel", "kvm", "-cpu", "max", "-m", "512", "-kernel", k.image(),
		"-append", "console=ttyS0 panic=-1", "-serial", "stdio")
	cmd.Stdout, cmd.Stderr = probe, probe
	err := cmd.Run()
	return err == nil && bytes.Contains(probe.seen, []byte("Unable to mount root"))
}

// kvmProbe reads the console, and stops waiting for a machine that KVM has given up.
type kvmProbe struct {
	seen []byte
	stop func()
}

func (p *kvmProbe) Write(b []byte) (int, error) {
	p.seen = append(p.seen, b...)
	if bytes.Contains(p.seen, []byte("KVM internal error")) || bytes.Contains(p.seen, []byte("emulation failure")) {
		p.stop()
	}
	return len(b), nil
}
