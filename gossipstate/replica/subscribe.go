package replica

import (
	"context"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Follower replicates the topics of a network and says nothing about itself: it signs no digest, exchanges no beats and is no
// member. It hears rumors and passes them on as every subscriber of a gossipsub topic does; what they miss it gets by
// anti-entropy, and it answers the syncs of others, so that what it knows is not lost with the one who told it. It cannot
// write. Make one with Subscribe, start it with Run; its methods may be called concurrently, and wait for Run to begin.
type Follower struct{ r *Replica }

// Subscribe prepares a follower of cfg's topics on h and ps, which stay the caller's. It starts nothing. The host's identity
// must be an Ed25519 key; nothing is signed with it. Of cfg the fields Description and TombstoneTTL mean nothing here, and
// FirstSync is how long Ready waits for the first sync. With a Store it knows after a restart what it knew before.
func Subscribe(h host.Host, ps *pubsub.PubSub, cfg Config) (*Follower, error) {
	r, err := newReplica(h, ps, cfg)
	if err != nil {
		return nil, err
	}
	r.follows = true
	return &Follower{r}, nil
}

// Run follows until ctx ends or Close is called, and returns after its last goroutine has. It can run once: ErrStopped when it
// did, or when Close came before it.
func (f *Follower) Run(ctx context.Context) error { return f.r.Run(ctx) }

// Close ends Run and waits for it, at most 5 s. It may be called more than once and from anywhere.
func (f *Follower) Close() error { return f.r.Close() }

// Ready is closed after the first sync with a peer, or when Config.FirstSync has passed without one.
func (f *Follower) Ready() <-chan struct{} { return f.r.Ready() }

// Topic is the handle for a topic of the configuration; "" is the first one, "members" what the nodes say about themselves.
// Error: *UnknownTopicError.
func (f *Follower) Topic(name string) (*Reader, error) {
	reader, err := f.r.reader(name)
	if err != nil {
		return nil, err
	}
	return &reader, nil
}

// Counts are the follower's counters, sorted by name and label.
func (f *Follower) Counts() []Count { return f.r.Counts() }

// pollAgain has a follower sync with a peer once more: no beats tell it what it lacks. What the peer lacked itself comes soon
// after; once the pause is as long as the backstop's, that is enough.
func (t *table) pollAgain(l *link) {
	if t.r.follows && l.syncAt.IsZero() && l.syncPause < t.r.cfg.AntiEntropy {
		l.syncAt = time.Now().Add(max(l.syncPause, syncPauseMin))
	}
}

// forgetUnheard forgets owners for a follower. It hears no beats, so it goes by digests on members alone: who lives signs one
// before its beat chain ends, and one may be missed.
func (t *table) forgetUnheard(now time.Time) {
	for _, item := range t.members().state.Items() {
		d, _, _ := t.members().state.Digest(item.Owner)
		chain := d.BeatInterval * time.Duration(d.BeatLength)
		if d.Status == wire.Leaving {
			chain = 0
		}
		if heard := t.live.Heard(d.Owner); !heard.IsZero() && now.Sub(heard) > max(t.r.cfg.Liveness.ForgetAfter, 2*chain) {
			t.forget(d.Owner, now)
		}
	}
}
