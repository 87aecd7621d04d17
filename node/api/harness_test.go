package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a server on a unix socket, its client, and what it serves.
type served struct {
	t      *testing.T
	node   *fakeNode
	server *Server
	client *Client
	socket string
	stops  chan struct{} // gets one for each call of Config.Stop
	cancel context.CancelFunc
	done   chan error // what Serve returned
}

// config is a Config that listens on addr.
func config(t *testing.T, addr string) Config {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	return Config{Listen: addr, Stop: func() {}, Logger: log}
}

// serve starts a server of n and stops it when the test ends.
func serve(t *testing.T, n *fakeNode, allowHosts ...string) *served {
	t.Helper()
	s := &served{
		t: t, node: n, socket: filepath.Join(t.TempDir(), "api.sock"),
		stops: make(chan struct{}, 1), done: make(chan error, 1),
	}
	cfg := config(t, "unix:"+s.socket)
	cfg.Stop = func() { s.stops <- struct{}{} }
	cfg.AllowHosts = allowHosts
	var err error
	s.server, err = New(n, cfg)
	require.NoError(t, err)
	require.NoError(t, s.server.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- s.server.Serve(ctx) }()
	s.client, err = NewClient(s.server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() {
		s.client.Close()
		cancel()
		require.NoError(t, <-s.done)
	})
	return s
}

// answer is what a raw request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem decodes an answer that is a problem document, and checks what all of them have.
func (a answer) problem(t *testing.T) Error {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), a.body)
	var e Error
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&e), a.body)
	require.Equal(t, a.status, e.Status)
	require.Equal(t, "urn:p2pnode:error:"+e.Code, e.Type)
	require.NotEmpty(t, e.Title)
	require.NotEmpty(t, e.Detail)
	require.NotEmpty(t, e.Instance)
	require.Equal(t, a.header.Get("X-Request-Id"), e.RequestID)
	return e
}

// raw sends one request as it stands; header has name, value pairs.
func (s *served) raw(method, path, body string, header ...string) answer {
	s.t.Helper()
	return rawOn(s.t, "unix", s.socket, method, path, body, header...)
}

func rawOn(t *testing.T, network, address, method, path, body string, header ...string) answer {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := transport.RoundTrip(req) // no redirects
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// object decodes a JSON object as it stands, numbers as text.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&m), text)
	return m
}

// codeOf is the code of an *Error.
func codeOf(t *testing.T, err error) string {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Code
}

// jsonNumber is a number as object decodes it.
func jsonNumber(text string) json.Number { return json.Number(text) }
