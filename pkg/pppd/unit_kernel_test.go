//go:build kernel

package pppd

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// inUnit is a daemon that has both ends of a session in one namespace. It says what becomes of them and ends.
func inUnit() int {
	k, err := kernel.Open(kernel.Config{})
	if err != nil {
		fmt.Println("kernel:", err)
		return 1
	}
	for id, addr := range map[uint16][2]string{1: {"127.0.0.1:1701", "127.0.0.2:1701"}, 11: {"127.0.0.2:1701", "127.0.0.1:1701"}} {
		fd, err := connected(addr[0], addr[1])
		if err == nil {
			err = k.CreateTunnel(kernel.TunnelSpec{ID: id, PeerID: 12 - id, FD: fd})
		}
		if err != nil {
			fmt.Println("tunnel:", err)
			return 1
		}
	}
	s := New(Config{Dir: os.Getenv("PPPD_TEST_DIR")})
	if err := s.Check(); err != nil {
		fmt.Println("check:", err)
		return 1
	}
	atA, atB := new(pair).session()
	events := make(chan string, 100)
	begin := func(at kernel.SessionSpec, spec Spec) {
		session, err := k.CreateSession(at, nil)
		if err == nil {
			spec.Name = fmt.Sprintf("%d/%d", at.TunnelID, at.SessionID)
			spec.Socket, err = session.HandOver()
		}
		if err == nil {
			_, err = s.Start(spec, func(ev Event) {
				if line, ok := ev.(EvLine); ok {
					fmt.Println(spec.Name, line.Text)
					return
				}
				events <- fmt.Sprintf("%s: %T %v", spec.Name, ev, ev)
			})
		}
		if err != nil {
			events <- err.Error()
		}
	}
	lns, lac := server(AuthMSCHAPv2), client(AuthMSCHAPv2)
	lns.RequireMPPE, lac.RequireMPPE, lns.IPv6, lac.IPv6 = true, true, true, true
	begin(atA, lns)
	begin(atB, lac)
	for range 4 {
		select {
		case ev := <-events:
			fmt.Println("EVENT", ev)
		case <-time.After(wait):
			fmt.Println("EVENT none")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	fmt.Println("EVENT close", s.Close(ctx))
	left, err := os.ReadDir(os.Getenv("PPPD_TEST_DIR"))
	fmt.Println("EVENT left", left, err)
	return 0
}

// Under the unit as it is delivered, with pppd.conf and nothing else, two pppds log in, encrypt and come up. Without either line of
// pppd.conf the daemon says which one is missing.
func TestUnitWithPppd(t *testing.T) {
	l := lab.New(t)
	h := l.Host("a")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(l.Binary("l2tpd")), "pppd-daemon")
	if err := copyFile(binary, self); err != nil {
		t.Fatal(err)
	}
	ours := func(name string) string {
		t.Helper()
		text, err := os.ReadFile("../../configs/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	sd := h.Systemd()
	const dropIns = "/etc/systemd/system/l2tpd.service.d/"
	sd.Write("/etc/systemd/system/l2tpd.service", ours("l2tpd.service"))
	sd.Write("/etc/sysusers.d/l2tpd.conf", ours("l2tpd.sysusers"))
	sd.Run("systemd-sysusers", "l2tpd.conf")
	sd.Run("install", "-m", "755", "/run/bin/pppd-daemon", "/usr/sbin/pppd-daemon")
	sd.Write(dropIns+"test.conf", "[Service]\nType=oneshot\nExecStart=\nExecStart=/usr/sbin/pppd-daemon\nRestart=no\n"+
		"WatchdogSec=0\nEnvironment=PPPD_TEST_DIR=/run/l2tpd/pppd PPPD_TEST_UNIT=1\nTimeoutStartSec=180\n")
	for _, c := range []struct {
		without string
		want    []string
	}{
		{"SystemCallFilter=", []string{"pppd may not set its user id here: in systemd: SystemCallFilter=@setuid"}},
		{"TemporaryFileSystem=", []string{"/etc/ppp cannot be covered for pppd: in systemd: TemporaryFileSystem=/etc/ppp"}},
		{"nothing", []string{
			"EVENT 1/1: pppd.EvNetworkUp {l2tp0 alice ", "EVENT 11/101: pppd.EvNetworkUp {ppp", "EVENT close <nil>", "EVENT left [] <nil>",
			"MPPE 128-bit stateless compression enabled",
		}},
	} {
		sd.Write(dropIns+"pppd.conf", strings.ReplaceAll(ours("pppd.conf"), "\n"+c.without, "\n#"+c.without))
		sd.Run("systemctl", "daemon-reload")
		_, _ = sd.Try("systemctl", "start", "l2tpd")
		log := sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "cat", "--sync")
		log += sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "cat")
		for _, want := range c.want {
			if !strings.Contains(log, want) {
				t.Errorf("without %s: no %q in the journal:\n%s", c.without, want, log)
			}
		}
	}
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}
