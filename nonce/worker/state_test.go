package worker

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/nonce"
)

// network is a replicated state in memory: every owner's keys, and a stream of changes for everybody who watches.
type network struct {
	mu       sync.Mutex
	entries  map[entry][]byte
	watchers map[*watcher]bool
	live     map[nonce.ID]bool
	side     map[nonce.ID]int // in a partition
	peers    []*peer
}

type entry struct {
	owner nonce.ID
	key   string
}

func newNetwork() *network {
	return &network{entries: make(map[entry][]byte), watchers: make(map[*watcher]bool), live: make(map[nonce.ID]bool), side: make(map[nonce.ID]int)}
}

// node is the State of one owner in a network.
type node struct {
	*network
	self nonce.ID

	// Under network.mu:
	fail    int           // Puts that are still to fail, -1 all
	latency time.Duration // of a Put, before it takes effect
	puts    []put
}

type put struct {
	at     time.Time
	writes []Write
}

var errDisk = errors.New("no space left")

func (n *node) Put(ctx context.Context, writes ...Write) error {
	n.mu.Lock()
	latency := n.latency
	n.mu.Unlock()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != 0 {
		n.fail = max(n.fail-1, -1)
		return errDisk
	}
	n.puts = append(n.puts, put{at: time.Now(), writes: slices.Clone(writes)})
	for _, w := range writes {
		e := entry{n.self, w.Key}
		if w.Delete {
			delete(n.entries, e)
		} else {
			n.entries[e] = w.Value
		}
		for watcher := range n.watchers {
			if n.side[watcher.self] != n.side[n.self] {
				continue
			}
			watcher.send(Change{Owner: n.self, Key: w.Key, Value: w.Value, Deleted: w.Delete})
		}
	}
	return nil
}

// Watch gives a snapshot, then changes. A slow reader's queue grows without bound: this is a test.
func (n *node) Watch(ctx context.Context, prefix string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := &watcher{self: n.self, prefix: prefix, more: make(chan struct{}, 1)}
		n.mu.Lock()
		for _, e := range slices.SortedFunc(maps.Keys(n.entries), func(a, b entry) int {
			return cmp.Or(a.owner.Compare(b.owner), strings.Compare(a.key, b.key))
		}) {
			w.send(Change{Owner: e.owner, Key: e.key, Value: n.entries[e]})
		}
		w.queue = append(w.queue, Change{Synced: true})
		n.watchers[w] = true
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.watchers, w)
		}()
		for {
			n.mu.Lock()
			queue, broken := w.queue, w.broken
			w.queue = nil
			n.mu.Unlock()
			for _, c := range queue {
				if !yield(c, nil) {
					return
				}
			}
			if broken {
				yield(Change{}, errors.New("changes were missed"))
				return
			}
			select {
			case <-w.more:
			case <-ctx.Done():
				return
			}
		}
	}
}

type watcher struct {
	self   nonce.ID
	prefix string
	queue  []Change
	broken bool
	more   chan struct{}
}

func (w *watcher) send(c Change) {
	if strings.HasPrefix(c.Key, w.prefix) {
		w.queue = append(w.queue, c)
	}
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// breakStreams ends every Watch with an error, as if changes had been missed. What change does meanwhile nobody sees.
func (n *network) breakStreams(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watchers {
		w.queue, w.broken = nil, true
		w.wake()
	}
	n.watchers = make(map[*watcher]bool)
	change()
}

func (n *network) get(owner nonce.ID, key string) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.entries[entry{owner, key}]
	return string(v), ok
}

// keys lists what owner has in the state.
func (n *network) keys(owner nonce.ID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var keys []string
	for e := range n.entries {
		if e.owner == owner {
			keys = append(keys, e.key)
		}
	}
	slices.Sort(keys)
	return keys
}

// workers are the live ones that self can reach.
func (n *network) workers(self nonce.ID) []nonce.Worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	var w []nonce.Worker
	for id := range n.live {
		if n.side[id] == n.side[self] {
			w = append(w, nonce.Worker{ID: id})
		}
	}
	return w
}

// partition puts owners on other sides of the network: writes don't get across and each side holds the other for dead.
// With nothing to say, it heals, and all that was missed comes in new snapshots.
func (n *network) partition(side map[nonce.ID]int) {
	n.breakStreams(func() {
		n.side = side
		for _, p := range n.peers {
			p.WorkersChanged()
		}
	})
}

// setLive says who is alive and tells every pool.
func (n *network) setLive(id nonce.ID, live bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, id)
	if live {
		n.live[id] = true
	}
	for _, p := range n.peers {
		p.WorkersChanged()
	}
}

// peer is one running pool.
type peer struct {
	*Pool
	node *node
	stop context.CancelFunc
	done chan struct{}
}

// start runs a pool for id in n. It trusts everybody, unless change says otherwise.
func (n *network) start(t testing.TB, id byte, change ...func(*Config)) *peer {
	t.Helper()
	self := nonce.ID{0: id, 31: 1}
	cfg := Config{
		Self: self, Enabled: true, Threads: 1, Workers: func() []nonce.Worker { return n.workers(self) }, Trusted: func(nonce.ID) bool { return true },
		Kinds: nonce.NewKinds(append(slices.Collect(maps.Values(DefaultKinds())), sleepKind{})...),
	}
	for _, c := range change {
		c(&cfg)
	}
	node := &node{network: n, self: self}
	pool, err := New(cfg, node)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{Pool: pool, node: node, stop: cancel, done: make(chan struct{})}
	n.mu.Lock()
	n.peers = append(n.peers, p)
	n.mu.Unlock()
	if cfg.Enabled {
		n.setLive(self, true)
	}
	go func() {
		defer close(p.done)
		if err := pool.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// kill stops a pool without a word, as kill -9 does: its keys stay.
func (p *peer) kill() {
	p.stop()
	<-p.done
}

// startAll runs pools 1 to n.
func (n *network) startAll(t testing.TB, count byte, change ...func(*Config)) []*peer {
	var peers []*peer
	for id := byte(1); id <= count; id++ {
		n.setLive(nonce.ID{0: id, 31: 1}, true)
	}
	for id := byte(1); id <= count; id++ {
		peers = append(peers, n.start(t, id, change...))
	}
	return peers
}

// sleepKind is work whose nonces take 10 ms each. The payload lists the hits, one byte each: h is nonce 100*h.
type sleepKind struct{}

func (sleepKind) Name() string { return "sleep" }

func (sleepKind) Complete(j *nonce.Job) error {
	j.Target = nonce.Target{0: 1}
	return nil
}

func (sleepKind) Open(j *nonce.Job) (nonce.Problem, error) { return hits(j.Payload), nil }

type hits []byte

func (h hits) Scan(r nonce.Range) (nonce.Result, bool) {
	for n := r.Start; n < r.End; n++ {
		time.Sleep(10 * time.Millisecond)
		if hash, ok := h.Verify(n); ok {
			return nonce.Result{Nonce: n, Hash: hash}, true
		}
	}
	return nonce.Result{}, false
}

func (h hits) Verify(n uint64) (nonce.Hash, bool) {
	return nonce.Hash{0: byte(n), 1: byte(n >> 8)}, n%100 == 0 && slices.Contains(h, byte(n/100))
}

func (h hits) Rate() float64 { return 100 }

// sleepJob is a job of 10,000 nonces, 100 s of work for one thread, in 100 cells of 1 s.
func sleepJob(stop nonce.Stop, hits ...byte) nonce.Job {
	return nonce.Job{Kind: "sleep", Payload: hits, Range: nonce.Range{End: 10_000}, Stop: stop, Cell: 100}
}

// await watches a job to its end as p sees it.
func await(t testing.TB, p *peer, id nonce.JobID) nonce.Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	var last nonce.Progress
	for progress, err := range p.Watch(ctx, id) {
		require.NoError(t, err)
		last = progress
	}
	require.True(t, last.State.Over())
	return last
}

func submit(t testing.TB, p *peer, job nonce.Job) nonce.JobID {
	t.Helper()
	id, err := p.Submit(context.Background(), job)
	require.NoError(t, err)
	synctest.Wait() // until everybody knows it
	return id
}

// settle lets virtual time pass until every goroutine waits, and d more.
func settle(d time.Duration) {
	synctest.Wait()
	time.Sleep(d)
	synctest.Wait()
}
