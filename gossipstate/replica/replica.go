package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// closeTimeout bounds Close, whatever peers do.
const closeTimeout = 5 * time.Second

// Replica is one node's part in the topics of a network. Make one with New, start it with Run; its methods may be called
// concurrently, and wait for Run to begin.
type Replica struct {
	cfg      Config
	host     host.Host
	pubsub   *pubsub.PubSub
	self     gossipstate.ID
	sign     wire.Signer
	log      *slog.Logger
	counters counters
	topics   []string // members first
	follows  bool     // it signs nothing: the replica of a Follower

	writes   map[string]*ownWrites // by topic
	commands chan func(*table)
	ready    chan struct{} // closed when this node has published itself

	begun    atomic.Bool // by Run, or by a Close that came first
	stopOnce sync.Once
	stop     chan struct{} // closed by Close: ends Run
	idle     chan struct{} // closed when the table's goroutine takes no more commands
	stopped  chan struct{} // closed when no goroutine of Run is left
}

// New prepares a replica of cfg's topics on h and ps, which stay the caller's. It starts nothing. The host's identity must be
// an Ed25519 key whose private part is in the peerstore.
func New(h host.Host, ps *pubsub.PubSub, cfg Config) (*Replica, error) {
	r, err := newReplica(h, ps, cfg)
	if err != nil {
		return nil, err
	}
	if r.sign, err = signer(h); err != nil {
		return nil, err
	}
	return r, nil
}

func newReplica(h host.Host, ps *pubsub.PubSub, cfg Config) (*Replica, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	self, err := OwnerOf(h.ID())
	if err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	writes := map[string]*ownWrites{}
	for _, topic := range cfg.Topics {
		writes[topic] = &ownWrites{}
	}
	return &Replica{
		cfg: cfg, host: h, pubsub: ps, self: self, log: log,
		topics:   append([]string{wire.Members}, cfg.Topics...),
		writes:   writes,
		commands: make(chan func(*table), 256),
		ready:    make(chan struct{}),
		stop:     make(chan struct{}),
		idle:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}, nil
}

func signer(h host.Host) (wire.Signer, error) {
	key := h.Peerstore().PrivKey(h.ID())
	if key == nil {
		return nil, errors.New("the host's private key is not in its peerstore")
	}
	std, err := crypto.PrivKeyToStdKey(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	private, ok := std.(*ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("host key: %T, but only Ed25519 identities can own state", std)
	}
	return func(message []byte) []byte { return ed25519.Sign(*private, message) }, nil
}

// Ready is closed when the node has published itself and its topics can be written; it stays open when that fails.
func (r *Replica) Ready() <-chan struct{} { return r.ready }

// Synced reports whether a sync with a peer has ended well in this process. Waits for Run to begin.
func (r *Replica) Synced(ctx context.Context) (synced bool, err error) {
	err = r.do(ctx, func(t *table) { synced = t.synced })
	return synced, err
}

// Counts are the replica's counters, sorted by name and label.
func (r *Replica) Counts() []Count { return r.counters.snapshot() }

// Close ends Run and waits for it, at most 5 s. It may be called more than once and from anywhere.
func (r *Replica) Close() error {
	r.stopOnce.Do(func() { close(r.stop) })
	if !r.begun.Swap(true) { // Run was never called
		close(r.idle)
		close(r.stopped)
	}
	select {
	case <-r.stopped:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("replica of network %q did not stop within %s", r.cfg.Network, closeTimeout)
	}
}

// Run takes part until ctx ends or Close is called, and returns after its last goroutine has. It can run once: ErrStopped
// when it did, or when Close came before it.
func (r *Replica) Run(ctx context.Context) error {
	if r.begun.Swap(true) {
		return ErrStopped
	}
	defer close(r.stopped)
	return r.run(ctx)
}

func (r *Replica) run(ctx context.Context) error {
	t, err := newTable(r)
	if err != nil {
		close(r.idle)
		return err
	}
	defer t.leaveTopics()
	defer t.closeDisk()
	tasks := newTasks(ctx)
	defer tasks.end()
	defer close(r.idle) // first: what waits for the table must not keep tasks from ending
	t.tasks = tasks
	if err := t.join(); err != nil {
		if ctx.Err() != nil {
			return nil // pubsub ended with it
		}
		return err
	}
	events, err := r.subscribeHost()
	if err != nil {
		return err
	}
	r.host.SetStreamHandler(r.syncProtocol(), tasks.handler(r.serveSync))
	defer r.host.RemoveStreamHandler(r.syncProtocol())
	if !r.follows {
		r.host.SetStreamHandler(r.beatProtocol(), tasks.handler(r.serveBeats))
		defer r.host.RemoveStreamHandler(r.beatProtocol())
	}
	tasks.spawn(func(ctx context.Context) { r.followHost(ctx, events) })
	if r.cfg.Store != nil {
		tasks.spawn(t.persist)
	}
	introduced := make(chan error, 1)
	tasks.spawn(func(ctx context.Context) { introduced <- r.introduce(ctx) })
	return t.loop(ctx, introduced)
}

// do runs f in the goroutine that owns the table and waits for it. After an error f has not run and will not.
func (r *Replica) do(ctx context.Context, f func(*table)) error {
	var claimed atomic.Bool // by the table, or by ctx: then f does not run
	done := make(chan struct{})
	command := func(t *table) {
		if !claimed.Swap(true) {
			f(t)
			close(done)
		}
	}
	select {
	case r.commands <- command:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.idle:
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-r.idle:
	case <-ctx.Done():
		if !claimed.Swap(true) {
			return ctx.Err()
		}
	}
	// f runs, has run or never will: it writes to what its caller reads.
	select {
	case <-done:
	case <-r.idle:
	}
	select {
	case <-done:
		return nil
	default:
		return ErrStopped
	}
}

// cancelWhenIdle cancels what a caller began when Run ends before it: Close leaves nothing on the host, whoever calls.
func (r *Replica) cancelWhenIdle(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-r.idle:
		cancel()
	case <-ctx.Done():
	}
}

// try is do for what must not wait: false when the queue is full.
func (r *Replica) try(f func(*table)) bool {
	done := make(chan struct{})
	select {
	case r.commands <- func(t *table) { f(t); close(done) }:
	default:
		return false
	}
	select {
	case <-done:
		return true
	case <-r.idle:
		return false
	}
}

func (r *Replica) syncProtocol() protocol.ID { return SyncProtocol(r.cfg.Network) }

func (r *Replica) beatProtocol() protocol.ID {
	return protocol.ID("/p2pnode/" + r.cfg.Network + "/beat/1.0.0")
}

// GossipTopic is the name of the gossipsub topic that carries the rumors of a state topic.
func GossipTopic(network, topic string) string {
	return "/p2pnode/" + network + "/state/" + topic + "/1"
}

// SyncProtocol is the protocol ID of the sync stream of a network: a peer that speaks it is on that network.
func SyncProtocol(network string) protocol.ID {
	return protocol.ID("/p2pnode/" + network + "/sync/1.0.0")
}

// introduce brings this node into the network: one sync first, a look whether its identity is in use, then its first
// publication. For a follower the sync is all.
func (r *Replica) introduce(ctx context.Context) error {
	if r.follows {
		r.awaitFirstSync(ctx)
		close(r.ready)
		return nil
	}
	if r.cfg.FirstSync > 0 {
		r.awaitFirstSync(ctx)
		if err := r.listenForTwin(ctx); err != nil {
			return err
		}
	}
	var err error
	if stopped := r.do(ctx, func(t *table) { err = t.publishSelf() }); stopped != nil {
		return nil // Run is ending
	}
	if err != nil {
		return fmt.Errorf("publishing this node: %w", err)
	}
	close(r.ready)
	return nil
}

func (r *Replica) awaitFirstSync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.FirstSync)
	defer cancel()
	var synced chan struct{}
	if r.do(ctx, func(t *table) { synced = t.firstSync }) != nil {
		return
	}
	select {
	case <-synced:
	case <-ctx.Done():
	}
}
