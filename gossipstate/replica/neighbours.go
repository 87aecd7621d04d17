package replica

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Who beats with whom: each node opens some beat streams, takes some more, and gives up what it can do without.

const (
	neighboursWanted = 4 // beat streams that this node opens until it has so many: the default of Config.Neighbours
	neighboursMax    = 8 // beat streams that it keeps then when others open them
	neighboursSpare  = 1 // above those that it wants, beat streams that it keeps of those that it opened
	beatRetry        = 3 * time.Second
	openTimeout      = 5 * time.Second
)

// openBeats opens beat streams while there are too few.
func (t *table) openBeats(now time.Time) {
	if !t.beats() {
		return
	}
	for running := t.beatsOpening + t.neighbours(); running < t.r.cfg.Neighbours; running++ {
		l := t.randomLink(func(l *link) bool { return l.takesBeats && l.beats == nil && !now.Before(l.beatsAt) })
		if l == nil {
			return
		}
		l.beatsAt = now.Add(beatRetry + time.Duration(t.rng.Int64N(int64(beatRetry))))
		t.beatsOpening++
		p := l.peer
		t.tasks.spawn(func(ctx context.Context) { t.r.openBeats(ctx, p) })
	}
}

// spareBeats gives up a beat stream that this node opened, now and then, while others have opened enough. Whoever joins opens all
// that it wants: without this those that were there before would have twice as many, and then no room for who comes last.
func (t *table) spareBeats(now time.Time) {
	switch {
	case t.neighbours() <= t.r.cfg.Neighbours+neighboursSpare:
		t.spareAt = time.Time{}
	case t.spareAt.IsZero():
		t.spareAt = now.Add(beatRetry + time.Duration(t.rng.Int64N(int64(beatRetry))))
	case !now.Before(t.spareAt):
		t.spareAt = time.Time{}
		if l := t.randomLink(func(l *link) bool { return l.beats != nil && l.beats.opened && l.beats.theirTopics != nil }); l != nil {
			t.endBeats(l, liveness.Released)
		}
	}
}

// beats says whether this node beats: it has published, does not leave, and its identity is its own.
func (t *table) beats() bool {
	return t.me.published && t.me.status != wire.Leaving && !t.me.conflict
}

func (r *Replica) openBeats(ctx context.Context, p peer.ID) {
	open, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, beatService), openTimeout)
	stream, err := r.host.NewStream(open, p, r.beatProtocol())
	cancel()
	admitted := false
	if stopped := r.do(ctx, func(t *table) {
		t.beatsOpening--
		admitted = err == nil && t.admitBeats(stream, true)
	}); stopped != nil || !admitted {
		if stream != nil {
			stream.Reset()
		}
		return
	}
	defer resetWith(ctx, stream)()
	r.runBeats(ctx, stream)
}

// serveBeats is the handler of beat streams that others open.
func (r *Replica) serveBeats(ctx context.Context, stream network.Stream) {
	admitted := false
	if err := r.do(ctx, func(t *table) { admitted = t.admitBeats(stream, false) }); err != nil || !admitted {
		r.counters.one(CountBeat, "refused")
		stream.Reset()
		return
	}
	r.runBeats(ctx, stream)
}

// admitBeats makes stream the beat stream of its link. When both sides opened one, that of the smaller owner stays.
func (t *table) admitBeats(stream network.Stream, opened bool) bool {
	l := t.link(stream.Conn().RemotePeer())
	if l == nil {
		return false
	}
	if l.beats != nil {
		oursStays := t.r.self.Compare(l.owner) < 0
		quiet := l.beats.late(time.Now()) // it may belong to a process that was
		if l.beats.opened == opened || l.beats.opened != oursStays || quiet {
			t.reset(l.beats.stream) // it is broken, or gives way; its end will not touch the new one
		} else {
			return false
		}
	} else if !opened && t.neighbours() >= t.r.cfg.Neighbours*neighboursMax/neighboursWanted {
		return false
	}
	if !t.beats() {
		return false
	}
	now := time.Now()
	l.beats = &beatLink{
		stream: stream, opened: opened, ourTopics: t.r.topics, heard: now, interval: t.me.interval,
		learnAt: now.Add(learnFirst), hurry: make(chan struct{}, 1), extra: newBucket(extraRate, extraBurst, now),
	}
	t.r.host.ConnManager().Protect(l.peer, beatService) // whom a connection manager cuts off looks lost
	return true
}

func (t *table) neighbours() int {
	n := 0
	for _, l := range t.links {
		if l.beats != nil {
			n++
		}
	}
	return n
}
