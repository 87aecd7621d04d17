package replica

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// listenTimes is in how many intervals in a row this identity must give a larger proof of life before a node that starts
	// takes itself for the younger of two. Beats of a process that was, still on their way, do not rise so often: the newest
	// is with its neighbours at once.
	listenTimes = 3
	listenMax   = 5 * time.Second // an identity that beats too slowly for that is not listened for
	listenPeers = 8               // asked each time
)

// listenForTwin finds out whether another process runs with this node's key, once a peer holds it running. The node has not
// published yet, and if there is one, it never does: ErrIdentityConflict. After an ordinary crash it takes one interval.
func (r *Replica) listenForTwin(ctx context.Context) error {
	var pause time.Duration
	if r.do(ctx, func(t *table) { pause = t.listenPause() }) != nil || pause == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listenMax)
	defer cancel()
	last := r.askOwnLife(ctx)
	for range listenTimes {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		life := r.askOwnLife(ctx)
		if life.Compare(last) <= 0 {
			return nil
		}
		last = life
	}
	r.counters.one(CountIdentity, "refused")
	r.log.Error("another process uses this identity: this node does not start",
		"generation", last.Generation, "version", last.Version)
	return fmt.Errorf("%w: it runs elsewhere and beats, at generation %d version %d beat %d",
		ErrIdentityConflict, last.Generation, last.Version, last.Index)
}

// listenPause is a beat interval of this identity and a little more, as it signed it before; 0 when there is no reason to
// listen, or no time.
func (t *table) listenPause() time.Duration {
	held, _, ok := t.members().state.Digest(t.r.self)
	if !ok || !t.synced || held.Status != wire.Running {
		return 0
	}
	pause := held.BeatInterval * 5 / 4
	if listenTimes*pause > listenMax {
		return 0
	}
	return pause
}

// askOwnLife asks some peers for what they know of this identity and returns the largest proof of life seen so far.
func (r *Replica) askOwnLife(ctx context.Context) (life liveness.Proof) {
	var links []*link
	var want wire.Want
	if r.do(ctx, func(t *table) {
		for len(links) < listenPeers {
			l := t.randomLink(func(l *link) bool { return !slices.Contains(links, l) })
			if l == nil {
				break
			}
			links = append(links, l)
		}
		held, _, _ := t.members().state.Digest(r.self)
		// One version less: who holds exactly the same would have nothing to send, and with it comes the beat.
		want = wire.Want{Owner: r.self, Generation: held.Generation, Version: held.Version - 1}
	}) != nil {
		return life
	}
	var asked sync.WaitGroup
	for _, l := range links {
		asked.Go(func() { // who does not answer shows no life
			r.withPeer(ctx, l.peer, func(ctx context.Context, s *session) error {
				return s.pull(ctx, wire.Members, []wire.Want{want})
			})
		})
	}
	asked.Wait()
	r.do(ctx, func(t *table) { life = t.me.life })
	return life
}

// noteOwnLife remembers the largest proof of life of this identity that peers showed before the first publication.
func (t *table) noteOwnLife(d *gossipstate.Digest, b *wire.Beat) {
	life := liveness.Proof{Generation: d.Generation, Version: d.Version}
	if b != nil && liveness.Proves(d, *b) {
		life.Index = b.Index
	}
	if life.Compare(t.me.life) > 0 {
		t.me.life = life
	}
}

// Identity says how this node stands with its own identity.
type Identity struct {
	Moved     bool // it has met a newer digest of its own that it did not sign, and went above it
	Stopped   bool // it has met a second one, or the answer of an elder process: it writes no more
	Withdrawn int  // shared keys that it withdrew at its start, because peers had forgotten it
}

// Identity says how this node stands with its own identity.
func (r *Replica) Identity(ctx context.Context) (i Identity, err error) {
	err = r.do(ctx, func(t *table) { i = Identity{Moved: t.me.moved, Stopped: t.me.conflict, Withdrawn: t.me.withdrew} })
	return i, err
}
