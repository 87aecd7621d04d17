package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/discovery"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/nonce"
	"github.com/p2pnode/p2pnode/nonce/worker"
)

// storeFile is the name of the state store in the data directory.
const storeFile = "state.db"

// firstSync is how long a node with bootstrap or remembered peers waits for one sync before it publishes.
const firstSync = 5 * time.Second

// Options are what a node is given beside its configuration.
type Options struct {
	Logger  *slog.Logger // nil: none
	Version string       // of the program, told to others
	API     string       // where its API will answer, written into the lock file
}

// Node is one node. Make it with New and run it with Run; its other methods may be called concurrently, at any time between.
type Node struct {
	cfg     Config
	log     *slog.Logger
	info    Info
	host    host.Host
	gater   connmgr.ConnectionGater // of the host; nil: none
	store   *store.Store
	damaged *store.CorruptError // what the store said when it was opened
	release func() error        // of the data directory

	interfaces *interfaces
	listening  atomic.Pointer[[]multiaddr.Multiaddr] // of the host; nil until it is made

	refused   refusals
	tracer    *meshTracer
	stray     *strays
	replica   *replica.Replica
	bootstrap *bootstrap.Dialer
	discovery *discovery.Discovery
	phis      phis

	remembered []discovery.Remembered // of earlier runs
	pools      map[string]*worker.Pool
	workers    atomic.Pointer[[]nonce.Worker]
	changed    chan struct{} // holds a token while members have changed: see membersChanged

	pubsub    *pubsub.PubSub
	endPubsub context.CancelFunc
	ready     chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// New takes the data directory, makes or reads the identity, opens the store and listens. The node then takes part in
// nothing yet: call Run, or Close. Errors that a person can mend are *Error or *ConfigError.
func New(cfg Config, opts Options) (n *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n = &Node{
		cfg: cfg, log: opts.Logger, ready: make(chan struct{}), changed: make(chan struct{}, 1), pools: map[string]*worker.Pool{},
		interfaces: newInterfaces(),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.info = Info{
		Name: cfg.Node.Name, Network: cfg.Network.Name, Profile: cfg.Profile, Topics: cfg.Network.Topics,
		Version: opts.Version, Home: cfg.DataDir, Started: time.Now(), MaxClockSkew: cfg.Membership.MaxClockSkew,
	}
	if n.info.Name == "" {
		n.info.Name = hostName()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.release, err = LockDir(cfg.DataDir, LockInfo{PID: os.Getpid(), Started: n.info.Started, API: opts.API}); err != nil {
		return n, err
	}
	key, err := n.identity()
	if err != nil {
		return n, err
	}
	if err = n.openStore(); err != nil {
		return n, err
	}
	if err = n.makeHost(key); err != nil {
		return n, err
	}
	return n, n.join()
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "node"
	}
	return name[:min(len(name), 64)]
}

// identity reads the key of the data directory, or makes it on the first run.
func (n *Node) identity() (crypto.PrivKey, error) {
	file := n.cfg.IdentityPath()
	key, err := LoadIdentity(file)
	if errors.Is(err, fs.ErrNotExist) {
		n.info.NewKey = true
		key, err = MakeIdentity(file)
	}
	return key, err
}

func (n *Node) openStore() error {
	path := filepath.Join(n.cfg.DataDir, storeFile)
	var err error
	if n.store, n.damaged, err = store.Open(path, time.Now()); err != nil {
		return storeError(path, err)
	}
	if n.damaged != nil {
		n.log.Error("the state store is damaged", "error", n.damaged)
	}
	return nil
}

func storeError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return NewError(CodeDiskFull, err, fmt.Sprintf("no space left for %s", path), "make room, then start again: what is stored stays valid")
	default:
		return NewError(CodeStoreUnreadable, err, fmt.Sprintf("cannot open %s: %v", path, err), "check that this user may read and write it, and that this version made it")
	}
}

// join makes everything that runs on the host.
func (n *Node) join() error {
	var err error
	if err = n.makePubsub(); err != nil {
		return err
	}
	n.remembered = n.readPeers()
	cfg := replica.DefaultConfig(n.cfg.Network.Name)
	cfg.Topics = n.cfg.Network.Topics
	cfg.AntiEntropy = n.cfg.Gossip.AntiEntropy
	cfg.TombstoneTTL = n.cfg.State.TombstoneTTL
	cfg.History = n.cfg.State.History
	cfg.Description = n.description()
	cfg.Store = n.store
	cfg.Gater = n.gater
	cfg.Logger = n.log
	cfg.Liveness.BeatInterval = n.cfg.Membership.BeatInterval
	cfg.Liveness.PhiSuspect = n.cfg.Membership.PhiSuspect
	cfg.Liveness.SuspicionMin = n.cfg.Membership.SuspicionMin
	cfg.Liveness.ForgetAfter = n.cfg.Membership.ForgetAfter
	cfg.Liveness.Trusting = n.cfg.Profile != ProfileWAN
	if n.cfg.Membership.Quiet {
		quieten(&cfg)
	}
	cfg.FirstSync = 0
	if len(n.cfg.Network.Bootstrap)+len(n.remembered) > 0 {
		cfg.FirstSync = firstSync
	}
	if n.replica, err = replica.New(n.host, n.pubsub, cfg); err != nil {
		return err
	}
	if err = n.makeDiscovery(); err != nil {
		return err
	}
	if err = n.makeBootstrap(); err != nil {
		return err
	}
	return n.makePools()
}

func (n *Node) makeBootstrap() error {
	addrs, err := bootstrap.ParseAll(n.cfg.Network.Bootstrap)
	if err != nil {
		return err
	}
	cfg := bootstrap.DefaultConfig()
	cfg.Addrs, cfg.Logger = addrs, n.log
	cfg.Enough = n.discovery.Enough
	n.bootstrap, err = bootstrap.New(n.host, cfg)
	return err
}

func (n *Node) makeDiscovery() error {
	cfg := discovery.DefaultConfig()
	cfg.Network, cfg.Profile, cfg.MDNS = n.cfg.Network.Name, discovery.Profile(n.cfg.Profile), n.cfg.Network.MDNS
	cfg.Logger = n.log
	if n.cfg.Membership.Quiet {
		cfg.AdvertiseInterval, cfg.LookupInterval, cfg.ExchangeInterval = quietAdvertise, quietLookup, quietExchange
	}
	var err error
	if n.discovery, err = discovery.New(n.host, cfg); err != nil {
		return err
	}
	n.discovery.Remember(n.remembered)
	return nil
}

// Run takes part in the network until ctx ends; then it releases its leases, tells the others that it leaves, and closes
// everything. It returns nil after an ordinary end, when no goroutine of the node is left.
func (n *Node) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx)) // leaving needs the parts for a little longer
	defer cancel()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error { return replicaError(n.replica.Run(inner)) })
	g.Go(func() error { return n.bootstrap.Run(inner) })
	g.Go(func() error { return n.discovery.Run(inner) })
	g.Go(func() error { n.keepPeers(inner); return nil })
	for _, pool := range n.pools {
		g.Go(func() error { return pool.Run(inner) })
	}
	g.Go(func() error { return ended(n.describe(inner)) })
	g.Go(func() error { return ended(n.followMembers(inner)) })
	g.Go(func() error { return ended(n.samplePhi(inner)) })
	g.Go(func() error { return ended(n.followRecords(inner)) })
	g.Go(func() error { return n.stray.watch(inner) })
	g.Go(func() error {
		select {
		case <-n.replica.Ready():
			close(n.ready)
		case <-inner.Done():
		}
		return nil
	})
	select {
	case <-ctx.Done():
		n.leave(inner)
	case <-inner.Done(): // a part failed
	}
	cancel()
	err := g.Wait()
	n.writePeers(context.Background()) // what discovery left behind
	return errors.Join(err, n.Close())
}

// replicaError gives a start that was refused for the sake of another node its code.
func replicaError(err error) error {
	if errors.Is(err, replica.ErrIdentityConflict) {
		return NewError(CodeIdentityConflict, err, "another node runs with this node's key; this one does not start",
			"stop that one first; or, if this is a copy, make a new key here with 'p2pnode init --force'")
	}
	return err
}

// ended is err, unless it only says that the node stops.
func ended(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, replica.ErrStopped) {
		return nil
	}
	return err
}

// leave ends this node's part in an orderly way. What does not work is said: the node stops all the same.
func (n *Node) leave(ctx context.Context) {
	select {
	case <-n.ready:
	default:
		return // nobody knows of it yet
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for topic, pool := range n.pools {
		if err := pool.Release(ctx); err != nil {
			n.log.Warn("leases are not released; others take them over once this node is dead to them", "topic", topic, "error", err)
		}
	}
	if err := n.replica.Leave(ctx); err != nil {
		n.log.Warn("not all neighbours know that this node leaves", "error", err)
	}
}

const leaveTimeout = 6 * time.Second

// Close closes what New opened. Run does it by itself; call it when Run was not called. It may be called again.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		var errs []error
		if n.endPubsub != nil {
			n.endPubsub()
		}
		if n.host != nil {
			errs = append(errs, n.host.Close())
		}
		if n.store != nil {
			errs = append(errs, n.store.Close())
		}
		if n.release != nil {
			errs = append(errs, n.release())
		}
		n.closeErr = errors.Join(errs...)
	})
	return n.closeErr
}

// Ready is closed once the node has published itself: its state can be read and written.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Info says what this node is.
func (n *Node) Info() Info {
	info := n.info
	info.Addrs = n.host.Addrs()
	return info
}

// Replica is the node's replicated state.
func (n *Node) Replica() *replica.Replica { return n.replica }

// Topic is the handle of a state topic; "" is the first one. Error: *replica.UnknownTopicError.
func (n *Node) Topic(name string) (*replica.Topic, error) { return n.replica.Topic(name) }

// Work is the worker pool of a state topic; "" is the first one. Error: *replica.UnknownTopicError.
func (n *Node) Work(topic string) (*worker.Pool, error) {
	if topic == "" {
		topic = n.cfg.Network.Topics[0]
	}
	pool := n.pools[topic]
	if pool == nil {
		return nil, &replica.UnknownTopicError{Topic: topic}
	}
	return pool, nil
}
