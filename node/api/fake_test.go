package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
)

// testPeer is the n-th of a fixed row of Ed25519 identities.
func testPeer(n byte) peer.ID {
	return replica.PeerOf(gossipstate.ID(sha256.Sum256([]byte{n})))
}

// fakeNode is a node in memory: what is written is read back, watched and listed as replica.Topic says.
type fakeNode struct {
	mu          sync.Mutex
	info        node.Info
	ready       chan struct{}
	status      node.Status
	statusErr   error
	readiness   []node.Check
	health      []node.Check
	reach       map[peer.ID]node.Reach
	peers       []node.Peer
	members     []replica.Member
	transitions chan replica.Transition
	metrics     []node.Metric
	topics      map[string]*fakeTopic
	jobs        map[string]*fakeJobs
	exports     fakeExports
}

func newFakeNode() *fakeNode {
	self := testPeer(1)
	listen := multiaddr.StringCast("/ip4/127.0.0.1/tcp/4747")
	n := &fakeNode{
		info: node.Info{
			ID: self, Name: "n1", Network: "lab", Profile: "local", Topics: []string{"main", "extra"}, Version: "0.1.0",
			Home: "/home/me/.local/share/p2pnode", Listen: []multiaddr.Multiaddr{listen}, Addrs: []multiaddr.Multiaddr{listen},
			Started: time.Date(2026, 11, 22, 7, 24, 53, 292_900_000, time.UTC),
		},
		ready:       make(chan struct{}),
		transitions: make(chan replica.Transition),
		members: []replica.Member{
			{ID: self, Name: "n1", Self: true, Status: "alive", Agent: "p2pnode/0.1.0", Tags: map[string]string{"zone": "eu"}},
			{ID: testPeer(2), Name: "n2", Status: "alive", Phi: 0.3, Generation: 1 << 60, Tags: map[string]string{"zone": "us"}},
			{ID: testPeer(3), Name: "twin", Status: "suspect", Phi: 9.1},
			{ID: testPeer(4), Name: "twin", Status: "dead"},
		},
		topics: map[string]*fakeTopic{},
		jobs:   map[string]*fakeJobs{},
	}
	for _, name := range n.info.Topics {
		n.topics[name] = newFakeTopic(name, self)
		n.jobs[name] = newFakeJobs(self)
	}
	n.topics["members"] = newFakeTopic("members", self)
	n.status = node.Status{Info: n.info, Joined: true, Members: node.MemberCount{Alive: 2, Suspect: 1, Dead: 1}}
	close(n.ready)
	return n
}

func (n *fakeNode) Info() node.Info          { return n.info }
func (n *fakeNode) Ready() <-chan struct{}   { return n.ready }
func (n *fakeNode) Peers() []node.Peer       { return n.peers }
func (n *fakeNode) Metrics() []node.Metric   { return n.metrics }
func (n *fakeNode) main() *fakeTopic         { return n.topics["main"] }
func (n *fakeNode) setStatus(st node.Status) { n.mu.Lock(); n.status = st; n.mu.Unlock() }

func (n *fakeNode) Status(context.Context) (node.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.statusErr
}

func (n *fakeNode) Readiness(context.Context) []node.Check {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.readiness
}

func (n *fakeNode) Health(context.Context) []node.Check { return n.health }

func (n *fakeNode) setReadiness(checks ...node.Check) {
	n.mu.Lock()
	n.readiness = checks
	n.mu.Unlock()
}

func (n *fakeNode) PhiHistory(member peer.ID) []float64 {
	if member != testPeer(2) {
		return nil
	}
	return []float64{0, 0.3, 9.1, math.Inf(1)}
}

func (n *fakeNode) Reach(context.Context) (map[peer.ID]node.Reach, error) { return n.reach, nil }

func (n *fakeNode) Members(context.Context) ([]replica.Member, error) { return n.members, nil }

func (n *fakeNode) Story(_ context.Context, member peer.ID) ([]replica.Transition, error) {
	if member == testPeer(5) {
		return nil, replica.ErrNotFound
	}
	return []replica.Transition{
		{ID: member, To: "alive", Reason: "first seen"},
		{
			ID: member, From: "alive", To: "suspect", Phi: 9.1, Accusers: []peer.ID{testPeer(1)}, Timeout: 3200 * time.Millisecond,
			Reason: "accused by 1, 1 of 3 count",
		},
	}, nil
}

func (n *fakeNode) WatchMembers(ctx context.Context) iter.Seq2[replica.Transition, error] {
	return func(yield func(replica.Transition, error) bool) {
		for {
			select {
			case t, ok := <-n.transitions:
				if !ok {
					yield(replica.Transition{}, replica.ErrStopped)
					return
				}
				if !yield(t, nil) {
					return
				}
			case <-ctx.Done():
				yield(replica.Transition{}, ctx.Err())
				return
			}
		}
	}
}

func (n *fakeNode) Topic(name string) (Topic, error) {
	t, ok := n.topics[cmp.Or(name, n.info.Topics[0])]
	if !ok {
		return nil, &replica.UnknownTopicError{Topic: name}
	}
	return t, nil
}

func (n *fakeNode) Work(name string) (Jobs, error) {
	j, ok := n.jobs[cmp.Or(name, n.info.Topics[0])]
	if !ok {
		return nil, &replica.UnknownTopicError{Topic: name}
	}
	return j, nil
}

// fakeFeed is how many events a reader of a fakeTopic may be behind.
const fakeFeed = 8

// fakeTopic holds the newest entry of every owner under every key.
type fakeTopic struct {
	name string
	self peer.ID

	mu       sync.Mutex
	entries  map[string]map[peer.ID]replica.Value
	version  gossipstate.Version
	seq      uint64
	watchers map[*fakeWatcher]struct{}
	events   []replica.Event // all there were
	dropped  int
	seen, of int           // what WaitSeen finds
	moved    chan struct{} // closed and replaced when seen changes
	waiting  chan struct{} // gets one when WaitSeen begins to wait
	answers  []replica.Agreement
	signed   *gossipstate.State // what Prove proves from
	err      error              // of every call, when set
}

type fakeWatcher struct {
	queue  chan replica.Event
	missed uint64
}

func newFakeTopic(name string, self peer.ID) *fakeTopic {
	return &fakeTopic{
		name: name, self: self, entries: map[string]map[peer.ID]replica.Value{}, watchers: map[*fakeWatcher]struct{}{},
		seen: 1, of: 3, moved: make(chan struct{}), waiting: make(chan struct{}, 16),
	}
}

func (t *fakeTopic) Name() string { return t.name }

// winner is the merged view's entry of key.
func (t *fakeTopic) winner(key string) (replica.Value, bool) {
	var best replica.Value
	found := false
	for owner, v := range t.entries[key] {
		if !found || cmp.Or(cmp.Compare(v.Clock, best.Clock), cmp.Compare(owner, best.Owner)) > 0 {
			best, found = v, true
		}
	}
	return best, found
}

func (t *fakeTopic) Set(_ context.Context, key string, value []byte, o replica.WriteOptions) (replica.Written, error) {
	v := replica.Value{Key: key, Owner: t.self, Value: value, ContentType: o.ContentType, Written: time.Unix(1_795_000_000, 0)}
	if o.TTL > 0 {
		v.Expires = v.Written.Add(o.TTL)
	}
	return t.write(v, o)
}

func (t *fakeTopic) Delete(_ context.Context, key string, o replica.WriteOptions) (replica.Written, error) {
	t.mu.Lock()
	was, found := t.winner(key)
	t.mu.Unlock()
	if t.err == nil && (!found || was.Deleted) {
		return replica.Written{}, fmt.Errorf("delete: %w", replica.ErrNotFound)
	}
	return t.write(replica.Value{Key: key, Owner: t.self, Deleted: true}, o)
}

func (t *fakeTopic) write(v replica.Value, o replica.WriteOptions) (replica.Written, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return replica.Written{}, t.err
	case t.name == "members":
		return replica.Written{}, replica.ErrReservedKey
	case len(v.Key) > wire.MaxKey:
		return replica.Written{}, &gossipstate.KeyError{Key: v.Key, Reason: "is longer than 256 bytes"}
	case len(v.Value) > wire.MaxValue:
		return replica.Written{}, &gossipstate.ValueTooLargeError{Key: v.Key, Size: len(v.Value), Limit: wire.MaxValue}
	}
	was, _ := t.winner(v.Key)
	have := was.Clock
	if was.Deleted {
		have = 0
	}
	if o.IfClock != nil && *o.IfClock != have {
		return replica.Written{}, &replica.ConflictError{Key: v.Key, Have: have, Want: *o.IfClock}
	}
	t.version++
	v.Clock, v.Version, v.Owner = was.Clock+1, t.version, t.self
	t.put(v, false)
	return replica.Written{Value: v, PeersSent: 2}, nil
}

// fromPeer applies an entry that another owner wrote.
func (t *fakeTopic) fromPeer(v replica.Value) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(v, true)
}

func (t *fakeTopic) put(v replica.Value, remote bool) {
	old, found := t.winner(v.Key)
	if t.entries[v.Key] == nil {
		t.entries[v.Key] = map[peer.ID]replica.Value{}
	}
	t.entries[v.Key][v.Owner] = v
	now, _ := t.winner(v.Key)
	if found && now.Owner == old.Owner && now.Clock == old.Clock {
		return // the merged view is as it was
	}
	t.seq++
	if found && !old.Deleted && old.Owner != now.Owner {
		t.emit(replica.Event{Seq: t.seq, Kind: replica.Lost, Old: old, New: now, Remote: remote})
	}
	kind := replica.Put
	if now.Deleted {
		kind = replica.Deleted
	}
	t.emit(replica.Event{Seq: t.seq, Kind: kind, Old: old, New: now, Remote: remote})
}

func (t *fakeTopic) emit(e replica.Event) {
	t.events = append(t.events, e)
	for w := range t.watchers {
		select {
		case w.queue <- e:
		default:
			w.missed++
			t.dropped++
		}
	}
}

func (t *fakeTopic) Get(_ context.Context, key string, owner peer.ID) (replica.Value, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return replica.Value{}, t.err
	}
	v, ok := t.winner(key)
	if owner != "" {
		v, ok = t.entries[key][owner]
	}
	if !ok || v.Deleted {
		return replica.Value{}, replica.ErrNotFound
	}
	return v, nil
}

func (t *fakeTopic) Prove(_ context.Context, key string, owner peer.ID) (gossipstate.Proof, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return gossipstate.Proof{}, t.err
	}
	if t.signed == nil {
		return gossipstate.Proof{}, replica.ErrNotFound
	}
	id := t.signed.Get(key).Owner
	if owner != "" {
		var err error
		if id, err = replica.OwnerOf(owner); err != nil {
			return gossipstate.Proof{}, err
		}
	}
	p, ok := t.signed.Prove(id, key)
	if !ok {
		return gossipstate.Proof{}, replica.ErrNotFound
	}
	return p, nil
}

func (t *fakeTopic) List(_ context.Context, o replica.ListOptions) ([]replica.Value, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return nil, t.err
	}
	var out []replica.Value
	for _, key := range slices.Sorted(maps.Keys(t.entries)) {
		v, ok := t.winner(key)
		if o.Owner != "" {
			v, ok = t.entries[key][o.Owner]
		}
		if ok && strings.HasPrefix(key, o.Prefix) && (o.Tombstones || !v.Deleted) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (t *fakeTopic) Watch(ctx context.Context, prefix string) iter.Seq2[replica.Event, error] {
	return func(yield func(replica.Event, error) bool) {
		w := &fakeWatcher{queue: make(chan replica.Event, fakeFeed)}
		defer func() { t.mu.Lock(); delete(t.watchers, w); t.mu.Unlock() }()
		for {
			if !t.snapshot(ctx, w, prefix, yield) {
				return
			}
			if missed := t.follow(ctx, w, prefix, yield); missed == 0 ||
				!yield(replica.Event{Kind: replica.Lagged, Missed: missed}, nil) {
				return
			}
		}
	}
}

// snapshot yields what is there and has w follow from then on.
func (t *fakeTopic) snapshot(ctx context.Context, w *fakeWatcher, prefix string, yield func(replica.Event, error) bool) bool {
	all, err := t.List(ctx, replica.ListOptions{Prefix: prefix})
	if err != nil {
		yield(replica.Event{}, err)
		return false
	}
	t.mu.Lock()
	seq := t.seq
	t.watchers[w] = struct{}{}
	t.mu.Unlock()
	for _, v := range all {
		if !yield(replica.Event{Seq: seq, Kind: replica.Put, New: v}, nil) {
			return false
		}
	}
	return yield(replica.Event{Seq: seq, Kind: replica.Synced}, nil)
}

// follow yields changes until it has missed some; 0 means that the reader or ctx has ended.
func (t *fakeTopic) follow(ctx context.Context, w *fakeWatcher, prefix string, yield func(replica.Event, error) bool) uint64 {
	for {
		t.mu.Lock()
		missed := w.missed
		if missed > 0 && len(w.queue) == 0 {
			w.missed = 0
			delete(t.watchers, w)
			t.mu.Unlock()
			return missed
		}
		t.mu.Unlock()
		select {
		case e := <-w.queue:
			if strings.HasPrefix(e.New.Key, prefix) && !yield(e, nil) {
				return 0
			}
		case <-ctx.Done():
			yield(replica.Event{}, ctx.Err())
			return 0
		}
	}
}

func (t *fakeTopic) Digest(context.Context) (replica.Digest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return replica.Digest{}, t.err
	}
	return t.digest(), nil
}

func (t *fakeTopic) digest() replica.Digest {
	sum := sha256.New()
	d := replica.Digest{Topic: t.name, Owners: 1}
	for _, key := range slices.Sorted(maps.Keys(t.entries)) {
		v, _ := t.winner(key)
		fmt.Fprintf(sum, "%q %d %x\n", key, v.Clock, v.Value)
		if v.Deleted {
			d.Tombstones++
		} else {
			d.Keys++
		}
	}
	sum.Sum(d.Fingerprint[:0])
	return d
}

func (t *fakeTopic) Ask(context.Context) ([]replica.Agreement, error) { return t.answers, t.err }

func (t *fakeTopic) WaitSeen(ctx context.Context, _ gossipstate.Version, n int) (seen, of int, err error) {
	for {
		t.mu.Lock()
		seen, of, moved := t.seen, t.of, t.moved
		t.mu.Unlock()
		if n < 0 && seen == of || n >= 0 && seen >= n {
			return seen, of, nil
		}
		select {
		case t.waiting <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return seen, of, ctx.Err()
		}
	}
}

func (t *fakeTopic) setSeen(seen int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = seen
	close(t.moved)
	t.moved = make(chan struct{})
}

func (t *fakeTopic) drops() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}
