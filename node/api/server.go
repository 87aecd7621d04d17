package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// shutdownGrace is how long requests under way may take once the server stops. A guess: local requests take
	// milliseconds, and those that wait are told to end.
	shutdownGrace = 2 * time.Second
	// headerTimeout is how long a client may take to send the head of a request.
	headerTimeout = 5 * time.Second
	// idleTimeout closes connections that nobody uses.
	idleTimeout = 2 * time.Minute
)

// Config says how the API is served.
type Config struct {
	// Listen is unix:PATH or tcp://HOST:PORT with a loopback HOST; port 0 picks a free one. No default.
	Listen string
	// AllowHosts are host names, without port, that requests may name in their Host header beside localhost,
	// 127.0.0.1 and [::1]. Each one more is a name that a web page could be made to use.
	AllowHosts []string
	// Stop is called for POST /v1/stop. It asks the node to leave and returns at once. Required.
	Stop func()
	// Logger gets one debug line a request, and what goes wrong. Required.
	Logger *slog.Logger
}

// Validate reports every wrong field.
func (c *Config) Validate() error {
	var faults []error
	if e, err := parseListen(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("field Listen: %w", err))
	} else if !e.loopback() {
		faults = append(faults, fmt.Errorf("field Listen: %w", &ListenError{
			Addr:   c.Listen,
			Detail: "other machines could reach it, and the API has no tokens yet",
			Hint:   "use unix:PATH or tcp://127.0.0.1:PORT, and ssh to reach it from elsewhere",
		}))
	}
	if c.Stop == nil {
		faults = append(faults, errors.New("field Stop is nil"))
	}
	if c.Logger == nil {
		faults = append(faults, errors.New("field Logger is nil"))
	}
	return errors.Join(faults...)
}

// Server serves the API of one node.
type Server struct {
	node      Node
	cfg       Config
	listen    endpoint
	handler   http.Handler
	metrics   *metrics
	submitted submissions

	closing chan struct{}  // closed when the server stops: streams end, waits give up
	active  sync.WaitGroup // requests under way

	mu       sync.Mutex // guards listener
	listener net.Listener
}

// New makes a server. It starts nothing; Listen and Serve do.
func New(n Node, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("api config: %w", err)
	}
	listen, err := parseListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	cfg.AllowHosts = slices.Clone(cfg.AllowHosts)
	for i, host := range cfg.AllowHosts {
		cfg.AllowHosts[i] = strings.ToLower(strings.Trim(host, "[]"))
	}
	s := &Server{
		node:    n,
		cfg:     cfg,
		listen:  listen,
		metrics: newMetrics(n),
		closing: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.handler(cfg.Logger))
	api := humago.New(mux, s.humaConfig())
	s.register(api)
	if err := serveOpenAPI(mux, api); err != nil {
		return nil, err
	}
	s.handler = s.guard(mux)
	return s, nil
}

// Listen opens the address, so that a fault shows before anything else starts. Serve calls it when nobody has.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := s.listen.open(s.cfg.Listen)
	if err != nil {
		return err
	}
	s.listener = l
	return nil
}

// Addr is where the server listens, in the form NewClient takes; before Listen what the config says.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil || s.listen.network == "unix" {
		return s.cfg.Listen
	}
	return "tcp://" + s.listener.Addr().String()
}

// Serve answers requests until ctx ends, then lets those under way finish for at most 2 s, ends the streams, closes
// the listener and returns nil. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       connContext,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()

	var err error
	select {
	case err = <-served: // the listener failed
	case <-ctx.Done():
	}
	close(s.closing)
	grace, stop := context.WithTimeout(requests, shutdownGrace)
	defer stop()
	if shutdownErr := server.Shutdown(grace); shutdownErr != nil {
		cancel()
		server.Close()
	}
	s.active.Wait()
	if err == nil {
		err = <-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("api on %s: %w", s.cfg.Listen, err)
}

// Close closes the listener of a server that was never served. Serve closes it otherwise.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Close()
}

// humaConfig is huma's configuration: JSON only, no docs page (it loads scripts from elsewhere), no $schema links.
func (s *Server) humaConfig() huma.Config {
	cfg := huma.DefaultConfig("p2pnode", s.node.Info().Version)
	cfg.DocsPath = ""
	cfg.SchemasPath = ""
	cfg.OpenAPIPath = "" // huma builds the document in a handler, unguarded; see serveOpenAPI
	cfg.CreateHooks = nil
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{s.transformError}
	return cfg
}

// allowedHost reports whether a request may name host, which is in lower case and has neither port nor brackets.
func (s *Server) allowedHost(host string) bool {
	if host == "localhost" || slices.Contains(s.cfg.AllowHosts, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip == netip.IPv6Loopback() || ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}
