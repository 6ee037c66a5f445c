package pppd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// etcPPP is where pppd looks for secrets and scripts. The path is compiled into it.
const etcPPP = "/etc/ppp"

// UnavailableError says that this machine, or this process, cannot run pppd, and what the operator does about it.
type UnavailableError struct {
	What   string // what is missing
	Advice string // what to do
	Err    error  // what the kernel said; may be nil
}

// Error is one line.
func (e *UnavailableError) Error() string { return e.What + ": " + e.Advice }

// Unwrap gives what the kernel said.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Names in a session's directory.
const (
	fileOptions = "options"
	filePAP     = "pap-secrets"
	fileCHAP    = "chap-secrets"
)

// report is the script behind ip-up and its like. PEERNAME comes last, because it may be anything but a zero octet, which ends
// the report. dash writes it in one piece, so that two scripts at a time do not mix theirs.
const report = `#!/bin/sh
printf '%s %s %s %s %s %s %s %s %s\0' "${0##*/}" "${IFNAME:--}" "${IPLOCAL:--}" "${IPREMOTE:--}" \
	"${LLLOCAL:--}" "${LLREMOTE:--}" "${DNS1:--}" "${DNS2:--}" "$PEERNAME" >&4
`

// checkProgram looks for pppd.
func checkProgram(path string) error {
	const advice = "apt-get install ppp"
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &UnavailableError{"there is no " + path, advice, err}
	case err != nil:
		return fmt.Errorf("look for pppd: %w", err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return &UnavailableError{path + " is no program", advice, nil}
	}
	return nil
}

// checkSetuid tries, without effect, what pppd does around every file.
func checkSetuid() error {
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(os.Geteuid()), ^uintptr(0))
	if errno != 0 {
		return &UnavailableError{
			"pppd may not set its user id here", "in systemd: SystemCallFilter=@setuid, see configs/systemd/pppd.conf", errno,
		}
	}
	return nil
}

// cover lays a tmpfs over dir, unless one is there, and fills it. It runs on the launcher's thread, which goes into a mount
// namespace of its own if it must: what is mounted there, the thread's children see and nobody else.
func cover(dir string) error {
	if os.Geteuid() != 0 {
		return &UnavailableError{"pppd takes its options from root alone", "run the daemon as root", nil}
	}
	is, err := covered(dir)
	if err == nil && !is {
		err = mountCover(dir)
	}
	if err != nil {
		return err
	}
	return fill(dir)
}

// covered says whether dir is a tmpfs of its own, and not part of the file system that has its parent.
func covered(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, &UnavailableError{"there is no " + dir, "apt-get install ppp", err}
	}
	var own, parent unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &own), unix.Stat(filepath.Dir(dir), &parent)); err != nil {
		return false, fmt.Errorf("look at %s: %w", dir, err)
	}
	return fs.Type == unix.TMPFS_MAGIC && own.Dev != parent.Dev, nil
}

func mountCover(dir string) error {
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil { // what others mount later is seen, nothing of ours goes out
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	}
	if err == nil {
		err = unix.Mount("l2tpd", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size=1m")
	}
	if err != nil {
		return &UnavailableError{
			dir + " cannot be covered for pppd", "in systemd: TemporaryFileSystem=" + dir + ", see configs/systemd/pppd.conf; " +
				"in a container: mount a tmpfs there", err,
		}
	}
	return nil
}

// fill puts into dir what pppd is to find. All of it is the same for every session: which one it is for says the working
// directory of the process that opens it.
func fill(dir string) error {
	for _, name := range []string{filePAP, fileCHAP, "resolv.conf"} {
		err := os.Symlink("/proc/self/cwd/"+name, filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("prepare %s: %w", dir, err)
		}
	}
	for _, name := range []string{"ip-up", "ip-down", "ipv6-up", "ipv6-down"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(report), 0o700); err != nil {
			return fmt.Errorf("prepare %s: %w", dir, err)
		}
	}
	return nil
}
