package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ClientConfig configures a Client.
type ClientConfig struct {
	Path string // of the socket; empty: DefaultSocket
	// Wait is how long a daemon that is starting may take to answer; 0 means 5 s, negative: no time at all.
	Wait time.Duration
	// Waiting is called once when the daemon does not answer at the first attempt and the client goes on trying; may be nil.
	Waiting func()
}

// Client asks a daemon over its socket. It is safe for concurrent use.
type Client struct {
	cfg  ClientConfig
	http http.Client
}

// UnreachableError says that no daemon answers on the socket.
type UnreachableError struct {
	Path string
	Err  error
}

// Error names the socket and the reason.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("l2tpd does not answer on %s: %v", e.Path, e.Err)
}

// Unwrap returns the reason.
func (e *UnreachableError) Unwrap() error { return e.Err }

// retryEvery is the pause between attempts to reach a daemon that is starting.
const retryEvery = 100 * time.Millisecond

// maxReply bounds what the client reads: 50,000 sessions take about 60 MiB.
const maxReply = 512 << 20

// NewClient returns a Client. It connects when it is asked something.
func NewClient(cfg ClientConfig) *Client {
	cfg.Path = cmp.Or(cfg.Path, DefaultSocket)
	cfg.Wait = cmp.Or(cfg.Wait, 5*time.Second)
	c := &Client{cfg: cfg}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", cfg.Path)
		},
	}
	return c
}

// Status returns a Snapshot with its Status set.
func (c *Client) Status(ctx context.Context) (*Snapshot, error) { return c.get(ctx, "status", nil) }

// Tunnels returns all tunnels, or with a ref that one and its sessions.
func (c *Client) Tunnels(ctx context.Context, ref string) (*Snapshot, error) {
	return c.get(ctx, "tunnels", url.Values{"ref": {ref}})
}

// Sessions returns all sessions, those of one tunnel, or with a ref that one.
func (c *Client) Sessions(ctx context.Context, tunnel, ref string) (*Snapshot, error) {
	return c.get(ctx, "sessions", url.Values{"ref": {ref}, "tunnel": {tunnel}})
}

// Calls returns all configured calls, or with a ref that one.
func (c *Client) Calls(ctx context.Context, ref string) (*Snapshot, error) {
	return c.get(ctx, "calls", url.Values{"ref": {ref}})
}

// Act has something done. The error is *Error where the daemon said no.
func (c *Client) Act(ctx context.Context, r Request) (*Result, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	res := new(Result)
	return res, c.do(ctx, http.MethodPost, "actions", body, res)
}

func (c *Client) get(ctx context.Context, what string, q url.Values) (*Snapshot, error) {
	for k := range q {
		if q.Get(k) == "" {
			q.Del(k)
		}
	}
	if len(q) > 0 {
		what += "?" + q.Encode()
	}
	snap := new(Snapshot)
	return snap, c.do(ctx, http.MethodGet, what, nil, snap)
}

// do asks, and reads the answer.
func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	return c.ask(ctx, func() error {
		answer, err := c.open(ctx, method, path, body)
		if err != nil {
			return err
		}
		defer answer.Close()
		b, err := io.ReadAll(io.LimitReader(answer, maxReply))
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			return fmt.Errorf("read the daemon's answer: %w", err)
		}
		return nil
	})
}

// ask asks once, and again while the daemon is starting: nobody listens yet, or it says that it is unavailable, which promises that nothing
// was done.
func (c *Client) ask(ctx context.Context, once func() error) error {
	wait, cancel := context.WithTimeout(ctx, max(c.cfg.Wait, 0))
	defer cancel()
	for first := true; ; first = false {
		err := once()
		if err == nil || !starting(err) {
			return err
		}
		if first && c.cfg.Waiting != nil && wait.Err() == nil {
			c.cfg.Waiting()
		}
		select {
		case <-wait.Done():
			return err
		case <-time.After(retryEvery):
		}
	}
}

// starting reports whether err may pass when the daemon has started.
func starting(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return true
	}
	no, ok := errors.AsType[*Error](err)
	return ok && no.Code == CodeUnavailable
}

// open asks once, and gives the body of an answer that says yes.
func (c *Client) open(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://l2tpd/"+APIVersion+"/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	return nil, refusal(resp, c.cfg.Path)
}

// refusal is the error of an answer that says no, and takes what there is of it. The answer may not be a daemon's.
func refusal(resp *http.Response, path string) error {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	no := new(Error)
	if err := json.Unmarshal(b, no); err != nil || no.Code == "" {
		return fmt.Errorf("the daemon answers %s: is %s the socket of an l2tpd?", resp.Status, path)
	}
	return no
}

// explain turns the error of a connection into what the operator needs to know. Only an attempt that never reached a daemon is
// an UnreachableError: anything later may have been acted on.
func (c *Client) explain(err error) error {
	op, dialled := errors.AsType[*net.OpError](err)
	if dialled {
		dialled = op.Op == "dial"
	}
	reason, ok := errors.AsType[syscall.Errno](err)
	if !ok || !dialled {
		return fmt.Errorf("ask l2tpd on %s: %w", c.cfg.Path, unwrapURL(err))
	}
	if reason != unix.EACCES && reason != unix.EPERM {
		return &UnreachableError{Path: c.cfg.Path, Err: reason}
	}
	no := Errorf(CodeForbidden, "%s may not be opened: %v", c.cfg.Path, reason)
	no.Hint = "run it as root: sudo l2tpctl ..."
	if group := socketGroup(c.cfg.Path); group != "" {
		no.Hint = readHint(group)
	}
	return no
}

// unwrapURL drops the made-up URL that net/http puts in front of an error.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// socketGroup returns the group that may open path, if one may.
func socketGroup(path string) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o060 != 0o060 {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid)))
	if err != nil {
		return ""
	}
	return g.Name
}
