package observe

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The only test that needs the process's environment, so it is not parallel.
func TestNotifierSpeaksToTheSocketOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	n := NewNotifier(nil)
	n.Ready("1 tunnel")
	n.Reloading()
	n.Status("%d tunnels from %s", 2, "a\nREADY=1")
	n.Stopping("")
	var got []string
	for range 4 {
		b := make([]byte, 1024)
		size, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:size]))
	}
	if usec, ok := strings.CutPrefix(got[1], "RELOADING=1\nMONOTONIC_USEC="); !ok || usec == "" {
		t.Errorf("reloading sent %q", got[1])
	}
	got[1] = ""
	if d := cmp.Diff([]string{"READY=1\nSTATUS=1 tunnel", "", `STATUS=2 tunnels from a\nREADY=1`, "STOPPING=1"}, got); d != "" {
		t.Errorf("datagrams (-want +got):\n%s", d)
	}
}

func TestNotifierWithoutServiceManagerDoesNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	var b bytes.Buffer
	n := NewNotifier(slog.New(newTextHandler(&b, slog.LevelDebug, false)))
	n.Ready("")
	n.Reloading()
	n.Status("x")
	n.Stopping("")
	n.Watchdog(t.Context(), func(context.Context) error {
		t.Error("asked whether the daemon lives although nobody wants to know")
		return nil
	})
	if b.Len() != 0 {
		t.Errorf("logged %q", b.String())
	}
}

func TestWatchdogIsFedOnlyWhileTheDaemonAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var fed []time.Duration
		var log bytes.Buffer
		n := &Notifier{
			log: slog.New(newTextHandler(&log, slog.LevelInfo, false)),
			send: func(state string) (bool, error) {
				if state == "WATCHDOG=1" {
					fed = append(fed, time.Since(start))
				}
				return true, nil
			},
			watchdog: func() (time.Duration, error) { return 30 * time.Second, nil },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		n.Watchdog(ctx, func(ctx context.Context) error {
			switch at := time.Since(start); {
			case at == 20*time.Second: // stuck: answers only when it is told to give up
				<-ctx.Done()
				return ctx.Err()
			case at >= 30*time.Second && at < 50*time.Second:
				return errors.New("shard 1 does not answer")
			}
			return nil
		})
		want := []time.Duration{0, 10 * time.Second, 50 * time.Second, 60 * time.Second}
		if d := cmp.Diff(want, fed); d != "" {
			t.Errorf("fed at (-want +got):\n%s", d)
		}
		if got := strings.Count(log.String(), "does not answer its watchdog"); got != 1 {
			t.Errorf("%d complaints for one outage, want 1:\n%s", got, log.String())
		}
		if !strings.Contains(log.String(), "answers its watchdog again") {
			t.Errorf("the recovery is not told:\n%s", log.String())
		}
	})
}
