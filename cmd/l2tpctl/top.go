package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// shortestInterval is how often top may look: each look costs the daemon a request of the kernel for every session.
const shortestInterval = 500 * time.Millisecond

func (t *tool) topCommand() *cobra.Command {
	interval, once := 2*time.Second, false
	c := &cobra.Command{
		Use: "top", Short: "Watch sessions and tunnels: rates, ages, why they end",
		Long: "Watch sessions and tunnels on a terminal: what each carries in bits a second, how old it is, and why others have ended. ? shows the keys, q quits. " +
			"With --once, and where the output is no terminal, print the sessions once: two looks at the daemon, an interval apart, tell their rates. " +
			"-o json prints what one look finds.",
		Args: arguments(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if interval < shortestInterval {
				return usagef(fmt.Sprintf("the shortest is %v", shortestInterval), "an interval of %v is too short", interval)
			}
			return t.top(c.Context(), interval, once)
		},
	}
	c.Flags().DurationVar(&interval, "interval", interval, "time from look to look, 500ms at least")
	c.Flags().BoolVar(&once, "once", false, "print the sessions once, and end")
	return c
}

func (t *tool) top(ctx context.Context, interval time.Duration, once bool) error {
	first, err := api.Watch(ctx, t.client())
	if err != nil {
		return err
	}
	if t.format == "json" {
		return t.json(first)
	}
	client := api.NewClient(api.ClientConfig{Path: t.socket, Wait: -1}) // a screen has other ways to say that it waits
	state := topState{zone: t.zone}.take(topSample{snap: first})
	width, tty := terminalWidth(t.out)
	if tty && !once {
		return watch(ctx, topModel{state: state, interval: interval, look: func(after string, events bool) topSample { return look(ctx, client, after, events) }},
			tea.WithOutput(t.out))
	}
	state.width = width
	text, err := topOnce(ctx, state, interval, func(ctx context.Context) (*api.Snapshot, error) { return api.Watch(ctx, client) })
	if err != nil {
		return err
	}
	return t.print(text)
}

// terminalWidth tells how wide the terminal is that w is, if it is one.
func terminalWidth(w io.Writer) (width int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}

// onTerminal says whether w is a terminal.
func onTerminal(w io.Writer) bool {
	_, ok := terminalWidth(w)
	return ok
}

// topOnce looks a second time, for the rates, and gives the picture.
func topOnce(ctx context.Context, s topState, interval time.Duration, watch func(context.Context) (*api.Snapshot, error)) (string, error) {
	select {
	case <-ctx.Done():
		return "", errors.New("interrupted")
	case <-time.After(interval):
	}
	snap, err := watch(ctx)
	if err != nil {
		return "", err
	}
	return s.take(topSample{snap: snap}).text(), nil
}

// longestLook is how long a look may take: then the daemon is as good as gone.
const longestLook = 30 * time.Second

// look asks the daemon for a picture and, if they are wanted, for the events behind a cursor.
func look(ctx context.Context, client *api.Client, after string, events bool) (x topSample) {
	ctx, cancel := context.WithTimeout(ctx, longestLook)
	defer cancel()
	if x.snap, x.err = api.Watch(ctx, client); x.err != nil || !events {
		return x
	}
	x.untold = client.Events(ctx, api.EventQuery{After: after}, func(e api.Event) error {
		x.cursor, x.events = e.Cursor, append(x.events, e)
		return nil
	})
	return x
}

// topModel has a terminal show a topState, and looks at the daemon from time to time.
type topModel struct {
	state    topState
	interval time.Duration
	look     func(after string, events bool) topSample // may take its time
	looking  bool
	due      int // the number of the next look: one that came sooner has made an older one needless
}

// topDue says that it is time for a look.
type topDue int

// Init plans the second look; the first was before.
func (m topModel) Init() tea.Cmd { return m.later() }

func (m topModel) later() tea.Cmd {
	n := m.due
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return topDue(n) })
}

// now begins a look, unless one is under way.
func (m topModel) now() (topModel, tea.Cmd) {
	if m.looking {
		return m, nil
	}
	m.looking = true
	m.due++
	after, events := m.state.after, m.state.table == topCauses
	return m, func() tea.Msg { return m.look(after, events) }
}

// Update implements tea.Model.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.state.width, m.state.height = msg.Width, msg.Height
		m.state = m.state.scroll(0)
	case tea.KeyPressMsg:
		var quit, look bool
		if m.state, quit, look = m.state.key(msg.String(), msg.Key().Text); quit {
			return m, tea.Quit
		}
		if look {
			return m.now()
		}
	case topDue:
		switch {
		case int(msg) != m.due:
		case m.state.paused:
			return m, m.later()
		default:
			return m.now()
		}
	case topSample:
		m.looking = false
		if !m.state.paused {
			m.state = m.state.take(msg)
		}
		return m, m.later()
	}
	return m, nil
}

// View implements tea.Model.
func (m topModel) View() tea.View {
	lines := m.state.screen()
	for _, strong := range []int{0, 2} {
		if strong < len(lines)-1 {
			lines[strong] = "\x1b[1m" + lines[strong] + "\x1b[m"
		}
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	return v
}

// watch shows m until somebody quits. It leaves the terminal as it was.
func watch(ctx context.Context, m topModel, options ...tea.ProgramOption) error {
	_, err := tea.NewProgram(m, append(options, tea.WithContext(ctx))...).Run()
	if err == nil || ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return fmt.Errorf("show on the terminal: %w", err)
}
