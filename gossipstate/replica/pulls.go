package replica

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	pullHold     = 100 * time.Millisecond // an early rumor waits for the one before it
	pullPauseMin = time.Second
	pullPauseMax = 5 * time.Minute
	maxPulls     = 1024 // owners waiting at one time; the backstop brings the others
	maxPullTries = 8    // then the backstop has it
)

type pullKey struct {
	topic string
	owner gossipstate.ID
}

// pull fetches one owner's copy after a gap: first from the peer its digest came from, one at a time.
type pull struct {
	from       peer.ID
	due        time.Time
	pause      time.Duration
	tries      int
	mismatches int // one: ask for the delta again; more: for the snapshot
	running    bool
}

// requestPullOf pulls what u announced: at once when it has no entries, else after a hold. False when too many wait.
func (t *table) requestPullOf(tt *topicTable, u *gossipstate.Update, from peer.ID, now time.Time) bool {
	due := now
	if len(u.Entries) > 0 {
		due = now.Add(pullHold)
	}
	return t.addPull(tt, u.Digest.Owner, from, due) != nil
}

func (t *table) requestPull(tt *topicTable, owner gossipstate.ID, from peer.ID, now time.Time) {
	t.addPull(tt, owner, from, now)
}

// requestSnapshot follows a root mismatch: a fork, or an owner that lost its store.
func (t *table) requestSnapshot(tt *topicTable, owner gossipstate.ID, from peer.ID, now time.Time) {
	if p := t.addPull(tt, owner, from, now); p != nil {
		p.mismatches++
	}
}

func (t *table) addPull(tt *topicTable, owner gossipstate.ID, from peer.ID, due time.Time) *pull {
	key := pullKey{tt.name, owner}
	if p := t.pulls[key]; p != nil {
		return p
	}
	if t.flagged(owner) {
		t.r.counters.one(CountPull, "flagged") // the backstop brings what it signs
		return nil
	}
	if len(t.pulls) >= maxPulls {
		t.r.counters.one(CountPull, "refused")
		return nil
	}
	p := &pull{from: from, due: due, pause: pullPauseMin / 2}
	t.pulls[key] = p
	return p
}

func (t *table) duePulls(now time.Time) {
	for key, p := range t.pulls {
		if p.running || now.Before(p.due) || t.pullsRunning >= maxSyncsStarted {
			continue
		}
		from := p.from
		if p.tries > 0 || t.links[from] == nil {
			if l := t.randomLink(func(*link) bool { return true }); l != nil {
				from = l.peer
			}
		}
		if l := t.links[from]; l != nil && l.syncing && now.Sub(p.due) < syncAlone {
			continue // that sync brings the same
		}
		t.startPull(key, p, from)
	}
}

func (t *table) startPull(key pullKey, p *pull, from peer.ID) {
	p.running = true
	p.tries++
	t.pullsRunning++
	want := t.wantOf(t.topics[key.topic], key.owner, from)
	if p.mismatches >= 2 {
		want.Generation, want.Version = 0, 0
	}
	t.tasks.spawn(func(ctx context.Context) {
		s, err := t.r.withPeer(ctx, from, func(ctx context.Context, s *session) error {
			return s.pull(ctx, key.topic, []wire.Want{want})
		})
		t.r.do(ctx, func(t *table) { t.pullDone(key, p, s, err) })
	})
}

// pullDone ends one try. One that brought nothing is tried again after a longer pause, from another peer; one that brought
// a part goes on at once, or after the shortest pause when it broke.
func (t *table) pullDone(key pullKey, p *pull, s *session, err error) {
	t.pullsRunning--
	p.running = false
	repaired := err == nil && s.repaired > 0
	partly := s != nil && s.staged > 0
	if repaired || partly {
		t.r.counters.one(CountPull, "ok")
	} else {
		t.r.counters.one(CountPull, "failed")
	}
	if t.pulls[key] != p {
		return // what was missing has come
	}
	if repaired && t.topics[key.topic].lags(key.owner) {
		repaired = false // it brought something, not all
	}
	if repaired || p.tries >= maxPullTries {
		delete(t.pulls, key)
		delete(t.topics[key.topic].newest, key.owner)
		return
	}
	switch {
	case partly && err == nil && s.cut:
		p.pause, p.due = pullPauseMin/2, time.Now()
		return
	case partly:
		p.pause = pullPauseMin / 2
	}
	p.pause = min(2*p.pause, pullPauseMax)
	p.due = time.Now().Add(p.pause)
}

// lags says whether a newer digest of owner was seen than is held.
func (tt *topicTable) lags(owner gossipstate.ID) bool {
	seen, ok := tt.newest[owner]
	held, _, have := tt.state.Digest(owner)
	return ok && (!have || held.Compare(&seen) < 0)
}
