package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// lastWords is how long the end of an answer may take that goes on until somebody ends it: the daemon's for a client that does not
// read, and the client's for a daemon that has been asked to end it.
const lastWords = 10 * time.Second

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)

// liveWriter sends at once what is written.
type liveWriter struct {
	w     http.ResponseWriter
	conn  *http.ResponseController
	kind  string // Content-Type
	begun bool
}

// Write implements io.Writer.
func (x *liveWriter) Write(b []byte) (int, error) {
	if !x.begun {
		x.begun = true
		x.w.Header().Set("Content-Type", x.kind)
	}
	n, err := x.w.Write(b)
	return n, errors.Join(err, x.conn.Flush())
}

// live prepares an answer that goes on until the context is done: when the connection is closed, or when a request body that came in
// chunks ends. Then an end can still be sent. done is to be called when it has been.
func (s *Server) live(w http.ResponseWriter, r *http.Request, kind string) (ctx context.Context, out *liveWriter, done func(), err error) {
	conn := http.NewResponseController(w)
	if err := errors.Join(conn.EnableFullDuplex(), conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Time{})); err != nil {
		return nil, nil, nil, fmt.Errorf("prepare the connection: %w", err)
	}
	ctx, done = context.WithCancel(r.Context())
	if r.ContentLength < 0 {
		var listening sync.WaitGroup
		cancel := done
		listening.Go(func() {
			_, _ = io.Copy(io.Discard, r.Body) // whatever ends it ends the answer
			cancel()
		})
		done = func() {
			_ = conn.SetReadDeadline(longAgo)
			listening.Wait()
			cancel()
		}
	}
	return ctx, &liveWriter{w: w, conn: conn, kind: kind}, done, nil
}

// lived replies with the error of a live answer, if nothing of it has been sent.
func (s *Server) lived(ctx context.Context, out *liveWriter, err error) {
	switch {
	case err != nil && !out.begun:
		s.reply(out.w, nil, err)
	case err != nil:
		s.cfg.Log.DebugContext(ctx, "answer not sent to its end", slog.String("what", out.kind), slog.Any("error", err))
	}
}

// LiveStream is an answer that goes on until somebody ends it.
type LiveStream struct {
	body   io.ReadCloser
	stop   *io.PipeWriter
	cancel context.CancelFunc
	detach func() bool
}

// Read implements io.Reader: io.EOF is the end of a whole answer.
func (x *LiveStream) Read(b []byte) (int, error) { return x.body.Read(b) }

// Close ends it at once.
func (x *LiveStream) Close() error {
	x.detach()
	x.cancel()
	return errors.Join(x.stop.Close(), x.body.Close())
}

// live asks for an answer of a kind. When ctx is done the daemon is asked to end it in good order.
func (c *Client) live(ctx context.Context, path string, q url.Values, kind string) (*LiveStream, error) {
	var x *LiveStream
	err := c.ask(ctx, func() (err error) {
		x, err = c.liveOnce(ctx, path+"?"+q.Encode(), kind)
		return err
	})
	return x, err
}

func (c *Client) liveOnce(ctx context.Context, path, kind string) (*LiveStream, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	early := context.AfterFunc(ctx, cancel)
	defer early()
	reader, stop := io.Pipe()
	req, err := http.NewRequestWithContext(life, http.MethodPost, "http://l2tpd/"+APIVersion+"/"+path, reader)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.ContentLength = -1
	resp, err := c.http.Do(req)
	if err != nil {
		cancel()
		return nil, c.explain(err)
	}
	x := &LiveStream{body: resp.Body, stop: stop, cancel: cancel}
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), kind) {
		x.detach = context.AfterFunc(ctx, func() {
			_ = stop.Close() // the request's end is the answer's
			time.AfterFunc(lastWords, cancel)
		})
		return x, nil
	}
	defer cancel()
	return nil, refusal(resp, c.cfg.Path)
}
