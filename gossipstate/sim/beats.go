package sim

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	beatTimeout = 30 * time.Second // for one frame: three of the slowest beats

	neighboursWanted = 4 // beat streams that a node opens until it has so many
	neighboursMax    = 8 // beat streams that it keeps when others open them
	neighboursSpare  = 1 // above those that it wants, beat streams that it keeps of those that it opened
	beatRetry        = 3 * time.Second

	maxUnknown = 16 // anchors asked for in one frame

	frameRate  = 10 // frames a second on one stream
	frameBurst = 20 // at one time: what the network may have held back
)

// beatLink is a running beat stream with a neighbour, at one of its sides.
type beatLink struct {
	p        *process
	link     *link
	stream   *stream
	opened   bool          // by this node
	hello    bool          // theirs has come
	greeted  bool          // ours has gone
	sent     wire.Anchor   // anchor of the last digest sent on it
	unknown  []uint32      // anchors to ask for in the next frame
	rate     *bucket       // of its frames
	heard    time.Time     // when its last frame came
	agrees   bool          // its last fingerprints were ours
	differs  time.Time     // since when they are not; zero: they agree
	interval time.Duration // of its beats, as signed

	said    uint32            // newest own beat that went out on it, under sent
	probes  []wire.BeatProbe  // to ask in the next frame, at most wire.MaxFrameProbes
	answers []wire.BeatAnswer // to give in the next frame; with replies at most wire.MaxFrameProbes
	replies []wire.Beat       // answers that are beats
	extra   *bucket           // of frames that are sent sooner than the next beat
}

// late says whether a beat is overdue.
func (b *beatLink) late(now time.Time) bool { return now.Sub(b.heard) >= b.interval*3/2 }

// openBeats opens beat streams while there are too few.
func (p *process) openBeats(now time.Time) {
	if !p.takesPart() {
		return
	}
	for running := p.neighbours(); running < neighboursWanted; running++ {
		l := p.randomLink(func(l *link) bool { return l.beats == nil && !l.peer.follows && !now.Before(l.beatsAt) })
		if l == nil {
			return
		}
		l.beatsAt = now.Add(beatRetry + time.Duration(p.rng.Int64N(int64(beatRetry))))
		b := p.newBeatLink(l, true)
		b.stream = l.open(b, (*process).serveBeats)
		p.sendBeat(l, now)
	}
}

// spareBeats gives up a beat stream that this node opened, now and then, while others have opened enough.
func (p *process) spareBeats(now time.Time) {
	switch {
	case p.neighbours() <= neighboursWanted+neighboursSpare:
		p.spareAt = time.Time{}
	case p.spareAt.IsZero():
		p.spareAt = now.Add(beatRetry + time.Duration(p.rng.Int64N(int64(beatRetry))))
	case !now.Before(p.spareAt):
		p.spareAt = time.Time{}
		if l := p.randomLink(func(l *link) bool { return l.beats != nil && l.beats.opened && l.beats.hello }); l != nil {
			p.endBeats(l, liveness.Released)
		}
	}
}

// takesPart says whether this node beats: it has published, does not leave, and its identity is its own.
func (p *process) takesPart() bool {
	return p.me.published && p.me.status != wire.Leaving && !p.me.conflict
}

func (p *process) newBeatLink(l *link, opened bool) *beatLink {
	now := p.s.now()
	l.beats = &beatLink{
		p: p, link: l, opened: opened, rate: newBucket(frameRate, frameBurst, now), heard: now, interval: p.me.interval,
		extra: newBucket(extraRate, extraBurst, now),
	}
	return l.beats
}

// serveBeats takes a beat stream that the other side opened, if it is admitted. When both sides opened one, that of the
// smaller owner stays.
func (p *process) serveBeats(st *stream) receiver {
	l := st.linkOf(p)
	switch {
	case !p.has(l) || !p.takesPart():
		return nil
	case l.beats == nil && p.neighbours() >= neighboursMax:
		return nil
	case l.beats != nil:
		// One that is quiet may belong to a process that was.
		if oursStays := p.node.id.Compare(l.owner) < 0; l.beats.opened && oursStays && !l.beats.late(p.s.now()) {
			return nil
		}
		l.beats.stream.reset(l.side)
	}
	b := p.newBeatLink(l, false)
	b.stream = st
	p.s.after(0, p, func() {
		if l.beats == b {
			p.sendBeat(l, p.s.now())
		}
	})
	return b
}

func (p *process) neighbours() int {
	n := 0
	for _, l := range p.links {
		if l != nil && l.beats != nil {
			n++
		}
	}
	return n
}

// scheduleBeats has the next own beat go to every neighbour when it is due.
func (p *process) scheduleBeats(now time.Time) {
	next := p.me.t0.Add(time.Duration(p.me.beat(now)+1) * p.me.interval).Sub(now)
	if next <= 0 {
		next = p.me.interval // the chain has run out: it may not be renewed
	}
	p.s.after(next, p, func() {
		now := p.s.now()
		for _, l := range p.links {
			if l != nil && l.beats != nil {
				p.sendBeat(l, now)
			}
		}
		p.renewBeats(now)
		p.scheduleBeats(now)
	})
}

// sendBeat sends the next frame to one neighbour.
func (p *process) sendBeat(l *link, now time.Time) {
	p.renewBeats(now)
	b := l.beats
	f := &wire.BeatFrame{Unknown: b.unknown}
	b.unknown = nil
	if !b.greeted {
		f.Hello = &wire.BeatHello{Salt: l.salt, Topics: topicNames[:]}
		b.greeted = true
	}
	if anchor := p.me.chain.Anchor(); b.sent != anchor {
		_, signed, _ := p.topic[members].state.Digest(p.node.id)
		f.Digest, b.sent, b.said = &signed, anchor, 0
	}
	k := p.me.beat(now)
	if own := k > b.said; own || f.Hello != nil {
		f.Fingerprints = p.fingerprints(l)
		if own {
			f.Beats = append(f.Beats, p.me.chain.Beat(k))
		}
		b.said = k
	}
	f.Beats = append(f.Beats, p.live.RelayTo(l.owner, now)...)
	replies := min(len(b.replies), wire.MaxFrameBeats-len(f.Beats))
	f.Beats = append(f.Beats, b.replies[:replies]...)
	f.Probes, f.Answers = b.probes, b.answers
	b.probes, b.answers, b.replies = nil, nil, b.replies[replies:]
	if p.node.replays {
		f.Beats = p.addOld(f.Beats)
	}
	n := b.stream.send(l.side, f, len(wire.MarshalBeatFrame(f)))
	p.node.Beats++
	p.node.BeatBytes += uint64(n)
}

// fingerprints are those of this node's topics for l.
func (p *process) fingerprints(l *link) []uint64 {
	all := make([]uint64, topics) // 0 until their hello: it says nothing
	if l.beats.hello {
		for i := range all {
			all[i] = p.sketch(l, i).Fingerprint()
		}
	}
	return all
}

const (
	replayed = 8    // old beats in each frame of who replays them
	maxOld   = 4096 // that it remembers
)

// addOld puts some of the beats that came beside those that are sent.
func (p *process) addOld(beats []wire.Beat) []wire.Beat {
	for range min(replayed, wire.MaxFrameBeats-len(beats)) {
		if len(p.old) > 0 {
			beats = append(beats, p.old[p.rng.IntN(len(p.old))])
		}
	}
	return beats
}

// keep remembers beats to replay.
func (p *process) keep(beats []wire.Beat) {
	for _, b := range beats {
		if len(p.old) < maxOld {
			p.old = append(p.old, b)
		} else {
			p.old[p.rng.IntN(maxOld)] = b
		}
	}
}

// renewBeats signs a new chain before the old one runs out.
func (p *process) renewBeats(now time.Time) {
	if p.me.chain.Left(p.me.beat(now)) > liveness.ReanchorLeft || p.me.conflict {
		return
	}
	p.renewChain(now)
	p.commitOwn(p.topic[members], nil, now)
}

// receive implements receiver: one frame of a neighbour.
func (b *beatLink) receive(frame any) {
	f, p, l := frame.(*wire.BeatFrame), b.p, b.link
	if l.beats != b {
		return
	}
	now := p.s.now()
	if !b.rate.take(now) {
		p.neighbourLost(l)
		return
	}
	b.heard = now
	if f.Hello != nil {
		b.begin(f.Hello, now)
	}
	if f.Digest != nil && !b.announced(f.Digest, now) {
		return
	}
	for _, name := range f.Unknown {
		if name == p.me.chain.Anchor().Name() {
			b.sent = wire.Anchor{} // the digest goes out again with the next beat
		}
	}
	b.compare(f.Fingerprints, now)
	b.takeBeats(f.Beats, now)
	p.takeProbes(l, f.Probes, now)
	p.takeAnswers(l, f.Answers, now)
}

// ended implements receiver.
func (b *beatLink) ended(bool) {
	if b.link.beats == b {
		b.p.neighbourLost(b.link)
	}
}

// begin takes the neighbour's hello: both salts are known, so fingerprints can be kept.
func (b *beatLink) begin(hello *wire.BeatHello, now time.Time) {
	l := b.link
	b.hello = true
	l.key = reconcile.LinkKey(b.p.node.id, l.salt, l.owner, hello.Salt)
	b.p.live.NeighbourUp(l.owner, now)
}

// announced takes the digest that comes before the first beat under its anchor.
func (b *beatLink) announced(signed *wire.SignedDigest, now time.Time) bool {
	t := b.p.topic[members]
	digest, err := wire.UnmarshalDigest(signed.Digest)
	if err == nil {
		var v *wire.Verified
		if v, err = b.p.s.verify(t, &wire.Update{Signed: *signed, Digest: digest, Previous: digest.Version}); err == nil {
			b.interval = digest.BeatInterval
			// A root mismatch means that entries changed with the digest: they are pulled.
			_, _, _ = b.p.receive(t, v, arrival{from: b.link, by: byBeat, heard: true}, now)
			return true
		}
	}
	b.p.s.fail("node %d announced a digest that does not verify: %v", b.link.peer.index, err)
	return false
}

// compare starts a sync when fingerprints have differed for longer than a rumor takes: for more than half a beat.
func (b *beatLink) compare(theirs []uint64, now time.Time) {
	if len(theirs) != topics {
		return // a frame without a beat
	}
	b.agrees = true
	for i := range theirs {
		if theirs[i] != 0 && theirs[i] != b.p.sketch(b.link, i).Fingerprint() {
			b.agrees = false
		}
	}
	switch {
	case b.agrees:
		b.differs = time.Time{}
		b.link.syncPause = 0 // the next difference is a new one
	case b.differs.IsZero():
		b.differs = now
	case now.Sub(b.differs) > b.interval/2:
		b.p.wantSync(b.link, now)
	}
}

// takeBeats gives beats to the failure detector.
func (b *beatLink) takeBeats(beats []wire.Beat, now time.Time) {
	if b.p.node.replays {
		b.p.keep(beats)
	}
	for i := range beats {
		outcome, transitions, err := b.p.live.Beat(b.link.owner, beats[i], now)
		b.p.transitions(transitions)
		if err != nil {
			b.p.node.BeatsForged++
		}
		if outcome == liveness.UnknownAnchor && len(b.unknown) < maxUnknown {
			b.unknown = append(b.unknown, beats[i].Anchor)
		}
	}
}
