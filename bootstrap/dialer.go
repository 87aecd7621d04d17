package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// Config says whom a Dialer keeps connected and how patiently.
type Config struct {
	// Addrs are the bootstrap peers, as Parse returns them. Entries of one peer are merged; the host's own is left out.
	// Default none: the node is the first of its network.
	Addrs []peer.AddrInfo

	// MinBackoff is the shortest pause between two attempts at a peer. Default 1 s, range 10 ms to MaxBackoff. Raising it
	// spares a peer that is down and delays the return to one that restarts.
	MinBackoff time.Duration

	// MaxBackoff bounds the pause, which doubles with each attempt in vain. Default 30 s, range MinBackoff to 1 h. Raising it
	// delays the join when a peer comes up late.
	MaxBackoff time.Duration

	// Enough says whether the node has neighbours enough without more bootstrap peers. One whose connection ends meanwhile is
	// spared: it is dialled again only after a longer pause, or when there are no longer enough. So a network of more nodes than
	// a bootstrap peer keeps connections to does not keep coming back to it. It is called at any time, by several goroutines.
	// nil: there are never enough.
	Enough func() bool

	// SpareBackoff bounds that pause, which begins at MaxBackoff and doubles with each connection that is shorter than the
	// bound. Default 10 min, range MaxBackoff to 24 h. Raising it saves a full bootstrap peer dials; lowering it joins networks
	// sooner that have no other peer in common.
	SpareBackoff time.Duration

	// AttemptTimeout bounds one attempt at a peer: name look-ups and all its addresses. Default 15 s, range 1 s to 5 min. The
	// transports give an address 5 s and the swarm starts slower ones late, so less than 7 s hides what they said.
	AttemptTimeout time.Duration

	// Resolver looks up dnsaddr and dns names. nil: go-libp2p's, which asks the system's name server.
	Resolver network.MultiaddrDNSResolver

	// Logger gets what an operator may act on. nil: nothing is logged.
	Logger *slog.Logger
}

// DefaultConfig returns the default of every field; start from it.
func DefaultConfig() Config {
	return Config{
		MinBackoff:     time.Second,
		MaxBackoff:     30 * time.Second,
		SpareBackoff:   10 * time.Minute,
		AttemptTimeout: 15 * time.Second,
	}
}

// Validate reports every field out of range.
func (c Config) Validate() error {
	var faults []error
	check := func(field string, value, least, most time.Duration) {
		if value < least || value > most {
			faults = append(faults, fmt.Errorf("bootstrap: %s %v is out of range %v to %v", field, value, least, most))
		}
	}
	check("MaxBackoff", c.MaxBackoff, 10*time.Millisecond, time.Hour)
	check("MinBackoff", c.MinBackoff, 10*time.Millisecond, c.MaxBackoff)
	check("SpareBackoff", c.SpareBackoff, c.MaxBackoff, 24*time.Hour)
	check("AttemptTimeout", c.AttemptTimeout, time.Second, 5*time.Minute)
	for _, info := range c.Addrs {
		if err := info.ID.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("bootstrap: Addrs: %w", err))
		}
	}
	return errors.Join(faults...)
}

const (
	// steady is how long a connection must last for the back-off to start anew: a peer that accepts and closes at once, as
	// a full one does, is not dialled in a tight loop. A guess.
	steady = 10 * time.Second

	// maxResolved bounds the addresses taken from one name, and dnsaddrDepth how far its records may point to others:
	// the swarm's own figure for depth; a bootstrap peer has a handful of addresses.
	maxResolved  = 16
	dnsaddrDepth = 4

	// protectTag keeps the connection manager from trimming connections to bootstrap peers.
	protectTag = "bootstrap"
)

// Dialer keeps a connection to every bootstrap peer. Its methods may be called concurrently.
//
// The host must be built with libp2p.UDPBlackHoleSuccessCounter(nil) and libp2p.IPv6BlackHoleSuccessCounter(nil): with them
// on, the swarm refuses most dials of public addresses after a hundred in vain, so a long outage would outlast itself.
type Dialer struct {
	host    host.Host
	cfg     Config
	log     *slog.Logger
	targets []*target
	byID    map[peer.ID]*target
	dials   [results]atomic.Uint64
	joined  chan struct{}
	once    sync.Once // closes joined
}

// target is one bootstrap peer. Its goroutine alone writes the fields below mu.
type target struct {
	info    peer.AddrInfo
	changed chan struct{} // holds one: connectedness may have changed

	mu        sync.Mutex
	connected bool
	lost      time.Time         // since when it is not connected
	failures  map[string]string // multiaddr with /p2p/ -> words
	retry     time.Time         // of the next attempt; zero when none is due
	spared    bool              // it is left alone until then, for there are enough neighbours
}

func (t *target) setRetry(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retry = at
}

// New returns a Dialer over h. It starts nothing; Run does. The error is that of cfg.Validate.
func New(h host.Host, cfg Config) (*Dialer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Resolver == nil {
		cfg.Resolver = swarm.ResolverFromMaDNS{Resolver: madns.DefaultResolver}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Dialer{host: h, cfg: cfg, log: cfg.Logger, byID: make(map[peer.ID]*target), joined: make(chan struct{})}
	for _, info := range merge(cfg.Addrs) {
		if info.ID == h.ID() {
			d.log.Info("bootstrap address skipped: it is this node's own", "addrs", info.Addrs)
			continue
		}
		t := &target{info: info, changed: make(chan struct{}, 1), lost: time.Now()}
		d.targets = append(d.targets, t)
		d.byID[info.ID] = t
	}
	return d, nil
}

// Run dials every bootstrap peer at once and goes on until ctx is done: it redials whatever is not connected, for ever, but for
// what is spared. It returns nil after its last goroutine has ended. Call it once.
func (d *Dialer) Run(ctx context.Context) error {
	sub, err := d.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.Name("bootstrap"), eventbus.BufSize(64))
	if err != nil {
		return fmt.Errorf("bootstrap: subscribe to connections: %w", err)
	}
	defer sub.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, t := range d.targets {
		d.host.ConnManager().Protect(t.info.ID, protectTag)
		wg.Go(func() {
			defer d.host.ConnManager().Unprotect(t.info.ID, protectTag)
			d.keep(ctx, t)
		})
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-sub.Out():
			if !open {
				return nil
			}
			if t := d.byID[e.(event.EvtPeerConnectednessChanged).Peer]; t != nil {
				select {
				case t.changed <- struct{}{}:
				default: // it looks anyway
				}
			}
		}
	}
}

// keep has t connected until ctx is done.
func (d *Dialer) keep(ctx context.Context, t *target) {
	tries, ends := 0, 0
	for {
		lost := false
		if d.connected(t) || d.attempt(ctx, t) {
			since := time.Now()
			d.setConnected(t)
			d.awaitLoss(ctx, t)
			held := time.Since(since)
			if held >= steady {
				tries = 0
			}
			if held >= d.cfg.SpareBackoff {
				ends = 0
			}
			lost = true
		}
		if ctx.Err() != nil {
			return
		}
		tries++
		pause := d.pause(tries)
		t.setRetry(time.Now().Add(pause))
		d.awaitConnection(ctx, t, pause)
		if lost {
			ends++
			d.spare(ctx, t, ends)
		}
		if ctx.Err() != nil {
			return
		}
		t.setRetry(time.Time{})
	}
}

// pause is how long to wait after the tries-th attempt in vain: MinBackoff doubled tries times, at most MaxBackoff.
func (d *Dialer) pause(tries int) time.Duration {
	return max(d.cfg.MinBackoff, grown(d.cfg.MinBackoff, tries, d.cfg.MaxBackoff))
}

// grown is first doubled times times, at most most, and of that a random share between a half and the whole, so that a network
// does not come back in step.
func grown(first time.Duration, times int, most time.Duration) time.Duration {
	if shift := min(times, 16); first<<shift < most {
		most = first << shift
	}
	return most/2 + rand.N(most/2+1)
}

func (d *Dialer) connected(t *target) bool {
	return d.host.Network().Connectedness(t.info.ID) != network.NotConnected
}

// awaitLoss returns when t is no longer connected, or ctx is done.
func (d *Dialer) awaitLoss(ctx context.Context, t *target) {
	for d.connected(t) {
		select {
		case <-ctx.Done():
			return
		case <-t.changed:
		}
	}
	t.mu.Lock()
	t.connected, t.lost = false, time.Now()
	t.mu.Unlock()
	d.log.Info("bootstrap peer lost", "peer", t.info.ID)
}

// awaitConnection returns after pause, or earlier when t is connected without our doing, or ctx is done.
func (d *Dialer) awaitConnection(ctx context.Context, t *target, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for !d.connected(t) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-t.changed:
		}
	}
}

func (d *Dialer) setConnected(t *target) {
	t.mu.Lock()
	t.connected, t.failures, t.retry = true, nil, time.Time{}
	t.mu.Unlock()
	d.once.Do(func() { close(d.joined) })
	d.log.Info("bootstrap peer connected", "peer", t.info.ID)
}

// attempt dials t once, all its addresses, and reports whether it is connected.
func (d *Dialer) attempt(ctx context.Context, t *target) bool {
	started := time.Now()
	dialCtx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, protectTag), d.cfg.AttemptTimeout)
	defer cancel()

	addrs := d.resolve(dialCtx, t)
	var err error = errNoRecords
	if dialable := addrs.dialable(); len(dialable) > 0 {
		if s, ok := d.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
			s.Backoff().Clear(t.info.ID) // the pause here is the one that counts
		}
		err = d.host.Connect(dialCtx, peer.AddrInfo{ID: t.info.ID, Addrs: dialable})
	}
	if ctx.Err() != nil {
		return false
	}
	if err == nil {
		d.dials[resultOK].Add(1)
		return true
	}
	worst, words := addrs.explain(err, time.Since(started))
	t.mu.Lock()
	news := !maps.Equal(t.failures, words)
	t.failures = words
	t.mu.Unlock()
	d.dials[worst].Add(1)
	level := slog.LevelDebug
	if news {
		level = slog.LevelWarn
	}
	d.log.Log(ctx, level, "bootstrap peer can't be reached, trying again", "peer", t.info.ID, "failures", words)
	return false
}

// State is how the bootstrap peers are at one moment.
type State struct {
	Wanted    int               // bootstrap peers, this node itself not counted
	Connected int               // of these
	Spared    int               // not connected and left alone for now, for there are enough neighbours
	Failures  map[string]string // multiaddr, as given, of peers not connected -> why the last attempt failed
	Retry     time.Time         // of the earliest next attempt; zero when all are connected or being dialled
	Alone     time.Time         // since when none is connected, New being the start; zero when one is, or none is wanted
}

// State returns how the bootstrap peers are now.
func (d *Dialer) State() State {
	s := State{Wanted: len(d.targets), Failures: make(map[string]string)}
	for _, t := range d.targets {
		t.mu.Lock()
		if t.connected {
			s.Connected++
		}
		if t.spared {
			s.Spared++
		}
		if t.lost.After(s.Alone) {
			s.Alone = t.lost // the last one to go
		}
		maps.Copy(s.Failures, t.failures)
		if !t.retry.IsZero() && (s.Retry.IsZero() || t.retry.Before(s.Retry)) {
			s.Retry = t.retry
		}
		t.mu.Unlock()
	}
	if s.Connected > 0 {
		s.Alone = time.Time{}
	}
	return s
}

// Joined is closed when the first bootstrap peer is connected; never when there is none.
func (d *Dialer) Joined() <-chan struct{} { return d.joined }

// Counters counts the attempts at bootstrap peers by how they ended; of several addresses the most telling failure counts.
type Counters struct {
	OK         uint64
	Refused    uint64 // the host is up, nothing listens there
	Timeout    uint64 // nothing came back
	IDMismatch uint64 // another peer is there
	Security   uint64 // the secure handshake did not work
	DNS        uint64 // a name was not found
	Other      uint64
}

// Counters returns the counts since New.
func (d *Dialer) Counters() Counters {
	return Counters{
		OK:         d.dials[resultOK].Load(),
		Refused:    d.dials[resultRefused].Load(),
		Timeout:    d.dials[resultTimeout].Load(),
		IDMismatch: d.dials[resultIDMismatch].Load(),
		Security:   d.dials[resultSecurity].Load(),
		DNS:        d.dials[resultDNS].Load(),
		Other:      d.dials[resultOther].Load(),
	}
}
