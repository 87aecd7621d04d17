package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/node"
)

type contextKey int

const (
	uidKey contextKey = iota
	requestIDKey
)

// connContext notes which user a connection belongs to.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if uid, ok := peerUID(conn); ok {
		return context.WithValue(ctx, uidKey, uid)
	}
	return ctx
}

// requestID is the id of the request that ctx belongs to.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// guard wraps next in what holds for every request: it is counted and logged, a panic becomes an answer, hosts and
// origins that are not ours are refused, and what next answers without a body of its own becomes a problem document.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		defer s.active.Done()
		start := time.Now()
		id := rand.Text()
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey, id))
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		answer := &answerWriter{ResponseWriter: w, request: r}
		defer func() {
			if fault := recover(); fault != nil {
				s.panicked(answer, r, fault)
			}
			answer.finish()
			s.metrics.observe(r, answer.status, time.Since(start))
			s.logRequest(r, answer.status, time.Since(start))
		}()
		if refusal := s.refuse(r); refusal != nil {
			writeProblem(answer, r, refusal)
			return
		}
		keepKey(r)
		next.ServeHTTP(answer, r)
	})
}

// refuse gives the reason why r is not served: it names a host we are not, so that a page may have been led here by
// its DNS, or it comes from a page that is not ours.
func (s *Server) refuse(r *http.Request) *Error {
	host := (&url.URL{Host: r.Host}).Hostname()
	if !s.allowedHost(strings.ToLower(host)) {
		return problem(node.CodeUnknownHost, fmt.Sprintf("this node is not %q", clip(host)),
			"use localhost as its name")
	}
	origin := r.Header.Get("Origin")
	foreign := r.Header.Get("Sec-Fetch-Site") == "cross-site"
	if origin != "" {
		u, err := url.Parse(origin)
		foreign = foreign || err != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(u.Host, r.Host)
	}
	if foreign {
		return problem(node.CodeForeignOrigin, fmt.Sprintf("pages of %q may not use this API", clip(origin)), "")
	}
	return nil
}

// keepKey makes r's path one that http.ServeMux does not clean: keys may hold empty, "." and ".." segments.
func keepKey(r *http.Request) {
	for _, prefix := range []string{stateKeys, proofKeys} {
		if key, ok := strings.CutPrefix(r.URL.Path, prefix); ok && key != "" {
			r.URL.RawPath = keyPath(prefix, key)
		}
	}
}

func (s *Server) panicked(w *answerWriter, r *http.Request, fault any) {
	if fault == http.ErrAbortHandler || r.Context().Err() != nil {
		return // the client is gone: huma panics when it cannot write
	}
	s.cfg.Logger.Error("api request panicked", "method", r.Method, "path", clip(r.URL.Path),
		"request_id", requestID(r.Context()), "panic", fault, "stack", string(debug.Stack()))
	if w.status == 0 {
		writeProblem(w, r, problem(node.CodeInternal, "the node could not answer this request",
			"its log says why; look for request_id"))
	}
}

func (s *Server) logRequest(r *http.Request, status int, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", clip(r.URL.Path)), slog.Int("status", status),
		slog.Duration("took", took), slog.String("request_id", requestID(r.Context())),
	}
	if uid, ok := r.Context().Value(uidKey).(uint32); ok {
		attrs = append(attrs, slog.Uint64("uid", uint64(uid)))
	}
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "api request", attrs...)
}

// writeProblem answers with e.
func writeProblem(w http.ResponseWriter, r *http.Request, e *Error) {
	complete(e, r)
	w.Header().Set("Content-Type", e.ContentType(""))
	w.WriteHeader(e.Status)
	if err := json.NewEncoder(w).Encode(e); err != nil {
		return // the client is gone
	}
}

// complete fills in what an Error says about its request.
func complete(e *Error, r *http.Request) {
	e.Instance = clip(r.URL.Path)
	e.RequestID = requestID(r.Context())
}

// answerWriter notes the status, and replaces what http.ServeMux answers of its own: plain text for a path or method it
// does not know, a redirect to a path that it likes better. Such an answer is held back, and finish sends a problem
// document.
type answerWriter struct {
	http.ResponseWriter
	request *http.Request
	status  int
	held    bool
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	plain := strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain")
	w.held = plain && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) ||
		status >= http.StatusMultipleChoices && status < http.StatusBadRequest
	if !w.held {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements io.Writer.
func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.held {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish sends the problem document in place of an answer that was held back.
func (w *answerWriter) finish() {
	if !w.held {
		return
	}
	e := problem(node.CodeNotFound, fmt.Sprintf("the API has no path %s", clip(w.request.URL.Path)), "see /openapi.json")
	if w.status == http.StatusMethodNotAllowed {
		e = problem(node.CodeMethodNotAllowed,
			fmt.Sprintf("%s does not take %s", clip(w.request.URL.Path), clip(w.request.Method)), "see /openapi.json")
	}
	w.Header().Del("Location")
	w.status = e.Status
	writeProblem(w.ResponseWriter, w.request, e)
}

var _ interface{ Unwrap() http.ResponseWriter } = (*answerWriter)(nil)
