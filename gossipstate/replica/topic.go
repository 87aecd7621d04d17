package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// minTTL is the shortest life of a key: expiry is looked at once a second.
const minTTL = time.Second

// Reader is a handle on one state topic of a running replica or follower, for reading. It may be used concurrently.
type Reader struct {
	r    *Replica
	name string
}

// Topic is a handle on one state topic of a running replica. It may be used concurrently.
type Topic struct{ Reader }

// Topic is the handle for a topic of the configuration; "" is the first one. "members" can be read, not written. Error:
// *UnknownTopicError.
func (r *Replica) Topic(name string) (*Topic, error) {
	reader, err := r.reader(name)
	if err != nil {
		return nil, err
	}
	return &Topic{reader}, nil
}

func (r *Replica) reader(name string) (Reader, error) {
	if name == "" {
		name = r.topics[1]
	}
	if !slices.Contains(r.topics, name) {
		return Reader{}, &UnknownTopicError{name}
	}
	return Reader{r, name}, nil
}

// Name is the name of the topic.
func (t *Reader) Name() string { return t.name }

func (t *Reader) do(ctx context.Context, f func(*table, *topicTable)) error {
	return t.r.do(ctx, func(tb *table) { f(tb, tb.topics[t.name]) })
}

// Set gives key a new value in this node's own namespace. It returns when the value is on this node's disk and visible
// here; it does not wait for others and does not fail for want of peers. Errors, before any effect: ErrReservedKey,
// *gossipstate.KeyError, *gossipstate.ValueTooLargeError, *gossipstate.QuotaError, *ConflictError,
// gossipstate.ErrClockExhausted, ErrIdentityConflict, ErrStopped.
func (t *Topic) Set(ctx context.Context, key string, value []byte, o WriteOptions) (Written, error) {
	m := gossipstate.Mutation{Key: key, Value: value, ContentType: o.ContentType}
	switch {
	case o.TTL != 0 && o.TTL < minTTL:
		return Written{}, &gossipstate.KeyError{Key: key, Reason: fmt.Sprintf("a life of %s is under %s", o.TTL, minTTL)}
	case o.TTL != 0:
		m.Expires = uint64(time.Now().Add(o.TTL).UnixMilli())
	}
	written, err := t.write(ctx, o.IfClock, m)
	if err != nil {
		return Written{}, err
	}
	return written[0], nil
}

// Delete removes key. Errors as Set, and ErrNotFound when nobody has it.
func (t *Topic) Delete(ctx context.Context, key string, o WriteOptions) (Written, error) {
	written, err := t.write(ctx, o.IfClock, gossipstate.Mutation{Key: key, Delete: true})
	if err != nil {
		return Written{}, err
	}
	return written[0], nil
}

// Write applies several mutations of this node's own namespace as one change: others see all of it or nothing. Errors as
// Set and Delete. Without mutations it does nothing.
func (t *Topic) Write(ctx context.Context, mutations ...gossipstate.Mutation) ([]Written, error) {
	if len(mutations) == 0 {
		return nil, nil
	}
	return t.write(ctx, nil, slices.Clone(mutations)...)
}

func (t *Topic) write(ctx context.Context, ifClock *gossipstate.Clock, mutations ...gossipstate.Mutation) ([]Written, error) {
	if t.name == wire.Members {
		return nil, ErrReservedKey
	}
	select {
	case <-t.r.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.r.idle:
		return nil, ErrStopped
	}
	for i := range mutations {
		mutations[i].Value = slices.Clone(mutations[i].Value) // it stays the caller's
	}
	peers := len(t.r.pubsub.ListPeers(GossipTopic(t.r.cfg.Network, t.name)))
	return t.commitWrite(ctx, &ownWrite{ifClock: ifClock, mutations: mutations, peers: peers, done: make(chan struct{})})
}

// checkClock enforces WriteOptions.IfClock on the first mutation.
func (t *table) checkClock(tt *topicTable, want *gossipstate.Clock, mutations []gossipstate.Mutation) error {
	if want == nil {
		return nil
	}
	key := mutations[0].Key
	rec := tt.read(key, t.r.self)
	var have gossipstate.Clock
	if rec.Live() {
		have = rec.Entry.Clock
	}
	if have != *want {
		return &ConflictError{Key: key, Have: have, Want: *want}
	}
	return nil
}

// read is the record under key: of the merged view when it is shared, else of owner.
func (tt *topicTable) read(key string, owner gossipstate.ID) gossipstate.Record {
	if gossipstate.Shared(tt.name, key) {
		return tt.state.Get(key)
	}
	return tt.state.GetOwned(owner, key)
}

// Get is the value under key: with owner "" that of the merged view, or for a key that is its writer's alone this node's
// own; else the entry of owner. ErrNotFound when there is none or it is deleted.
func (t *Reader) Get(ctx context.Context, key string, owner peer.ID) (v Value, err error) {
	id, err := t.r.ownerOrSelf(owner)
	if err != nil {
		return Value{}, err
	}
	stopped := t.do(ctx, func(_ *table, tt *topicTable) {
		rec := tt.read(key, id)
		if owner != "" {
			rec = tt.state.GetOwned(id, key)
		}
		if !rec.Live() {
			err = fmt.Errorf("%w: %q", ErrNotFound, key)
			return
		}
		v = tt.value(rec)
	})
	return v, errors.Join(stopped, err)
}

func (r *Replica) ownerOrSelf(owner peer.ID) (gossipstate.ID, error) {
	if owner == "" {
		return r.self, nil
	}
	return OwnerOf(owner)
}

// List is what o chooses, sorted by key, then owner.
func (t *Reader) List(ctx context.Context, o ListOptions) (values []Value, err error) {
	id, err := t.r.ownerOrSelf(o.Owner)
	if err != nil {
		return nil, err
	}
	err = t.do(ctx, func(_ *table, tt *topicTable) {
		records := tt.state.List(o.Prefix)
		if o.Owner != "" {
			records = tt.state.ListOwned(id, o.Prefix)
		}
		for _, rec := range records {
			if o.Tombstones || rec.Live() {
				values = append(values, tt.value(rec))
			}
		}
	})
	return values, err
}

// Digest sums up what this replica holds of the topic.
func (t *Reader) Digest(ctx context.Context) (d Digest, err error) {
	err = t.do(ctx, func(_ *table, tt *topicTable) {
		totals := tt.state.Totals()
		d = Digest{
			Topic: t.name, Fingerprint: tt.state.Fingerprint(), Owners: totals.Owners,
			Keys: totals.Keys, Tombstones: totals.Tombstones, Bytes: totals.Bytes,
		}
	})
	return d, err
}

// askParallel is how many members are asked at one time.
const askParallel = 16

// Ask asks every live member but this node for its digests of the topic, dialling those that are not connected. The answers
// are in the order of Members.
func (t *Topic) Ask(ctx context.Context) ([]Agreement, error) {
	members, err := t.liveMembers(ctx)
	if err != nil {
		return nil, err
	}
	answers := make([]Agreement, len(members))
	var g errgroup.Group
	g.SetLimit(askParallel)
	for i, p := range members {
		g.Go(func() error {
			answers[i] = t.ask(ctx, p)
			return nil
		})
	}
	return answers, g.Wait()
}

func (t *Topic) liveMembers(ctx context.Context) (peers []peer.ID, err error) {
	err = t.do(ctx, func(tb *table, _ *topicTable) {
		for _, m := range tb.live.Members(time.Now()) {
			if m.Owner != t.r.self && m.Status == liveness.Alive {
				peers = append(peers, PeerOf(m.Owner))
			}
		}
	})
	return peers, err
}

func (t *Topic) ask(ctx context.Context, p peer.ID) Agreement {
	a := Agreement{Peer: p}
	_, a.Err = t.r.withPeer(ctx, p, func(ctx context.Context, s *session) error {
		items, err := s.digests(t.name, nil)
		if err != nil {
			return err
		}
		a.Digest = Digest{Topic: t.name, Fingerprint: gossipstate.Fingerprint(items), Owners: len(items)}
		return t.do(ctx, func(_ *table, tt *topicTable) { a.Behind = tt.behind(items) })
	})
	return a
}

// behind counts the owners of which items hold less than this replica.
func (tt *topicTable) behind(items []wire.Item) int {
	have := map[gossipstate.ID]wire.Item{}
	for _, it := range items {
		have[it.Owner] = it
	}
	n := 0
	for _, ours := range tt.state.Items() {
		theirs := have[ours.Owner]
		if theirs.Generation < ours.Generation || theirs.Generation == ours.Generation && theirs.Version < ours.Version {
			n++
		}
	}
	return n
}

const (
	seenPollMin = 20 * time.Millisecond
	seenPollMax = time.Second
)

// WaitSeen waits until n live members hold this node's state at version v or above, all of them for n < 0, and says how many
// do. It ends with ctx's error when that comes first; seen and of are right all the same.
func (t *Topic) WaitSeen(ctx context.Context, v gossipstate.Version, n int) (seen, of int, err error) {
	has := map[peer.ID]bool{}
	for pause := seenPollMin; ; pause = min(2*pause, seenPollMax) {
		members, err := t.liveMembers(ctx)
		if err != nil {
			return seen, of, err
		}
		t.askSeen(ctx, v, members, has)
		seen, of = 0, len(members)
		for _, p := range members { // one that has it may have died since
			if has[p] {
				seen++
			}
		}
		if seen >= of || n >= 0 && seen >= n {
			return seen, of, nil
		}
		select {
		case <-ctx.Done():
			return seen, of, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// askSeen adds to has the members that hold v.
func (t *Topic) askSeen(ctx context.Context, v gossipstate.Version, members []peer.ID, has map[peer.ID]bool) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(askParallel)
	for _, p := range members {
		mu.Lock()
		known := has[p]
		mu.Unlock()
		if known {
			continue
		}
		g.Go(func() error {
			if t.r.hasOwn(ctx, p, t.name, v) == nil { // else it is asked again
				mu.Lock()
				has[p] = true
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // there is none
}

// hasOwn asks p whether it has this node's state at version v; an error when it has not, or does not say.
func (r *Replica) hasOwn(ctx context.Context, p peer.ID, topic string, v gossipstate.Version) error {
	_, err := r.withPeer(ctx, p, func(_ context.Context, s *session) error { return s.hasOwn(topic, v) })
	return err
}
