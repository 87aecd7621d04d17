package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

func TestConfigFaultsAreAllNamed(t *testing.T) {
	err := (&Config{}).Validate()
	for _, field := range []string{"Listen", "Stop", "Logger"} {
		require.ErrorContains(t, err, field)
	}
	for addr, reason := range map[string]string{
		"":                       "neither unix: nor tcp://",
		"unix:":                  "no path",
		"/run/api.sock":          "neither",
		"tcp://127.0.0.1":        "HOST:PORT",
		"tcp://:4748":            "HOST:PORT",
		"tcp://0.0.0.0:4748":     "no tokens yet",
		"tcp://192.0.2.1:4748":   "no tokens yet",
		"tcp://[::]:4748":        "no tokens yet",
		"tcp://example.org:4748": "no tokens yet",
		"unix:/" + strings.Repeat("d", maxSocketPath): "107 bytes",
	} {
		cfg := config(t, addr)
		_, err := New(newFakeNode(), cfg)
		var wrong *ListenError
		require.ErrorAs(t, err, &wrong, addr)
		require.ErrorContains(t, err, reason)
		require.NotEmpty(t, wrong.Hint)
		require.False(t, wrong.InUse)
	}
	for _, addr := range []string{"unix:///run/x.sock", "tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://[::1]:0", "http://127.0.0.1:80/"} {
		cfg := config(t, addr)
		require.NoError(t, cfg.Validate(), addr)
	}
}

func TestSocketIsItsOwnersAlone(t *testing.T) {
	s := serve(t, newFakeNode())
	info, err := os.Lstat(s.socket)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, info.Mode())
	require.Equal(t, "unix:"+s.socket, s.server.Addr())
	s.cancel()
	require.NoError(t, <-s.done)
	s.done <- nil // for the cleanup
	_, err = os.Lstat(s.socket)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSocketWithALongPath(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("s", maxSocketPath-len(dir)-1))
	require.Len(t, path, maxSocketPath)
	server, err := New(newFakeNode(), config(t, "unix:"+path))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	require.NoError(t, server.Close())
}

func TestSecondServerIsRefused(t *testing.T) {
	s := serve(t, newFakeNode())
	second, err := New(newFakeNode(), config(t, "unix:"+s.socket))
	require.NoError(t, err)
	var refused *ListenError
	require.ErrorAs(t, second.Serve(t.Context()), &refused)
	require.True(t, refused.InUse)
	_, err = s.client.Livez(t.Context())
	require.NoError(t, err, "the first one is as it was")
}

// deadSocket leaves a socket at path that nobody listens on.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

func TestSocketOfADeadNodeIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	deadSocket(t, path)
	client, err := NewClient("unix:" + path)
	require.NoError(t, err)
	_, err = client.Livez(t.Context())
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
	require.True(t, unreachable.Stale())

	server, err := New(newFakeNode(), config(t, "unix:"+path))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	require.NoError(t, server.Close())
	_, err = client.Livez(t.Context())
	require.ErrorAs(t, err, &unreachable)
	require.False(t, unreachable.Stale())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	server, err := New(newFakeNode(), config(t, "unix:"+path))
	require.NoError(t, err)
	require.ErrorContains(t, server.Listen(), "no socket")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

func TestSocketOfASuccessorIsNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	server, err := New(newFakeNode(), config(t, "unix:"+path))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	require.NoError(t, os.Rename(path, path+".old")) // keeps its inode from being used again
	deadSocket(t, path)
	require.NoError(t, server.Close())
	require.FileExists(t, path)
}

func TestSocketsFolderIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	server, err := New(newFakeNode(), config(t, "unix:"+filepath.Join(dir, "api.sock")))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	defer server.Close()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestLoopbackTCP(t *testing.T) {
	server, err := New(newFakeNode(), config(t, "tcp://127.0.0.1:0"))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	require.NotContains(t, server.Addr(), ":0")
	client, err := NewClient(server.Addr())
	require.NoError(t, err)
	_, err = client.Set(t.Context(), "k", []byte("v"), WriteOptions{})
	require.NoError(t, err)

	second, err := New(newFakeNode(), config(t, server.Addr()))
	require.NoError(t, err)
	var refused *ListenError
	require.ErrorAs(t, second.Listen(), &refused)
	require.True(t, refused.InUse)
	require.ErrorIs(t, refused, syscall.EADDRINUSE)

	client.Close()
	cancel()
	require.NoError(t, <-done)
}

func TestForeignHostsAndOriginsAreRefused(t *testing.T) {
	s := serve(t, newFakeNode(), "Node.internal", "[fd00::1]")
	for name, c := range map[string]struct {
		header []string
		code   string // "": served
	}{
		"localhost":                       {[]string{"Host", "localhost"}, ""},
		"with a port":                     {[]string{"Host", "LOCALHOST:4748"}, ""},
		"IPv4":                            {[]string{"Host", "127.0.0.1:4748"}, ""},
		"IPv6":                            {[]string{"Host", "[::1]:4748"}, ""},
		"a host of the configuration":     {[]string{"Host", "node.internal"}, ""},
		"an address of the configuration": {[]string{"Host", "[fd00::1]:4748"}, ""},
		"its own page":                    {[]string{"Host", "localhost:4748", "Origin", "http://localhost:4748"}, ""},
		"a name that resolves to us":      {[]string{"Host", "evil.example"}, node.CodeUnknownHost},
		"localhost as part of a name":     {[]string{"Host", "localhost.evil.example"}, node.CodeUnknownHost},
		"another loopback address":        {[]string{"Host", "127.0.0.2"}, node.CodeUnknownHost},
		"another address":                 {[]string{"Host", "192.0.2.1"}, node.CodeUnknownHost},
		"another page":                    {[]string{"Origin", "https://evil.example"}, node.CodeForeignOrigin},
		"another port of this machine":    {[]string{"Host", "localhost:1", "Origin", "http://localhost:2"}, node.CodeForeignOrigin},
		"a page without an origin":        {[]string{"Origin", "null"}, node.CodeForeignOrigin},
		"a file":                          {[]string{"Origin", "file://localhost"}, node.CodeForeignOrigin},
		"a browser that tells of it":      {[]string{"Sec-Fetch-Site", "cross-site"}, node.CodeForeignOrigin},
		"a browser that types it in":      {[]string{"Sec-Fetch-Site", "none"}, ""},
		"a name far too long to repeat":   {[]string{"Host", strings.Repeat("h", 1000)}, node.CodeUnknownHost},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.raw("PUT", "/v1/state/k", "v", c.header...)
			if c.code == "" {
				require.Equal(t, http.StatusOK, a.status, a.body)
				return
			}
			require.Equal(t, c.code, a.problem(t).Code)
			require.Less(t, len(a.body), 600)
			require.Empty(t, a.header.Get("Access-Control-Allow-Origin"))
		})
	}
}

func TestUnknownPathsAndMethodsAreProblemsToo(t *testing.T) {
	s := serve(t, newFakeNode())
	for request, code := range map[string]string{
		"GET /":                   node.CodeNotFound,
		"GET /v2/status":          node.CodeNotFound,
		"GET /docs":               node.CodeNotFound,
		"GET /openapi.yaml":       node.CodeNotFound,
		"POST /v1/status":         node.CodeMethodNotAllowed,
		"DELETE /v1/state":        node.CodeNotFound, // the mux would redirect to /v1/state/
		"GET //v1/status":         node.CodeNotFound,
		"PUT /v1/digest":          node.CodeMethodNotAllowed,
		"BREW /v1/jobs":           node.CodeMethodNotAllowed,
		"GET /v1/members/nobody":  node.CodeUnknownMember,
		"GET /v1/state/none":      node.CodeNotFound,
		"GET /v1/jobs/none":       node.CodeUnknownJob,
		"GET /v1/digest?topic=no": node.CodeUnknownTopic,
	} {
		method, path, _ := strings.Cut(request, " ")
		e := s.raw(method, path, "").problem(t)
		require.Equal(t, code, e.Code, request)
		explained, known := node.Explain(code)
		require.True(t, known, code)
		require.Equal(t, explained.Status, e.Status, request)
	}
	require.NotEmpty(t, s.raw("POST", "/v1/status", "").header.Get("Allow"))
}

func TestPanicIsAnAnswerAndALine(t *testing.T) {
	n := newFakeNode()
	var log strings.Builder
	cfg := config(t, "unix:none")
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	server, err := New(n, cfg)
	require.NoError(t, err)
	handler := server.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }))
	a := inProcess(t, handler, "GET", "/v1/status")
	e := a.problem(t)
	require.Equal(t, node.CodeInternal, e.Code)
	require.NotContains(t, a.body, "boom")
	require.Contains(t, log.String(), "boom")
	require.Contains(t, log.String(), e.RequestID)
}

func TestServerStopsWithStreamsAndWaitsOpen(t *testing.T) {
	s := serve(t, newFakeNode())
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{}))
	events.one()
	waited := make(chan error, 1)
	go func() {
		_, err := s.client.Set(context.Background(), "k", nil, WriteOptions{Wait: "all", WaitTimeout: time.Minute})
		waited <- err
	}()
	<-s.node.main().waiting
	start := time.Now()
	s.cancel()
	require.NoError(t, <-s.done)
	s.done <- nil
	require.Less(t, time.Since(start), shutdownGrace, "nothing had to be cut off")
	require.Equal(t, node.CodeStopped, codeOf(t, <-waited))
	_, err := s.client.Livez(t.Context())
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
}

func TestServerCutsOffWhatDoesNotEnd(t *testing.T) {
	s := serve(t, newFakeNode())
	conn, err := net.Dial("unix", s.socket)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "PUT /v1/state/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nthe rest never comes")
	require.NoError(t, err)
	s.cancel()
	require.NoError(t, <-s.done)
	s.done <- nil
	_, err = io.ReadAll(conn) // ends
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

func TestStopIsPassedOn(t *testing.T) {
	s := serve(t, newFakeNode())
	require.NoError(t, s.client.Stop(t.Context()))
	<-s.stops
	require.Equal(t, http.StatusAccepted, s.raw("POST", "/v1/stop", "").status)
	<-s.stops
}

func TestClientTellsWhatIsWrongWithTheOtherEnd(t *testing.T) {
	_, err := NewClient("127.0.0.1:4748")
	var wrong *ListenError
	require.ErrorAs(t, err, &wrong)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	other := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error, 1)
	go func() { done <- other.Serve(l) }()
	client, err := NewClient("tcp://" + l.Addr().String())
	require.NoError(t, err)
	_, err = client.Status(t.Context())
	require.Equal(t, node.CodeInternal, codeOf(t, err))
	require.ErrorContains(t, err, "404")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Status(ctx)
	require.ErrorIs(t, err, context.Canceled)
	client.Close()
	require.NoError(t, other.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}

func TestClipKeepsRunesWhole(t *testing.T) {
	require.Equal(t, "short", clip("short"))
	for n := range 8 {
		s := clip(strings.Repeat("a", n) + strings.Repeat("é", 100))
		require.LessOrEqual(t, len(s), maxEcho)
		require.True(t, strings.HasSuffix(s, "…"))
		require.NotContains(t, fmt.Sprintf("%q", s), `\x`)
	}
}

func TestErrorSaysAllFaults(t *testing.T) {
	e := problem(node.CodeValidation, "the request is not valid", "")
	e.Errors = []Fault{{Location: "a", Message: "one"}, {Location: "b", Message: "two"}}
	require.Equal(t, "the request is not valid: a: one; b: two", e.Error())
	require.Equal(t, "Validation", e.Title)
	require.Equal(t, "Value too large", problem(node.CodeValueTooLarge, "", "").Title)
	require.True(t, errors.As(error(e), new(*Error)))
}
