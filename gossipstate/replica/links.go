package replica

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// syncPauseMin to Config.AntiEntropy is the pause before the next sync with a peer with which one repaired nothing.
	syncPauseMin = 700 * time.Millisecond
	// syncAlone is how long a sync with one peer keeps others waiting: several at one time would each bring the same.
	syncAlone = time.Second
	// yieldSync is how long the larger peer waits for the smaller one's sync on a new connection.
	yieldSync = 1500 * time.Millisecond
	// yieldCut is how long the larger peer waits after a session that a budget has cut, lest both send the rest.
	yieldCut = 300 * time.Millisecond
)

// link is what the table knows about one peer.
type link struct {
	peer  peer.ID
	owner gossipstate.ID
	salt  wire.Salt // our share of the link key, while the peer is connected
	beats *beatLink // nil while no beat stream runs

	key      reconcile.Key                // zero until the peer's share is known
	sketches map[string]*reconcile.Sketch // per topic, made when they are needed first

	speaks    bool // it is connected and on our network
	syncing   bool
	syncAt    time.Time // zero: none is due
	syncPause time.Duration
	served    *bucket // syncs it may open
	asked     *bucket // probes that may cause a dial
	serving   int     // syncs it has open

	// giving is what syncs that run at one time have sent: both sides may begin one at once.
	giving map[pullKey]gossipstate.Digest

	takesBeats bool      // followers do not
	beatsAt    time.Time // not before it, open a beat stream
}

// link is the link of p, made when there is none; nil for a peer without an Ed25519 identity, which cannot be an owner.
func (t *table) link(p peer.ID) *link {
	l := t.links[p]
	if l == nil {
		owner, err := OwnerOf(p)
		if err != nil {
			return nil
		}
		now := time.Now()
		l = &link{peer: p, owner: owner, served: newBucket(syncRate, syncBurst, now), asked: newBucket(probeRate, probeBurst, now)}
		rand.Read(l.salt[:])
		t.links[p] = l
	}
	return l
}

// subscribeHost asks the host for the events that make and end links.
func (r *Replica) subscribeHost() (event.Subscription, error) {
	sub, err := r.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(1024), eventbus.Name("p2pnode/replica"))
	if err != nil {
		return nil, fmt.Errorf("subscribing to host events: %w", err)
	}
	return sub, nil
}

// followHost keeps the links in step with the host's connections.
func (r *Replica) followHost(ctx context.Context, sub event.Subscription) {
	defer sub.Close()
	for _, p := range r.host.Network().Peers() {
		r.do(ctx, func(t *table) { t.connected(p) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-sub.Out():
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				r.do(ctx, func(t *table) { t.connected(e.Peer) })
			case event.EvtPeerProtocolsUpdated:
				r.do(ctx, func(t *table) { t.connected(e.Peer) })
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness == network.NotConnected {
					r.do(ctx, func(t *table) { t.disconnected(e.Peer) })
				}
			}
		}
	}
}

// connected makes a link to a peer that speaks our sync protocol, and has it synced; one that has ceased to is not asked any
// more.
func (t *table) connected(p peer.ID) {
	if t.r.host.Network().Connectedness(p) == network.NotConnected {
		return
	}
	if speaks, err := t.r.host.Peerstore().SupportsProtocols(p, t.r.syncProtocol()); err != nil || len(speaks) == 0 {
		if l := t.links[p]; l != nil {
			l.speaks = false
		}
		return
	}
	l := t.link(p)
	if l == nil {
		return
	}
	takes, err := t.r.host.Peerstore().SupportsProtocols(p, t.r.beatProtocol())
	l.takesBeats = err == nil && len(takes) > 0
	if l.speaks {
		return
	}
	l.speaks = true
	l.syncPause = 0
	l.syncAt = time.Now()
	if t.me.published && t.r.self.Compare(l.owner) > 0 { // a node that starts waits for nobody
		l.syncAt = l.syncAt.Add(yieldSync)
	}
}

func (t *table) disconnected(p peer.ID) {
	if t.r.host.Network().Connectedness(p) != network.NotConnected {
		return // it is back already
	}
	if l := t.links[p]; l != nil {
		delete(t.links, p)
		t.unsketch(l)
		t.neighbourLost(l)
	}
}

// dueSyncs starts the syncs whose time has come, and the backstop with a random peer.
func (t *table) dueSyncs(now time.Time) {
	if now.After(t.nextBackstop) {
		jitter := time.Duration(t.rng.Int64N(int64(t.r.cfg.AntiEntropy) / 2))
		t.nextBackstop = now.Add(t.r.cfg.AntiEntropy*3/4 + jitter)
		if l := t.randomLink(func(l *link) bool { return l.syncAt.IsZero() }); l != nil {
			l.syncAt = now
		}
	}
	for _, l := range t.links {
		if t.syncsStarted >= maxSyncsStarted || t.syncsStarted > 0 && now.Before(t.syncBegan.Add(syncAlone)) {
			return
		}
		if l.speaks && !l.syncing && l.serving == 0 && !l.syncAt.IsZero() && !now.Before(l.syncAt) {
			t.startSync(l)
		}
	}
}

// randomLink is a random connected link that fits, or nil.
func (t *table) randomLink(fits func(*link) bool) *link {
	var found []*link
	for _, l := range t.links {
		if l.speaks && fits(l) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.SortFunc(found, func(a, b *link) int { return a.owner.Compare(b.owner) })
	return found[t.rng.IntN(len(found))]
}

func (t *table) startSync(l *link) {
	l.syncing = true
	l.syncAt = time.Time{}
	t.syncsStarted++
	t.syncBegan = time.Now()
	t.tasks.spawn(func(ctx context.Context) {
		s, err := t.r.syncWith(ctx, l.peer)
		t.r.do(ctx, func(t *table) {
			t.syncDone(l, s, err)
			t.dueSyncs(time.Now())
		})
	})
}

func (t *table) syncDone(l *link, s *session, err error) {
	t.syncsStarted--
	switch {
	case err != nil:
		t.r.counters.one(CountSync, syncFailure(err))
		t.r.log.Debug("sync failed", "peer", l.peer.ShortString(), "error", err)
	case s.repaired > 0:
		t.r.counters.one(CountSync, "repaired")
	default:
		t.r.counters.one(CountSync, "equal")
	}
	if err == nil && !t.synced {
		t.synced = true
		close(t.firstSync)
	}
	l.syncing = false
	l.syncEnds()
	defer t.pollAgain(l)
	progressed := s != nil && s.progressed()
	switch {
	case err == nil && s.cut && progressed:
		l.syncPause, l.syncAt = 0, time.Now() // the rest is known to wait
		if t.r.self.Compare(l.owner) > 0 {
			l.syncAt = l.syncAt.Add(yieldCut)
		} else if l.speaks && l.serving == 0 && t.syncsStarted < maxSyncsStarted {
			t.startSync(l)
		}
		return
	case err == nil && s.repaired > 0:
		l.syncPause = 0
		return
	case progressed:
		l.syncPause = 0 // it broke, but the next one goes on from there
	}
	l.syncPause = min(max(2*l.syncPause, syncPauseMin), t.r.cfg.AntiEntropy)
	if err != nil && l.syncAt.IsZero() {
		l.syncAt = time.Now().Add(l.syncPause + time.Duration(mrand.Int64N(int64(syncPauseMin))))
	}
}

// wantSync has l synced as soon as its pause allows; not while the other side, which sees the same difference, does so.
func (t *table) wantSync(l *link, now time.Time) {
	if l.syncing || l.serving > 0 || !l.syncAt.IsZero() {
		return
	}
	l.syncAt = now.Add(l.syncPause)
}

// admitSync is the link of p if p may open one more sync now, else nil. The caller gives it back by syncServed.
func (t *table) admitSync(p peer.ID) *link {
	l := t.link(p)
	if l == nil || t.syncsServed >= maxSyncsServed || l.serving >= maxServedPeer || !l.served.take(time.Now()) {
		return nil
	}
	t.syncsServed++
	l.serving++
	return l
}

// syncEnds forgets what was sent, unless another sync runs.
func (l *link) syncEnds() {
	if !l.syncing && l.serving == 0 {
		l.giving = nil
	}
}

// gives says whether an owner's copy is to be sent to l, and notes it: not when another sync does so already.
func (l *link) gives(topic string, d *gossipstate.Digest) bool {
	key := pullKey{topic, d.Owner}
	if l.giving[key] == *d {
		return false
	}
	if l.giving == nil {
		l.giving = map[pullKey]gossipstate.Digest{}
	}
	l.giving[key] = *d
	return true
}

func (t *table) syncServed(l *link) {
	t.syncsServed--
	l.serving--
	l.syncEnds()
}

// age is how long ago owner proved that it lives; 0 for this node.
func (t *table) age(owner gossipstate.ID) time.Duration {
	if owner == t.r.self {
		return 0
	}
	heard := t.live.Heard(owner)
	if heard.IsZero() {
		return t.r.cfg.Liveness.ForgetAfter / 2
	}
	return max(0, time.Since(heard))
}
