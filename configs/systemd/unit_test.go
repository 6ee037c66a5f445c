package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unit writes a copy of the unit, changed by edit, whose programs exist on this machine.
func unit(t *testing.T, edit func(string) string) string {
	t.Helper()
	b, err := os.ReadFile("l2tpd.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, program := range []string{"l2tpd", "l2tpctl"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := edit(strings.NewReplacer("/usr/sbin/l2tpd", dir+"/l2tpd", "/usr/bin/l2tpctl", dir+"/l2tpctl").Replace(string(b)))
	path := filepath.Join(dir, "l2tpd.service")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func same(s string) string { return s }

// systemd runs one of systemd's tools and returns what it says. A machine without it fails the test: it is in Debian's package systemd.
func systemd(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Fatalf("%v: apt-get install systemd", err)
	}
	out, err := exec.CommandContext(t.Context(), path, args[1:]...).CombinedOutput()
	return string(out), err
}

// complaints returns the lines of "systemd-analyze verify" about our unit. Others are about the machine's own units. The man pages
// need not be installed.
func complaints(t *testing.T, path string) string {
	t.Helper()
	out, err := systemd(t, "systemd-analyze", "verify", "--man=no", path)
	var ours []string
	for l := range strings.Lines(out) {
		if strings.Contains(l, "l2tpd") {
			ours = append(ours, l)
		}
	}
	if err != nil && len(ours) == 0 {
		t.Fatalf("systemd-analyze verify: %v\n%s", err, out)
	}
	return strings.Join(ours, "")
}

func TestSystemdUnderstandsEveryLineOfTheUnit(t *testing.T) {
	t.Parallel()
	if got := complaints(t, unit(t, same)); got != "" {
		t.Errorf("systemd-analyze verify:\n%s", got)
	}
	misspelt := unit(t, func(s string) string { return strings.Replace(s, "AF_PPPOX ", "AF_PPPOY ", 1) })
	if got := complaints(t, misspelt); !strings.Contains(got, "AF_PPPOY") {
		t.Errorf("systemd-analyze verify does not see a misspelt address family: %q", got)
	}
}

// pppd.conf goes beside the unit, as a drop-in.
func TestSystemdUnderstandsWhatPppdNeeds(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("pppd.conf")
	if err != nil {
		t.Fatal(err)
	}
	with := func(dropIn string) string {
		path := unit(t, same)
		if err := os.Mkdir(path+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path+".d", "pppd.conf"), []byte(dropIn), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := complaints(t, with(string(b))); got != "" {
		t.Errorf("systemd-analyze verify:\n%s", got)
	}
	if got := complaints(t, with(strings.ReplaceAll(string(b), "@setuid", "@setuit"))); !strings.Contains(got, "@setuit") {
		t.Errorf("systemd-analyze verify does not see a misspelt system call: %q", got)
	}
}

// The threshold is ten times the exposure level: at most 4.0, where a unit without hardening has 9.6.
func TestTheUnitIsHardened(t *testing.T) {
	t.Parallel()
	level := regexp.MustCompile(`exposure level for l2tpd.service: ([0-9.]+)`)
	out, err := systemd(t, "systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", unit(t, same))
	found := level.FindStringSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	t.Logf("exposure level %s", found[1])
	open := unit(t, func(s string) string {
		return regexp.MustCompile(`(?m)^(Capability|Protect|Restrict|SystemCall|Device|Private).*\n`).ReplaceAllString(s, "")
	})
	if out, err := systemd(t, "systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", open); err == nil {
		t.Errorf("an open unit passes the threshold too:\n%s", out)
	}
}

func TestTheUnitNamesWhatTheProgramsHave(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("l2tpd.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nType=notify\n", "\nExecStart=/usr/sbin/l2tpd run --config /etc/l2tpd/l2tpd.yaml\n", "\nExecReload=/usr/bin/l2tpctl reload\n",
		"\nRuntimeDirectory=l2tpd\n", "\nGroup=l2tpd\n", "\nDeviceAllow=/dev/ppp rw\n", "\nDeviceAllow=/dev/net/tun rw\n",
		"\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE\n", "\nWatchdogSec=",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the unit lacks %q", strings.TrimSpace(want))
		}
	}
}

func TestSysusersMakesTheGroup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs("l2tpd.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := systemd(t, "systemd-sysusers", "--root="+root, path); err != nil {
		t.Fatalf("systemd-sysusers: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(root, "etc", "group"))
	if err != nil || !regexp.MustCompile(`(?m)^l2tpd:x:\d+:$`).Match(b) {
		t.Errorf("group file %q, %v", b, err)
	}
}

// Secrets beside the configuration become unreadable for others, whoever wrote them how.
func TestTmpfilesClosesSecrets(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "etc", "l2tpd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "branch.secret"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("l2tpd.tmpfiles")
	if err != nil {
		t.Fatal(err)
	}
	// Whoever runs the test owns the files: only root could give them to root.
	path := filepath.Join(root, "l2tpd.conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), " root root ", " - - ")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := systemd(t, "systemd-tmpfiles", "--root="+root, "--create", path); err != nil {
		t.Fatalf("systemd-tmpfiles: %v\n%s", err, out)
	}
	for name, want := range map[string]os.FileMode{dir: 0o750, filepath.Join(dir, "branch.secret"): 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", name, info.Mode().Perm(), err, want)
		}
	}
}
