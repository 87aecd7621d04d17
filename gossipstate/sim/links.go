package sim

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	syncPauseMin = 700 * time.Millisecond  // to Config.AntiEntropy: the pause after a sync that repaired nothing
	syncAlone    = time.Second             // how long a sync with one peer keeps others waiting: each would bring the same
	yieldSync    = 1500 * time.Millisecond // how long the larger owner waits for the smaller one's sync on a new connection
)

// linkState is the protocol's part of a link.
type linkState struct {
	salt     wire.Salt                 // our share of the link key
	key      reconcile.Key             // zero until the peer's share is known
	sketches [topics]*reconcile.Sketch // while beats or sessions run; made when they are needed first
	sessions int                       // that run
	beats    *beatLink                 // nil while no beat stream runs
	served   *bucket                   // syncs it may open
	asked    *bucket                   // probes that may cause a dial

	serving   int                    // syncs it has open
	giving    map[giving]wire.Digest // what syncs that run at one time have sent: both sides may begin one at once
	syncing   bool
	syncAt    time.Time // zero: none is due
	syncPause time.Duration

	beatsAt time.Time // not before it, open a beat stream
	knocked time.Time // last knock at a neighbour whose beat was late
}

// giving is what a sync sends: an owner's copy on a topic.
type giving struct {
	topic int
	owner wire.ID
}

// connected makes the link of a new connection and has it synced.
func (p *process) connected(e *edge, c *conn, side int) *link {
	now := p.s.now()
	peer := e.nodes[1-side]
	l := &link{conn: c, side: side, peer: peer, owner: peer.id}
	for i := range l.salt {
		l.salt[i] = byte(p.rng.Uint32())
	}
	l.served, l.asked = newBucket(syncRate, syncBurst, now), newBucket(probeRate, probeBurst, now)
	l.syncAt = now
	if p.me.published && p.node.id.Compare(peer.id) > 0 { // a node that starts waits for nobody
		l.syncAt = now.Add(yieldSync)
	}
	p.links[e.at[side]] = l
	return l
}

func (p *process) disconnected(l *link) {
	if p.has(l) {
		p.links[l.conn.edge.at[l.side]] = nil
		p.neighbourLost(l)
	}
}

// has says whether l is the link of its edge now.
func (p *process) has(l *link) bool { return l != nil && p.links[l.conn.edge.at[l.side]] == l }

// dueSyncs starts the syncs whose time has come, and the backstop with a random peer.
func (p *process) dueSyncs(now time.Time) {
	if now.After(p.nextBackstop) {
		jitter := time.Duration(p.rng.Int64N(int64(p.s.cfg.AntiEntropy) / 2))
		p.nextBackstop = now.Add(p.s.cfg.AntiEntropy*3/4 + jitter)
		if l := p.randomLink(func(l *link) bool { return l.syncAt.IsZero() }); l != nil {
			l.syncAt = now
		}
	}
	for _, l := range p.links {
		if p.syncsStarted >= maxSyncsStarted || p.syncsStarted > 0 && now.Before(p.syncBegan.Add(syncAlone)) {
			return
		}
		if l != nil && !l.syncing && l.serving == 0 && !l.syncAt.IsZero() && !now.Before(l.syncAt) {
			p.startSync(l)
		}
	}
}

// randomLink is a random connected link that fits, or nil.
func (p *process) randomLink(fits func(*link) bool) *link {
	var found []*link
	for _, l := range p.links {
		if l != nil && fits(l) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[p.rng.IntN(len(found))]
}

func (p *process) startSync(l *link) {
	l.syncBegins()
	l.syncing = true
	l.syncAt = time.Time{}
	p.syncsStarted++
	p.syncBegan = p.s.now()
	p.startSession(l, &session{done: func(s *session, ok bool) {
		p.syncDone(l, s, ok)
		p.dueSyncs(p.s.now())
	}})
}

// syncBegins forgets what was sent, unless another sync runs.
func (l *link) syncBegins() {
	if !l.syncing && l.serving == 0 {
		l.giving = nil
	}
}

// gives says whether an owner's copy is to be sent to l, and notes it: not when another sync does so already.
func (l *link) gives(topic int, d *wire.Digest) bool {
	key := giving{topic, d.Owner}
	if l.giving[key] == *d {
		return false
	}
	if l.giving == nil {
		l.giving = map[giving]wire.Digest{}
	}
	l.giving[key] = *d
	return true
}

func (p *process) syncDone(l *link, s *session, ok bool) {
	p.syncsStarted--
	switch {
	case !ok:
		p.node.SyncsFailed++
	case s.repaired > 0:
		p.node.SyncsRepaired++
	default:
		p.node.SyncsEqual++
	}
	if ok && !p.synced {
		p.synced = true
		p.publishSelf()
	}
	l.syncing = false
	defer p.pollAgain(l)
	switch {
	case ok && s.repaired > 0:
		l.syncPause = 0
		return
	case s.progressed():
		l.syncPause = 0 // it broke, but the next one goes on from there
	}
	l.syncPause = min(max(2*l.syncPause, syncPauseMin), p.s.cfg.AntiEntropy)
	if !ok && l.syncAt.IsZero() {
		l.syncAt = p.s.now().Add(l.syncPause + time.Duration(p.rng.Int64N(int64(syncPauseMin))))
	}
}

// pollAgain has a follower sync with a peer once more: no beats tell it what it lacks.
func (p *process) pollAgain(l *link) {
	if p.node.follows && l.syncAt.IsZero() && l.syncPause < p.s.cfg.AntiEntropy {
		l.syncAt = p.s.now().Add(max(l.syncPause, syncPauseMin))
	}
}

// wantSync has l synced as soon as its pause allows; not while the other side, which sees the same difference, does so.
func (p *process) wantSync(l *link, now time.Time) {
	if !l.syncing && l.serving == 0 && l.syncAt.IsZero() {
		l.syncAt = now.Add(l.syncPause)
	}
}

// age is how long ago owner proved that it lives; 0 for this node.
func (p *process) age(owner wire.ID) time.Duration {
	if owner == p.node.id {
		return 0
	}
	heard := p.live.Heard(owner)
	if heard.IsZero() {
		return p.s.cfg.Liveness.ForgetAfter / 2
	}
	return max(0, p.s.now().Sub(heard))
}
