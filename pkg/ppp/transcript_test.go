package ppp

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

func TestTranscriptCHAP(t *testing.T) {
	t.Parallel()
	a := newOwner(t, "a", Config{Auth: []AuthMethod{AuthCHAPMD5}, Name: "lns", IPv4: IPv4Own, Local: addr("10.0.0.1"), IPv6: true})
	b := newOwner(t, "b", Config{Answer: []AuthMethod{AuthCHAPMD5}, User: "bob", Password: []byte("secret"), IPv4: IPv4Request, IPv6: true})
	a.users["bob"] = "secret"
	a.give = addr("10.0.0.2")
	c := newCable(t, a, b)
	c.open()
	c.run(time.Minute)
	c.do(b, CmdClose{Text: "bye"})
	c.run(time.Minute)
	golden(t, "transcript/chap.txt", c.log.String())
}
