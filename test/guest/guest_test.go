package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestArgumentsAreParsed(t *testing.T) {
	t.Parallel()
	o, err := parseArgs([]string{
		"run", "--kernel", "6.1", "--timeout=90s", "--env", "A=1", "--env", "B=x=y",
		"--match", "^ok$", "--", "sh", "-c", "exit 3", "--kernel",
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.kernel != "6.1" || o.timeout != 90*time.Second || !o.match.MatchString("ok") {
		t.Errorf("got %+v", o)
	}
	if diff := cmp.Diff([]string{"A=1", "B=x=y"}, o.env); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"sh", "-c", "exit 3", "--kernel"}, o.args); diff != "" {
		t.Error(diff)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"", "fly", "run", "run --kernel 5.4 -- true", "run --env A -- true", "run --match ( -- true",
		"run --timeout 0s -- true", "run --memory 1 -- true", "shell --kernel native", "run --nonsense -- true",
	} {
		if _, err := parseArgs(strings.Fields(args)); err == nil {
			t.Errorf("%q: accepted", args)
		}
	}
}

func TestCpioIsWhatTheKernelReads(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	c := &cpioWriter{w: &b}
	c.dir("dev")
	c.char("dev/console", 5, 1)
	c.file("init", 0o755, []byte("hello"))
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 {
		t.Errorf("length %d is no multiple of four", b.Len())
	}
	const first = "070701" + "00000001" + "000041ed" + "00000000" + "00000000" + "00000001" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "dev\x00"
	if got := b.String()[:len(first)]; got != first {
		t.Errorf("first entry:\n%s\nwant:\n%s", hex.Dump([]byte(got)), hex.Dump([]byte(first)))
	}
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Log("no cpio to compare with")
		return
	}
	list := exec.Command(cpio, "-it", "--quiet")
	list.Stdin = &b
	out, err := list.CombinedOutput()
	if err != nil || string(out) != "dev\ndev/console\ninit\n" {
		t.Errorf("cpio says %q, %v", out, err)
	}
}

func TestModulesAreLoadedAfterTheirNeeds(t *testing.T) {
	t.Parallel()
	const dep = `kernel/fs/netfs/netfs.ko:
kernel/net/9p/9pnet.ko:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio-ring.ko
kernel/drivers/virtio/virtio-ring.ko:
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko
`
	m, err := parseModules(dep, "kernel/drivers/virtio/virtio-pci.ko\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.order([]string{"virtio_pci", "9pnet_virtio", "9p"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kernel/net/9p/9pnet.ko", "kernel/drivers/virtio/virtio-ring.ko", "kernel/net/9p/9pnet_virtio.ko.xz",
		"kernel/fs/netfs/netfs.ko", "kernel/fs/9p/9p.ko",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := m.order([]string{"overlay"}); err == nil {
		t.Error("a module that is not there was found")
	}
}

func TestKernelFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"WARNING: CPU: 0 PID: 1 at net/l2tp/l2tp_core.c:1 l2tp_tunnel_free", "BUG: kernel NULL pointer dereference",
		"Oops: 0000 [#1] PREEMPT SMP", "refcount_t: underflow; use-after-free.", "general protection fault, probably for",
		"unreferenced object 0xffff (size 8):", "WARNING: possible circular locking dependency detected",
		"possible recursive locking detected", "unregister_netdevice: waiting for ppp0 to become free. Usage count = 1",
		"INFO: task l2tpd:12 blocked for more than 120 seconds.", "list_del corruption, ffff->next is LIST_POISON1",
	} {
		log := newKernelLog()
		log.add("4,1,100,-;" + line)
		if len(log.faulty) != 0 {
			t.Errorf("%q: counted though the command had not begun", line)
		}
		log.add("6,2,200,-;" + markBegin)
		log.add("4,3,300,-;" + line)
		if len(log.faulty) != 1 {
			t.Errorf("%q: not seen", line)
		}
	}
}

func TestHarmlessKernelLinesPass(t *testing.T) {
	t.Parallel()
	log := newKernelLog()
	log.add("6,2,200,-;" + markBegin)
	for _, line := range []string{
		"l2tp_core: L2TP core driver, V2.0", "debug: nothing", "DEBUG mode", "xl2tpd[12]: segfault at 0 ip 0", "no warning: none",
	} {
		log.add("6,3,300,-;" + line)
	}
	if r := log.report(); r != "" {
		t.Errorf("reported:\n%s", r)
	}
}

func TestFaultIsReportedWithItsSurroundings(t *testing.T) {
	t.Parallel()
	log := newKernelLog()
	log.add("6,1,1000000,-;boot")
	log.add("6,2,2000000,-;" + markBegin)
	log.add("6,3,3000001,-;before")
	log.add("4,4,4000000,-;WARNING: here\n SUBSYSTEM=net")
	log.add("4,5,5000000,-;Call Trace:")
	const want = "  [    3.000001] before\n! [    4.000000] WARNING: here\n  [    5.000000] Call Trace:\n"
	if diff := cmp.Diff(want, log.report()); diff != "" {
		t.Error(diff)
	}
}

func TestNewestPlainKernelComesFirst(t *testing.T) {
	t.Parallel()
	const list = `linux-image-6.12-amd64 - meta
linux-image-6.12.100+deb12-amd64 - signed
linux-image-6.12.117+deb12-amd64-unsigned - unsigned
linux-image-6.12.117+deb12-amd64 - signed
linux-image-6.12.117+deb12-amd64-dbg - symbols
linux-image-6.12.118+deb12-cloud-amd64 - cloud
linux-image-6.12.118+deb12-rt-amd64 - rt
linux-image-6.12.99+deb12-amd64 - signed
`
	var got []string
	for _, o := range parseOffers("6.12", list) {
		got = append(got, o.name)
	}
	want := []string{
		"linux-image-6.12.117+deb12-amd64", "linux-image-6.12.117+deb12-amd64-unsigned",
		"linux-image-6.12.100+deb12-amd64", "linux-image-6.12.99+deb12-amd64",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCacheHoldsWholeKernelsOnly(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	for _, d := range []string{"6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.1-amd64", ".fetch-1"} {
		if err := os.Mkdir(filepath.Join(cache, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := cachedKernels(cache, "6.1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].release != "6.1.0-56-amd64" {
		t.Errorf("got %+v", got)
	}
	if got, err := cachedKernels(filepath.Join(cache, "none"), "6.1"); err != nil || len(got) != 0 {
		t.Errorf("no cache at all: %v, %v", got, err)
	}
}

func TestFramesSurviveTheWire(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := &frameWriter{w: &b}
	long := bytes.Repeat([]byte("x"), frameMax+3)
	if err := w.send(frameOut, long); err != nil {
		t.Fatal(err)
	}
	if err := w.send(frameBeat, nil); err != nil {
		t.Fatal(err)
	}
	var got []byte
	var kinds []byte
	for b.Len() > 0 {
		kind, body, err := readFrame(&b)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, kind)
		got = append(got, body...)
	}
	if string(kinds) != "ooh" || !bytes.Equal(got, long) {
		t.Errorf("frames %s, %d bytes", kinds, len(got))
	}
}

func TestMatchLooksAtWholeLines(t *testing.T) {
	t.Parallel()
	o, err := parseArgs([]string{"run", "--match", "^ok$", "--", "true"})
	if err != nil {
		t.Fatal(err)
	}
	for input, want := range map[string]bool{"a\nok\n": true, "ok": true, "not ok\n": false, "": false, "ok\r\n": true} {
		m := &matcher{re: o.match}
		for _, c := range []byte(input) { // output arrives in any pieces
			if _, err := m.Write([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
		if m.found() != want {
			t.Errorf("%q: found is %v", input, !want)
		}
	}
}

func TestConsoleKeepsItsEnd(t *testing.T) {
	t.Parallel()
	l := &lastLines{keep: 3}
	for range 100 {
		if _, err := l.Write([]byte("early\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("panic\r\nend\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := l.String(); !strings.HasSuffix(got, "panic\nend") || strings.Count(got, "\n") > 3 {
		t.Errorf("got %q", got)
	}
}

func TestCommandLinesArePastable(t *testing.T) {
	t.Parallel()
	if got, want := quoteArgs([]string{"sh", "-c", "echo 'a' $b", ""}), `sh -c 'echo '\''a'\'' $b' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCallersEnvironmentComesLast(t *testing.T) {
	t.Parallel()
	env := environment(task{Series: "6.1", Env: []string{"HOME=/x"}})
	if env[len(env)-1] != "HOME=/x" || !slices.Contains(env, "L2TPD_KERNEL=6.1") {
		t.Errorf("got %q", env)
	}
}
