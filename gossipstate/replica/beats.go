package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	beatService = "p2pnode.beat"
	beatTimeout = 30 * time.Second // for one frame: three of the slowest beats

	maxUnknown = 16 // anchors asked for in one frame

	frameRate  = 10  // frames a second on one stream: twice the fastest beats
	frameBurst = 300 // at one time: what comes together when this node was stopped, for beatTimeout at most
)

// beatLink is a running beat stream with a neighbour.
type beatLink struct {
	stream      network.Stream
	opened      bool          // by this node
	ourTopics   []string      // in the order of our fingerprints
	theirTopics []string      // in the order of theirs; nil before their hello
	sent        wire.Anchor   // anchor of the last digest sent on it
	unknown     []uint32      // anchors to ask for in the next frame
	heard       time.Time     // when its last frame came
	agrees      bool          // its last fingerprints were ours
	differs     time.Time     // since when they are not; zero: they agree
	interval    time.Duration // of its beats, as signed

	port    multiaddr.Multiaddr // TCP address at which the neighbour has answered under its key; nil: none is known
	learnAt time.Time           // not before it, look for one
	knocked time.Time           // last knock there because a beat was late

	said    uint32            // newest own beat that went out on it, under sent
	probes  []wire.BeatProbe  // to ask in the next frame, at most wire.MaxFrameProbes
	answers []wire.BeatAnswer // to give in the next frame; with replies at most wire.MaxFrameProbes
	replies []wire.Beat       // answers that are beats
	hurry   chan struct{}     // holds a token while a frame is to go at once
	extra   *bucket           // of such frames
}

// late says whether a beat is overdue.
func (b *beatLink) late(now time.Time) bool { return now.Sub(b.heard) >= b.interval*3/2 }

// runBeats sends and takes beats until the stream breaks.
func (r *Replica) runBeats(ctx context.Context, stream network.Stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := stream.Conn().RemotePeer()
	err := r.exchangeBeats(ctx, cancel, stream)
	stream.Reset()
	if r.countFault(err) {
		r.counters.one(CountBeat, "malformed")
	}
	r.do(context.WithoutCancel(ctx), func(t *table) { t.beatsEnded(p, stream) })
}

func (r *Replica) exchangeBeats(ctx context.Context, cancel context.CancelFunc, stream network.Stream) error {
	framer, err := newFramer(stream, beatService, beatTimeout, func(direction string, n int) {
		r.counters.add(CountBeatBytes, direction, uint64(n))
	})
	if err != nil {
		return err
	}
	defer framer.release()
	sent := make(chan error, 1)
	go func() {
		defer cancel()
		sent <- r.sendBeats(ctx, framer)
	}()
	err = r.takeBeats(ctx, framer)
	stream.Reset()
	cancel()
	return errors.Join(err, <-sent)
}

// sendBeats sends a frame with each own beat when it is due, and between them what should not wait.
func (r *Replica) sendBeats(ctx context.Context, f *framer) error {
	hello := true
	for {
		var frame *wire.BeatFrame
		var next time.Duration
		var hurry <-chan struct{}
		if err := r.do(ctx, func(t *table) { frame, next, hurry = t.beatFrame(f.stream, hello, time.Now()) }); err != nil {
			return err
		}
		if frame == nil {
			return nil
		}
		if err := f.write(wire.MarshalBeatFrame(frame)); err != nil {
			return err
		}
		hello = false
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		case <-hurry:
		}
	}
}

// beatFrame is the next frame for the link that stream belongs to, how long until the one after it, and what makes that go
// sooner. Nil when the stream is not the link's any more.
func (t *table) beatFrame(stream network.Stream, hello bool, now time.Time) (*wire.BeatFrame, time.Duration, <-chan struct{}) {
	l := t.links[stream.Conn().RemotePeer()]
	if l == nil || l.beats == nil || l.beats.stream != stream || t.me.conflict {
		return nil, 0, nil
	}
	t.renewBeats(now)
	b := l.beats
	f := &wire.BeatFrame{Unknown: b.unknown}
	b.unknown = nil
	if hello {
		f.Hello = &wire.BeatHello{Salt: l.salt, Topics: b.ourTopics}
	}
	if anchor := t.me.chain.Anchor(); b.sent != anchor {
		_, signed, _ := t.members().state.Digest(t.r.self)
		f.Digest, b.sent, b.said = &signed, anchor, 0
	}
	k := t.me.beat(now)
	if own := k > b.said; own || hello {
		f.Fingerprints = t.fingerprints(l)
		if own {
			f.Beats = append(f.Beats, t.me.chain.Beat(k))
		}
		b.said = k
	}
	f.Beats = append(f.Beats, t.live.RelayTo(l.owner, now)...)
	replies := min(len(b.replies), wire.MaxFrameBeats-len(f.Beats))
	f.Beats = append(f.Beats, b.replies[:replies]...)
	f.Probes, f.Answers = b.probes, b.answers
	b.probes, b.answers, b.replies = nil, nil, b.replies[replies:]
	due := t.me.t0.Add(time.Duration(k+1) * t.me.interval).Add(t.turn(l))
	return f, max(time.Millisecond, due.Sub(now)), b.hurry
}

// fingerprints are those of this node's topics for l.
func (t *table) fingerprints(l *link) []uint64 {
	var all []uint64
	for _, topic := range l.beats.ourTopics {
		var fingerprint uint64 // 0 until their hello: it says nothing
		if slices.Contains(l.beats.theirTopics, topic) {
			fingerprint = t.sketch(l, t.topics[topic]).Fingerprint()
		}
		all = append(all, fingerprint)
	}
	return all
}

// renewBeats signs a new chain before the old one runs out.
func (t *table) renewBeats(now time.Time) {
	if t.me.chain.Left(t.me.beat(now)) > liveness.ReanchorLeft || t.me.conflict {
		return
	}
	old := t.me
	t.me.renewChain(t.r.self, now)
	if _, err := t.commit(t.members(), nil, now); err != nil {
		t.me.chain, t.me.t0 = old.chain, old.t0
		t.r.log.Warn("cannot renew the beat chain", "error", err)
	}
}

// takeBeats reads frames until the stream breaks or the neighbour breaks a rule.
func (r *Replica) takeBeats(ctx context.Context, f *framer) error {
	domain := wire.Domain{Network: r.cfg.Network, Topic: wire.Members}
	rate := newBucket(frameRate, frameBurst, time.Now())
	for {
		if !rate.take(time.Now()) {
			return fmt.Errorf("%w: over %d frames a second", wire.ErrTooLarge, frameRate)
		}
		var frame wire.BeatFrame
		err := f.read(func(b []byte) (err error) {
			frame, err = wire.UnmarshalBeatFrame(b)
			return err
		})
		if err != nil {
			return err
		}
		announced, err := r.announcement(domain, frame.Digest)
		if err != nil {
			return err
		}
		var fault error
		if err := r.do(ctx, func(t *table) { fault = t.takeBeatFrame(f.stream, &frame, announced, time.Now()) }); err != nil {
			return err
		}
		if fault != nil {
			return fault
		}
	}
}

// announcement is the update that says no more than digest; nil for nil.
func (r *Replica) announcement(domain wire.Domain, signed *wire.SignedDigest) (*wire.Verified, error) {
	if signed == nil {
		return nil, nil
	}
	digest, err := wire.UnmarshalDigest(signed.Digest)
	if err != nil {
		return nil, err
	}
	v, err := wire.Verify(domain, wire.Update{Signed: *signed, Digest: digest, Previous: digest.Version})
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// takeBeatFrame applies one frame of a neighbour.
func (t *table) takeBeatFrame(stream network.Stream, f *wire.BeatFrame, announced *wire.Verified, now time.Time) error {
	p := stream.Conn().RemotePeer()
	l := t.links[p]
	if l == nil || l.beats == nil || l.beats.stream != stream {
		return fmt.Errorf("beat stream of %s was replaced", p)
	}
	l.beats.heard = now
	if f.Hello != nil {
		if err := t.beatsBegin(l, f.Hello, now); err != nil {
			return err
		}
	} else if l.beats.theirTopics == nil {
		return fmt.Errorf("%w: beats before a hello", wire.ErrMalformed)
	}
	if announced != nil {
		if announced.Update().Digest.Owner != l.owner {
			return fmt.Errorf("%w: digest of another owner on a beat stream", wire.ErrMalformed)
		}
		l.beats.interval = announced.Update().Digest.BeatInterval
		// A root mismatch means that entries changed with the digest: they are pulled.
		_, _, _ = t.receive(t.members(), announced, arrival{from: p, path: "beat", heard: true, beat: beatUnder(announced, f.Beats)}, now)
	}
	for _, name := range f.Unknown {
		if name == t.me.chain.Anchor().Name() {
			l.beats.sent = wire.Anchor{} // the digest goes out again with the next beat
		}
	}
	t.compareFingerprints(l, f.Fingerprints, now)
	if err := t.takeBeatsOf(l, f.Beats, now); err != nil {
		return err
	}
	t.takeProbes(l, f.Probes, now)
	t.takeAnswers(l, f.Answers, now)
	return nil
}

// beatUnder is the first of beats that names the anchor of what was announced, nil when there is none.
func beatUnder(announced *wire.Verified, beats []wire.Beat) *wire.Beat {
	for i := range beats {
		if beats[i].Anchor == announced.Update().Digest.BeatAnchor.Name() {
			return &beats[i]
		}
	}
	return nil
}

// beatsBegin takes the neighbour's hello: both salts are known, so fingerprints can be kept.
func (t *table) beatsBegin(l *link, hello *wire.BeatHello, now time.Time) error {
	if l.beats.theirTopics != nil {
		return fmt.Errorf("%w: second hello", wire.ErrMalformed)
	}
	l.beats.theirTopics = append([]string{}, hello.Topics...)
	t.keyed(l, hello.Salt)
	t.live.NeighbourUp(l.owner, now)
	return nil
}

// compareFingerprints starts a sync when they have differed for longer than a rumor takes: for more than half a beat.
func (t *table) compareFingerprints(l *link, theirs []uint64, now time.Time) {
	b := l.beats
	if len(theirs) != len(b.theirTopics) {
		return
	}
	b.agrees = true
	for i, name := range b.theirTopics {
		tt := t.topics[name]
		// 0 was sent before the sender knew our salt: it says nothing.
		if tt != nil && theirs[i] != 0 && theirs[i] != t.sketch(l, tt).Fingerprint() {
			b.agrees = false
		}
	}
	switch {
	case b.agrees:
		b.differs = time.Time{}
		l.syncPause = 0 // the next difference is a new one
	case b.differs.IsZero():
		b.differs = now
	case now.Sub(b.differs) > b.interval/2:
		t.wantSync(l, now)
	}
}

// takeBeatsOf gives beats to the failure detector. A forged one of the neighbour itself ends the stream. One that it relays
// is counted: it may hold another digest of the owner than this node.
func (t *table) takeBeatsOf(l *link, beats []wire.Beat, now time.Time) error {
	own, _, _ := t.members().state.Digest(l.owner)
	for i := range beats {
		outcome, transitions, err := t.live.Beat(l.owner, beats[i], now)
		t.transitions(transitions)
		if err != nil {
			t.r.counters.one(CountBeat, "forged")
			if beats[i].Anchor == own.BeatAnchor.Name() {
				return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
			}
			continue
		}
		t.r.counters.one(CountBeat, strings.ReplaceAll(outcome.String(), " ", "_"))
		if outcome == liveness.UnknownAnchor && t.wakeByBeat(beats[i], now) {
			continue // from the next one on it counts
		}
		if outcome == liveness.UnknownAnchor && len(l.beats.unknown) < maxUnknown {
			l.beats.unknown = append(l.beats.unknown, beats[i].Anchor)
		}
	}
	return nil
}

// beatsEnded follows the end of a beat stream, unless another has taken its place.
func (t *table) beatsEnded(p peer.ID, stream network.Stream) {
	l := t.links[p]
	if l == nil || l.beats == nil || l.beats.stream != stream {
		return
	}
	t.neighbourLost(l)
}
