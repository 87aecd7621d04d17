package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// table is everything that one goroutine owns. Its methods run in that goroutine alone.
type table struct {
	r      *Replica
	tasks  *tasks
	rng    *rand.Rand
	topics map[string]*topicTable
	live   *liveness.Table
	links  map[peer.ID]*link
	pulls  map[pullKey]*pull
	me     identity
	disk   disk
	feeds  map[*feed[Transition]]bool // watchers of members

	quarantine gossipstate.Quarantine // owners that were forgotten
	sleepers   sleepers               // owners that may have been forgotten while this node was down
	lifeChecks *bucket                // hashing for the two

	syncsStarted int       // sessions of ours that run
	syncBegan    time.Time // when the newest of them did
	syncsServed  int       // sessions of others that run
	sessionBytes int       // that a session of an ordinary connection may send
	pullsRunning int
	beatsOpening int

	dials        map[gossipstate.ID]*dialing // that run or have just ended
	dialsRunning int
	dialsAsked   int  // for neighbours
	stirred      bool // the failure detector was told something: see react
	nextAccuse   time.Time
	spareAt      time.Time // when a beat stream is given up, if there are still too many; zero: there are not

	dialsForOthers *bucket // dials for neighbours

	firstSync     chan struct{} // closed after the first sync that ended well
	synced        bool
	nextBackstop  time.Time
	nextHousework time.Time
	nextStamps    time.Time
}

// topicTable is one state topic.
type topicTable struct {
	name      string
	domain    wire.Domain
	state     *gossipstate.State
	items     *reconcile.Items // of what state holds: the set that is reconciled
	validated bool             // our validator is registered
	gossip    *pubsub.Topic
	sub       *pubsub.Subscription
	published gossipstate.Version // newest own version that was published as a rumor
	wake      chan struct{}       // holds a token while there is something to publish
	rates     map[gossipstate.ID]*bucket
	newest    map[gossipstate.ID]gossipstate.Digest // of owners with a gap: the newest digest seen
	evidence  gossipstate.Evidence                  // proofs that owners signed two histories
	feeds     map[*feed[Event]]string               // watchers, with the prefix they watch
	self      gossipstate.ID
	began     uint64 // seq at the start of the process
	seq       uint64 // of the newest event
	recent    recent
	history   *gossipstate.History
}

func newTable(r *Replica) (*table, error) {
	live, err := liveness.New(r.cfg.Liveness, r.self, time.Now())
	if err != nil {
		return nil, err
	}
	t := &table{
		r: r, live: live, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		topics: map[string]*topicTable{}, links: map[peer.ID]*link{}, pulls: map[pullKey]*pull{},
		dials: map[gossipstate.ID]*dialing{}, feeds: map[*feed[Transition]]bool{}, firstSync: make(chan struct{}), disk: newDisk(),
		sleepers: newSleepers(), lifeChecks: newBucket(lifeRate, lifeBurst, time.Now()),
		dialsForOthers: newBucket(othersRate, othersBurst, time.Now()),
		sessionBytes:   sessionBytes,
	}
	began := uint64(time.Now().UnixMicro())
	for _, name := range r.topics {
		domain := wire.Domain{Network: r.cfg.Network, Topic: name}
		t.topics[name] = &topicTable{
			name: name, domain: domain, state: gossipstate.New(gossipstate.DefaultConfig(domain)), items: reconcile.NewItems(t.rng),
			wake: make(chan struct{}, 1), rates: map[gossipstate.ID]*bucket{},
			newest: map[gossipstate.ID]gossipstate.Digest{}, feeds: map[*feed[Event]]string{},
			self: r.self, began: began, seq: began,
			history: gossipstate.NewHistory(name, r.cfg.History, gossipstate.DefaultHistoryBytes),
		}
	}
	if err := t.load(); err != nil {
		return nil, err
	}
	for _, tt := range t.topics {
		for _, item := range tt.state.Items() {
			tt.items.Put(item)
		}
	}
	return t, nil
}

func (t *table) members() *topicTable { return t.topics[wire.Members] }

// loop runs commands and ticks until ctx ends, Close is called or the introduction failed.
func (t *table) loop(ctx context.Context, introduced <-chan error) error {
	next := time.Now().Add(tickEvery)
	tick := time.NewTimer(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.r.stop:
			return nil
		case err := <-introduced:
			if err != nil {
				return err
			}
			introduced = nil
		case f := <-t.r.commands:
			f(t)
		case now := <-tick.C:
			t.tick(now)
			next = time.Time{}
		}
		now := time.Now()
		t.react(now)
		if at := t.nextTick(now); next.IsZero() || at.Before(next) {
			next = at
			tick.Reset(at.Sub(now))
		}
	}
}

func (t *table) tick(now time.Time) {
	if !t.r.follows { // it hears no beats, so it judges nobody
		t.transitions(t.live.Tick(now))
	}
	t.duePulls(now)
	t.dueSyncs(now)
	t.openBeats(now)
	t.spareBeats(now)
	t.learnPorts(now)
	t.knockLate(now)
	t.overdueDials(now)
	if now.After(t.nextHousework) {
		t.nextHousework = now.Add(houseworkEvery)
		t.housework(now)
	}
}

const (
	houseworkEvery = time.Second
	stampEvery     = time.Minute // old tombstones, and lives to bring up to date on disk
)

// housework is what may wait a second: expiry, forgetting, rate buckets that are full again, the disk.
func (t *table) housework(now time.Time) {
	for _, tt := range t.topics {
		t.expire(tt, now)
		for owner, b := range tt.rates {
			if b.full(now) {
				delete(tt.rates, owner)
			}
		}
	}
	for _, owner := range t.live.ForgetCandidates(now) {
		t.forget(owner, now)
	}
	t.forgetDials(now)
	t.countAccusations()
	t.expireMemories(now)
	if now.After(t.nextStamps) {
		t.nextStamps = now.Add(min(stampEvery, t.r.cfg.Liveness.ForgetAfter/stampsPerForget))
		if t.r.follows {
			t.forgetUnheard(now)
		}
		for _, tt := range t.topics {
			t.forgetTombstones(tt, now)
		}
		t.stampLives(now, t.r.cfg.Liveness.ForgetAfter/stampsPerForget)
	}
	for p := range t.links {
		t.disconnected(p) // a stream may make a link after the end of its connection
	}
	t.retryStore(now)
	t.flush()
}

// join subscribes to the gossipsub topics and starts what serves them.
func (t *table) join() error {
	for _, name := range t.r.topics {
		if err := t.joinTopic(t.topics[name]); err != nil {
			return fmt.Errorf("joining topic %q: %w", name, err)
		}
	}
	return nil
}

func (t *table) joinTopic(tt *topicTable) error {
	gossip := GossipTopic(t.r.cfg.Network, tt.name)
	if err := t.r.pubsub.RegisterTopicValidator(gossip, t.r.validator(tt)); err != nil {
		return err
	}
	tt.validated = true
	var err error
	if tt.gossip, err = t.r.pubsub.Join(gossip, pubsub.WithTopicMessageIdFn(MessageID)); err != nil {
		return err
	}
	if tt.sub, err = tt.gossip.Subscribe(); err != nil {
		return err
	}
	t.tasks.spawn(func(ctx context.Context) { drain(ctx, tt.sub) })
	if !t.r.follows {
		t.tasks.spawn(func(ctx context.Context) { t.r.publish(ctx, tt) })
	}
	return nil
}

// drain takes delivered messages off the subscription: the validator has applied them.
func drain(ctx context.Context, sub *pubsub.Subscription) {
	for {
		if _, err := sub.Next(ctx); err != nil {
			return
		}
	}
}

// leaveTopics undoes join, as far as it went.
func (t *table) leaveTopics() {
	for _, tt := range t.topics {
		if tt.sub != nil {
			tt.sub.Cancel()
		}
		if tt.gossip != nil {
			if err := tt.gossip.Close(); err != nil && !errors.Is(err, context.Canceled) { // the application ended pubsub first
				t.r.log.Warn("leaving a topic", "topic", tt.name, "error", err)
			}
		}
		if tt.validated {
			_ = t.r.pubsub.UnregisterTopicValidator(GossipTopic(t.r.cfg.Network, tt.name)) // it fails when pubsub has ended
		}
	}
}

// bucket is a token bucket: burst tokens, refilled at rate a second.
type bucket struct {
	tokens float64
	last   time.Time
	rate   float64
	burst  float64
}

func newBucket(rate, burst float64, now time.Time) *bucket {
	return &bucket{tokens: burst, last: now, rate: rate, burst: burst}
}

func (b *bucket) refill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+b.rate*max(0, now.Sub(b.last).Seconds()))
	b.last = now
}

// take takes one token; false when there is none.
func (b *bucket) take(now time.Time) bool {
	b.refill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) full(now time.Time) bool {
	b.refill(now)
	return b.tokens >= b.burst
}
