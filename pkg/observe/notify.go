package observe

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells systemd how the daemon is. Without NOTIFY_SOCKET in the environment every method does nothing. It is safe for
// concurrent use.
type Notifier struct {
	log      *slog.Logger
	send     func(state string) (bool, error)
	watchdog func() (time.Duration, error)
}

// NewNotifier returns a Notifier for the service manager that the environment names. log may be nil.
func NewNotifier(log *slog.Logger) *Notifier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{
		log:      log,
		send:     func(state string) (bool, error) { return daemon.SdNotify(false, state) },
		watchdog: func() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) },
	}
}

// Ready says that the daemon serves, at the start and after a reload. status may be empty.
func (n *Notifier) Ready(status string) { n.notify(daemon.SdNotifyReady, statusLine(status)) }

// Reloading says that a reload began; Ready ends it.
func (n *Notifier) Reloading() {
	n.notify(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the daemon is on its way down.
func (n *Notifier) Stopping(status string) { n.notify(daemon.SdNotifyStopping, statusLine(status)) }

// Status sets the one line that "systemctl status" shows.
func (n *Notifier) Status(format string, args ...any) {
	n.notify(statusLine(fmt.Sprintf(format, args...)))
}

// Watchdog feeds systemd's watchdog three times in its interval, each time only when alive returns nil within a third of the interval.
// It returns when ctx is done, or at once when no watchdog is set. alive must return when its ctx is done.
func (n *Notifier) Watchdog(ctx context.Context, alive func(context.Context) error) {
	interval, err := n.watchdog()
	if err != nil {
		n.log.WarnContext(ctx, "systemd watchdog is off: its environment cannot be read", slog.Any("error", err))
		return
	}
	if interval <= 0 {
		return
	}
	period := interval / 3
	tick := time.NewTicker(period)
	defer tick.Stop()
	healthy := true
	for {
		check, cancel := context.WithTimeout(ctx, period)
		err := alive(check)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			n.notify(daemon.SdNotifyWatchdog)
			if !healthy {
				n.log.InfoContext(ctx, "the daemon answers its watchdog again")
			}
		case healthy:
			n.log.ErrorContext(ctx, "the daemon does not answer its watchdog; systemd will restart it", slog.Any("error", err), slog.Duration("after", interval))
		}
		healthy = err == nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notify sends the non-empty assignments in one datagram. A failure is not the daemon's problem: it is logged and forgotten.
func (n *Notifier) notify(assignments ...string) {
	var lines []string
	for _, a := range assignments {
		if a = strings.TrimSpace(a); a != "" {
			lines = append(lines, a)
		}
	}
	if _, err := n.send(strings.Join(lines, "\n")); err != nil {
		n.log.Warn("tell systemd", slog.Any("error", err))
	}
}

// statusLine returns the assignment for s. A line break would begin another assignment.
func statusLine(s string) string {
	if s == "" {
		return ""
	}
	return "STATUS=" + Clean(s)
}
