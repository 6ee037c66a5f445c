package kernel

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestFeaturesByVersion(t *testing.T) {
	t.Parallel()
	const debian = "#1 SMP PREEMPT_DYNAMIC Debian %s (2026-11-14)"
	tests := []struct {
		name, build, signature string
		core, reinjects, below bool
	}{
		{"6.1.0-50-amd64", fmt.Sprintf(debian, "6.1.192-1"), "", false, true, false},
		{"6.1.0-30-amd64", fmt.Sprintf(debian, "6.1.124-1"), "", false, false, true},
		{"6.12.117+deb12-amd64", fmt.Sprintf(debian, "6.12.117-1~deb12u1"), "", true, true, false},
		{"6.12.109", "#1 SMP", "", true, false, true},
		{"6.12.110-1-lts", "#1 SMP", "", true, true, false},
		{"6.8.0-31-generic", "#31-Ubuntu SMP PREEMPT_DYNAMIC", "Ubuntu 6.8.0-31.31-generic 6.8.1", false, false, true},
		{"6.6.60", "#1 SMP", "", false, false, false}, // the fixes have numbers of their own there
		{"6.11.0", "#1 SMP", "", true, false, true},
		{"6.18.5", "#1 SMP", "", true, false, false},
		{"7.3.4+deb13-amd64", fmt.Sprintf(debian, "7.3.4-1~bpo13+1"), "", true, true, false},
		{"5.14.0-427.13.1.el9_4.x86_64", "#1 SMP PREEMPT_DYNAMIC", "", false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := featuresOf(tt.name, tt.build, tt.signature)
			want := Features{
				Release: tt.name, NewCore: tt.core, Reinjects: tt.reinjects, BelowMinimum: tt.below, Advice: got.Advice,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if tt.below != (got.Advice != "") {
				t.Errorf("advice %q, below the minimum %v", got.Advice, tt.below)
			}
		})
	}
}

func TestAdviceNamesTheMinimumOfTheSeries(t *testing.T) {
	t.Parallel()
	const rest = ": closing a busy session may use freed memory, and frames may be lost while an interface is attached; " +
		"update the kernel"
	for name, want := range map[string]string{
		"6.1.100": "kernel 6.1.100 is older than 6.1.190" + rest,
		"6.12.3":  "kernel 6.12.3 is older than 6.12.110" + rest,
		"odd":     `kernel release "odd" is not understood: the features of 6.1 are assumed`,
	} {
		if got := featuresOf(name, "", "").Advice; got != want {
			t.Errorf("advice for %s: %q, want %q", name, got, want)
		}
	}
}

func TestErrorsAtTheEdge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		errno unix.Errno
		kind  error
		text  string
	}{
		{unix.ENODEV, os.ErrNotExist, "no such device"},
		{unix.ENXIO, os.ErrNotExist, "no such device or address"},
		{unix.ENOENT, os.ErrNotExist, "no such file or directory"},
		{unix.EEXIST, os.ErrExist, "file exists"},
		{unix.EALREADY, os.ErrExist, "operation already in progress"},
		{unix.EBADF, os.ErrClosed, "bad file descriptor"},
		{unix.EPERM, os.ErrPermission, "operation not permitted"},
		{unix.EBUSY, unix.EBUSY, "device or resource busy"},
	}
	for _, tt := range tests {
		for _, err := range []error{tt.errno, &netlink.OpError{Op: "receive", Err: tt.errno}} {
			got := edge(err)
			if !errors.Is(got, tt.kind) || !errors.Is(got, tt.errno) || got.Error() != tt.text {
				t.Errorf("edge(%v) = %v, want %v that says %q", err, got, tt.kind, tt.text)
			}
		}
	}
	said := edge(&netlink.OpError{Op: "receive", Err: unix.EINVAL, Message: "mtu too big"})
	if said.Error() != "invalid argument (mtu too big)" {
		t.Errorf("the kernel's words are lost: %v", said)
	}
	if got := edge(os.ErrDeadlineExceeded); !errors.Is(got, os.ErrDeadlineExceeded) {
		t.Errorf("edge changed %v to %v", os.ErrDeadlineExceeded, got)
	}
	if edge(nil) != nil {
		t.Error("edge made an error of nil")
	}
}
