package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of what anybody who reaches a port of a Server can take.
const (
	maxConns  = 16 // open at once on one address; more wait in the kernel's queue
	maxHeader = 8 << 10
)

// Server serves GET /metrics on TCP, to everybody who reaches it.
type Server struct {
	listeners []net.Listener
	handler   http.Handler
	log       *slog.Logger
}

// Listen opens the addresses; metrics answers the scrapes. Until Serve is called clients wait. The Server serves what could be opened; the
// error, one for each of the others, may be beside it.
func Listen(addrs []netip.AddrPort, metrics http.Handler, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	s := &Server{handler: mux, log: log}
	var problems []error
	for _, a := range addrs {
		l, err := net.Listen("tcp", a.String())
		if err != nil {
			problems = append(problems, fmt.Errorf("metrics: %w", err))
			continue
		}
		s.listeners = append(s.listeners, netutil.LimitListener(l, maxConns))
	}
	return s, errors.Join(problems...)
}

// Addrs are the addresses that could be opened.
func (s *Server) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range s.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// Serve answers until ctx is done, and gives scrapes on their way two seconds. It is called once.
func (s *Server) Serve(ctx context.Context) {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute, // longer than scrapes are usually apart
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // strangers can cause it
	}
	var serving sync.WaitGroup
	for _, l := range s.listeners {
		serving.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				s.log.ErrorContext(ctx, "metrics are not served any more", slog.Any("address", l.Addr()), slog.Any("error", err))
			}
		})
	}
	<-ctx.Done()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	serving.Wait()
}

// Close gives the addresses back without serving them.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
