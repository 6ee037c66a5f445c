package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Limits of a capture.
const (
	DefaultCaptureTime = 5 * time.Minute
	DefaultCaptureSize = 16 << 20
	MaxCaptureTime     = 24 * time.Hour
	MaxCaptureSize     = 1 << 30
	MinCaptureSize     = 4 << 10
	MaxCaptures        = 4 // at a time
)

const captureType = "application/x-pcapng"

// Capture is a request for a capture, resolved: one of All, Peer, Tunnel (with or without Session) and Line is set.
type Capture struct {
	All     bool
	Peer    netip.Addr // without a zone
	Tunnel  uint16
	Session uint16 // of Tunnel; 0: the whole tunnel
	Line    uint16
	For     time.Duration
	Size    int64  // octets
	By      string // who asks, for the log
}

// What says what is captured.
func (c Capture) What() string {
	switch {
	case c.All:
		return "everything"
	case c.Peer.IsValid():
		return "peer " + c.Peer.String()
	case c.Line != 0:
		return fmt.Sprintf("%s%d", LineRef, c.Line)
	case c.Session != 0:
		return fmt.Sprintf("session %d/%d", c.Tunnel, c.Session)
	}
	return fmt.Sprintf("tunnel %d", c.Tunnel)
}

// CaptureRequest is what an operator asks for; one of All, Peer, Tunnel, Session and Line is set. Zero limits are the defaults.
type CaptureRequest struct {
	All     bool
	Peer    string // an address; it need not have come yet
	Tunnel  string
	Session string // a reference, as for other verbs
	Line    string // its number
	For     time.Duration
	Size    int64
}

func (r CaptureRequest) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{"peer": r.Peer, "tunnel": r.Tunnel, "session": r.Session, "line": r.Line} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if r.All {
		q.Set("all", "true")
	}
	if r.For != 0 {
		q.Set("for", r.For.String())
	}
	if r.Size != 0 {
		q.Set("size", strconv.FormatInt(r.Size, 10))
	}
	return q
}

// capturing handles POST /v1/capture: it answers with a pcapng file that grows until the capture ends. That is when its time is
// over or its size reached, when the connection is closed, or when a request body that came in chunks ends, after which the
// file's own end is still sent.
func (s *Server) capturing(w http.ResponseWriter, r *http.Request) {
	who, err := s.permit(r, accessAct)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	asking, asked := context.WithTimeout(r.Context(), s.cfg.Timeout)
	c, err := s.names.capture(asking, r.URL.Query())
	asked()
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	c.By = who.String()
	ctx, out, done, err := s.live(w, r, captureType)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	defer done()
	stuck := time.AfterFunc(c.For+lastWords, func() { _ = out.conn.SetWriteDeadline(longAgo) }) // for one who does not read
	defer stuck.Stop()
	s.lived(ctx, out, s.cfg.Backend.Capture(ctx, c, out))
}

// capture resolves a request for a capture.
func (r resolver) capture(ctx context.Context, q url.Values) (Capture, error) {
	c := Capture{For: DefaultCaptureTime, Size: DefaultCaptureSize}
	if err := c.limits(q.Get("for"), q.Get("size")); err != nil {
		return c, err
	}
	var what []string
	for _, key := range []string{"peer", "tunnel", "session", "line", "all"} {
		if q.Get(key) != "" {
			what = append(what, key)
		}
	}
	if len(what) != 1 {
		no := Errorf(CodeInvalid, "a capture is of one peer, tunnel, session or line, or of all")
		no.Hint = "l2tpctl capture --help"
		return c, no
	}
	ref := q.Get(what[0])
	var err error
	switch what[0] {
	case "peer":
		a, bad := netip.ParseAddr(ref)
		if bad != nil {
			no := Errorf(CodeInvalid, "%q is no address", ref)
			no.Hint = "a peer is named by its IP address, without a port"
			return c, no
		}
		c.Peer = a.Unmap().WithZone("")
	case "tunnel":
		c.Tunnel, err = r.tunnel(ctx, ref)
	case "line", "session":
		if what[0] == "line" {
			ref = LineRef + ref
		}
		var s *Session
		if s, err = r.session(ctx, ref); err != nil {
			return c, err
		}
		c.Tunnel, c.Session = s.TunnelID, s.ID
		if s.TunnelID == 0 {
			c.Session, c.Line = 0, s.ID
		}
	case "all":
		if ref != "true" {
			return c, Errorf(CodeInvalid, "all=%q: want true", ref)
		}
		c.All = true
	}
	return c, err
}

// limits reads what is asked for; nothing stands for the defaults.
func (c *Capture) limits(limit, size string) error {
	var bad error
	if limit != "" {
		if c.For, bad = time.ParseDuration(limit); bad != nil || c.For <= 0 || c.For > MaxCaptureTime {
			return Errorf(CodeInvalid, "a capture lasts %v at most, not %s", MaxCaptureTime, limit)
		}
	}
	if size != "" {
		if c.Size, bad = strconv.ParseInt(size, 10, 64); bad != nil || c.Size < MinCaptureSize || c.Size > MaxCaptureSize {
			return Errorf(CodeInvalid, "a capture is of %d to %d octets, not of %s", MinCaptureSize, MaxCaptureSize, size)
		}
	}
	return nil
}

// Capture begins a capture: a pcapng file that grows. When ctx is done the daemon is asked to end it in good order: what remains of
// the file can be read for some seconds. The error is *Error where the daemon said no.
func (c *Client) Capture(ctx context.Context, r CaptureRequest) (*LiveStream, error) {
	return c.live(ctx, "capture", r.query(), captureType)
}
