package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// ServerConfig configures a Server.
type ServerConfig struct {
	Backend Backend
	Events  EventSource   // nil: none
	Path    string        // of the socket; empty: DefaultSocket
	Group   string        // whose members may read; empty: nobody but root
	Log     *slog.Logger  // nil: none
	Timeout time.Duration // of one request; 0 means 30 s
	Metrics http.Handler  // of GET /metrics, for those who may read; nil: there are none

	// peer replaces the kernel's word on who connects, in tests.
	peer func(*net.UnixConn) (credentials, error)
}

// Limits of one request.
const (
	maxBody   = 64 << 10
	maxHeader = 16 << 10
)

// Server serves the API on one socket.
type Server struct {
	cfg   ServerConfig
	names resolver
	lock  *os.File
	l     *boundedListener
	group int
	own   uint32

	baseline baseline

	boot   string        // begins the cursors of this daemon's events
	ending chan struct{} // closed when streams are to end
}

// Listen makes the socket, mode 0660 and of the group where that exists, else 0600. A socket that a dead daemon left is replaced; a
// live one is ErrRunning. Until Serve is called, clients wait.
func Listen(cfg ServerConfig) (*Server, error) {
	cfg.Path = cmp.Or(cfg.Path, DefaultSocket)
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.peer == nil {
		cfg.peer = peerCredentials
	}
	lock, err := lockSocket(cfg.Path)
	if err != nil {
		return nil, err
	}
	if err := removeStale(cfg.Path); err != nil {
		lock.Close()
		return nil, err
	}
	l, group, err := listenUnix(cfg.Path, cfg.Group, cfg.Log)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Server{
		cfg: cfg, names: resolver{cfg.Backend}, lock: lock, l: newBoundedListener(l), group: group, own: uint32(os.Geteuid()),
		boot: strconv.FormatInt(time.Now().UnixNano(), 36), ending: make(chan struct{}),
	}, nil
}

// Serve answers until ctx is done, gives requests on their way two seconds, and removes the socket. It is called once. The error
// is nil after a wanted end.
func (s *Server) Serve(ctx context.Context) error {
	defer s.lock.Close()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      s.cfg.Timeout + 30*time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       s.withPeer,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.l) }()
	select {
	case err := <-served:
		return fmt.Errorf("api socket: serve: %w", err)
	case <-ctx.Done():
	}
	close(s.ending)
	grace, done := context.WithTimeout(base, 2*time.Second)
	defer done()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api socket: serve: %w", err)
	}
	return nil
}

// Close gives the socket back without serving it.
func (s *Server) Close() error { return errors.Join(s.l.Close(), s.lock.Close()) }

// peerKey is the context key of a connection's credentials or of the error that took their place.
type peerKey struct{}

type peerAnswer struct {
	credentials
	err error
}

func (s *Server) withPeer(ctx context.Context, conn net.Conn) context.Context {
	var a peerAnswer
	if c, ok := conn.(*boundedConn); ok {
		a.credentials, a.err = s.cfg.peer(c.UnixConn)
	} else {
		a.err = fmt.Errorf("peer credentials: %T is no unix connection", conn)
	}
	return context.WithValue(ctx, peerKey{}, a)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+APIVersion+"/status", s.reading(s.getStatus))
	mux.HandleFunc("GET /"+APIVersion+"/tunnels", s.reading(s.getTunnels))
	mux.HandleFunc("GET /"+APIVersion+"/sessions", s.reading(s.getSessions))
	mux.HandleFunc("GET /"+APIVersion+"/calls", s.reading(s.getCalls))
	mux.HandleFunc("GET /"+APIVersion+"/lives", s.reading(s.getLives))
	mux.HandleFunc("GET /"+APIVersion+"/events", s.getEvents)
	s.registerReaders(mux)
	mux.HandleFunc("POST /"+APIVersion+"/actions", s.acting)
	mux.HandleFunc("POST /"+APIVersion+"/capture", s.capturing)
	mux.HandleFunc("POST /"+APIVersion+"/debug", s.debugging)
	if s.cfg.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if _, err := s.permit(r, accessRead); err != nil {
				s.reply(w, nil, err)
				return
			}
			s.cfg.Metrics.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.reply(w, nil, Errorf(CodeInvalid, "no %s %s in API version %s", r.Method, r.URL.Path, APIVersion))
	})
	return mux
}

// permit checks that the caller has at least the access it needs.
func (s *Server) permit(r *http.Request, need access) (credentials, error) {
	a, ok := r.Context().Value(peerKey{}).(peerAnswer)
	if !ok {
		return credentials{}, errors.New("peer credentials: none")
	}
	if a.err != nil {
		return credentials{}, a.err
	}
	have := a.access(s.own, s.group)
	if have >= need {
		return a.credentials, nil
	}
	s.cfg.Log.WarnContext(r.Context(), "api request refused", slog.String("event", "api-refused"), slog.String("by", a.String()), slog.String("path", r.URL.Path))
	no := Errorf(CodeForbidden, "user %d may not do this", a.uid)
	switch {
	case have == accessRead:
		no.Message = fmt.Sprintf("user %d may read but not act", a.uid)
		no.Hint = "run it as root: sudo l2tpctl ..."
	case s.cfg.Group == "":
		no.Hint = "run it as root: no group is configured whose members may read (api.group)"
	case s.group < 0:
		no.Hint = fmt.Sprintf("run it as root: there is no group %s whose members may read", s.cfg.Group)
	default:
		no.Hint = readHint(s.cfg.Group)
	}
	return credentials{}, no
}

// readHint says how to get read access.
func readHint(group string) string {
	return fmt.Sprintf("run it as root, or join group %s to read: sudo usermod -aG %s $USER, then log in again", group, group)
}

// reading wraps a handler that needs no more than read access.
func (s *Server) reading(get func(context.Context, *http.Request) (*Snapshot, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.permit(r, accessRead); err != nil {
			s.reply(w, nil, err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
		defer cancel()
		snap, err := get(ctx, r)
		if err != nil {
			s.reply(w, nil, err)
			return
		}
		snap.APIVersion = APIVersion
		s.reply(w, snap, nil)
	}
}

// wantsStats reads whether a client wants the kernel's counters.
func wantsStats(r *http.Request, unsaid bool) (bool, error) {
	v := r.FormValue("stats")
	if v == "" {
		return unsaid, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, Errorf(CodeInvalid, "stats is true or false, not %q", v)
	}
	return b, nil
}

func (s *Server) getStatus(ctx context.Context, r *http.Request) (*Snapshot, error) {
	stats, err := wantsStats(r, true)
	if err != nil {
		return nil, err
	}
	return s.cfg.Backend.Snapshot(ctx, Query{Status: true, Stats: stats})
}

func (s *Server) getTunnels(ctx context.Context, r *http.Request) (*Snapshot, error) {
	q := Query{Tunnels: true}
	if ref := r.FormValue("ref"); ref != "" {
		id, err := s.names.tunnel(ctx, ref)
		if err != nil {
			return nil, err
		}
		q.Tunnel = id
		q.Sessions = true
	}
	snap, err := s.cfg.Backend.Snapshot(ctx, q)
	if err == nil && q.Tunnel != 0 && len(snap.Tunnels) == 0 {
		return nil, Errorf(CodeNotFound, "tunnel %d has just gone", q.Tunnel)
	}
	return snap, err
}

func (s *Server) getSessions(ctx context.Context, r *http.Request) (*Snapshot, error) {
	stats, err := wantsStats(r, false)
	if err != nil {
		return nil, err
	}
	q := Query{Sessions: true, Stats: stats}
	if tunnel := r.FormValue("tunnel"); tunnel != "" {
		id, err := s.names.tunnel(ctx, tunnel)
		if err != nil {
			return nil, err
		}
		q.Tunnel = id
	}
	if ref := r.FormValue("ref"); ref != "" {
		c, err := s.names.session(ctx, ref)
		if err != nil {
			return nil, err
		}
		q.Tunnel, q.Session, q.Stats = c.TunnelID, c.ID, true
	}
	snap, err := s.cfg.Backend.Snapshot(ctx, q)
	if err == nil && q.Session != 0 && len(snap.Sessions) == 0 {
		return nil, Errorf(CodeNotFound, "session %d/%d has just gone", q.Tunnel, q.Session)
	}
	return snap, err
}

func (s *Server) getCalls(ctx context.Context, r *http.Request) (*Snapshot, error) {
	q := Query{Calls: true}
	if ref := r.FormValue("ref"); ref != "" {
		name, err := s.names.call(ctx, ref)
		if err != nil {
			return nil, err
		}
		q.Call = name
	}
	return s.cfg.Backend.Snapshot(ctx, q)
}

// acting handles POST /v1/actions.
func (s *Server) acting(w http.ResponseWriter, r *http.Request) {
	who, err := s.permit(r, accessAct)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	var req Request
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		s.reply(w, nil, Errorf(CodeInvalid, "read the request: %v", err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	action, err := s.action(ctx, req)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	action.By = who.String()
	res, err := s.act(ctx, action)
	if errors.Is(err, context.DeadlineExceeded) {
		no := Errorf(CodeInternal, "the daemon did not answer within %v: it may have acted or not", s.cfg.Timeout)
		no.Hint = "see journalctl -u l2tpd -n 50"
		err = no
	}
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "operator asked in vain", slog.String("event", "operator"), slog.String("verb", string(req.Verb)),
			slog.String("ref", req.Ref), slog.String("by", who.String()), slog.Any("error", err))
		s.reply(w, nil, err)
		return
	}
	res.APIVersion = APIVersion
	s.reply(w, res, nil)
}

// action resolves what req names.
func (s *Server) action(ctx context.Context, req Request) (Action, error) {
	a := Action{Verb: req.Verb}
	var err error
	switch req.Verb {
	case VerbTunnelClose:
		a.Tunnel, err = s.names.tunnel(ctx, req.Ref)
	case VerbSessionClose:
		var c *Session
		if c, err = s.names.session(ctx, req.Ref); err == nil {
			a.Tunnel, a.Session = c.TunnelID, c.ID
		}
	case VerbCallUp:
		a.Call, err = s.names.call(ctx, req.Ref)
	case VerbCallDown:
		a.Call, err = s.names.callOrItsSession(ctx, req.Ref)
	case VerbDebugStop:
		a.Debug, err = debugID(req.Ref)
	case VerbReload, VerbCountersReset:
	default:
		err = Errorf(CodeInvalid, "no verb %q in API version %s", req.Verb, APIVersion)
	}
	return a, err
}

// statusCodes are the HTTP side of error codes.
func statusCode(c ErrorCode) int {
	switch c {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeForbidden:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeInternal:
	}
	return http.StatusInternalServerError
}

// reply writes body, or err as an Error.
func (s *Server) reply(w http.ResponseWriter, body any, err error) {
	code := http.StatusOK
	if err != nil {
		no, ok := errors.AsType[*Error](err)
		switch {
		case ok:
		case errors.Is(err, context.DeadlineExceeded):
			no = Errorf(CodeUnavailable, "the daemon did not answer within %v", s.cfg.Timeout)
			no.Hint = "see journalctl -u l2tpd -n 50"
		default:
			no = Errorf(CodeInternal, "%v", err)
		}
		code, body = statusCode(no.Code), no
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		s.cfg.Log.Debug("api reply not sent", slog.Any("error", err))
	}
}
