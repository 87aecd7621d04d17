package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestADifferenceThatNoRumorToldIsRepairedWithinAFewBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		quiet := withConfig(func(cfg *Config) { cfg.AntiEntropy = 10 * time.Minute }) // no backstop
		a, b := c.start(withoutRumors(), quiet), c.start(withoutRumors(), quiet)
		c.connect(b, a)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		for i := range 5 {
			for _, n := range c.nodes { // as syncs that found nothing leave it
				n.table(t, func(tb *table) {
					for _, l := range tb.links {
						l.syncPause = 10 * time.Minute
					}
				})
			}
			time.Sleep(time.Duration(10+i) * time.Second)
			a.set(t, "color", fmt.Sprint(i))
			within(t, 2500*time.Millisecond, "b has it", func() bool { return b.get(t, "color") == fmt.Sprint(i) })
		}
	})
}

// renewIn replaces the node's beat chain by one that has so many beats until it must be renewed.
func (n *node) renewIn(t *testing.T, beats uint32) {
	t.Helper()
	n.table(t, func(tb *table) {
		tb.me.chain = liveness.NewChain(n.self, tb.me.generation, [16]byte{7}, liveness.ReanchorLeft+beats)
		tb.me.t0 = time.Now()
		_, err := tb.commit(tb.members(), nil, time.Now())
		require.NoError(t, err)
	})
}

func TestANodeRenewsItsBeatChainAndStaysAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, far := c.start(), c.start(), c.start()
		c.line(a, b, far)
		within(t, 5*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		a.renewIn(t, 20)
		within(t, 5*time.Second, "all know the short chain", func() bool { return c.equal(c.nodes...) })
		short := a.digest(t, "members", a.self)
		within(t, 20*time.Second, "it is renewed", func() bool {
			return a.digest(t, "members", a.self).BeatAnchor != short.BeatAnchor
		})
		long := a.digest(t, "members", a.self)
		require.Equal(t, short.Generation, long.Generation)
		require.EqualValues(t, wire.MaxBeats, long.BeatLength)
		time.Sleep(30 * time.Second)
		for _, n := range []*node{b, far} {
			require.Equal(t, "alive", n.status(t, a))
			require.Zero(t, n.count(CountTransition, "suspect"))
			require.Zero(t, n.count(CountBeat, "forged"))
			require.Less(t, time.Since(n.member(t, a).Heard), 10*time.Second)
		}
	})
}

func TestANeighbourThatIsKilledDiesAndOneWhoseStreamBreaksDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, d := c.start(), c.start(), c.start()
		c.line(a, b, d)
		c.connect(a, d)
		time.Sleep(5 * time.Second)
		for range 5 {
			a.table(t, func(tb *table) {
				require.NotNil(t, tb.links[b.host.ID()].beats)
				tb.links[b.host.ID()].beats.stream.Reset()
			})
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, "alive", a.status(t, b))
		require.Equal(t, "alive", b.status(t, a))
		require.Zero(t, a.count(CountTransition, "suspect"))
		require.Zero(t, b.count(CountTransition, "suspect"))
		require.True(t, a.member(t, b).Neighbour, "a new stream took the place")
		b.crash()
		within(t, 10*time.Second, "b is dead", func() bool { return a.status(t, b) == "dead" && d.status(t, b) == "dead" })
		require.Equal(t, "alive", a.status(t, d))
	})
}

// On QUIC nothing tells that a process was killed, but its TCP port refuses.
func TestAKilledNeighbourWhoseConnectionHasNotNoticedIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start(withConfig(func(cfg *Config) { cfg.Liveness.Trusting = true }))
		b := c.start()
		c.connect(b, a)
		time.Sleep(5 * time.Second)
		b.crash()
		start := time.Now()
		within(t, 5*time.Second, "the beat is late", func() (late bool) {
			a.table(t, func(tb *table) { late = tb.links[b.host.ID()].beats.late(time.Now()) })
			return late
		})
		require.Equal(t, network.Connected, a.host.Network().Connectedness(b.host.ID()))
		a.table(t, func(tb *table) {
			l := tb.links[b.host.ID()]
			tb.refused(l, &beatLink{}, l.beats.heard)               // of a knock at another stream, since replaced
			tb.refused(l, l.beats, l.beats.heard.Add(-time.Second)) // a beat has come since
			require.NotNil(t, l.beats)
			tb.refused(l, l.beats, l.beats.heard)
		})
		require.Equal(t, "suspect", a.status(t, b))
		within(t, time.Second, "it is dead", func() bool { return a.status(t, b) == "dead" })
		require.Less(t, time.Since(start), 3*time.Second)
	})
}

// hello opens a beat stream by the rules.
func (p *rawPeer) hello(n *node) *rawStream {
	s := p.beats(n)
	s.beat(&wire.BeatFrame{
		Hello: &wire.BeatHello{Topics: []string{"members", "main"}}, Digest: new(p.update("members").Signed), Fingerprints: []uint64{0, 0},
	})
	return s
}

func (s *rawStream) beat(f *wire.BeatFrame) { s.sendBytes(wire.MarshalBeatFrame(f)) }

func TestForgedBeatsOfOthersDoNotEndTheStreamOfANeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		stream := s.p.hello(s.n)
		anchor := s.before["members"+s.ally.self.String()].BeatAnchor
		proof := s.heardOf(t, s.ally)
		forged := 0
		for k := uint32(1); forged < 1000; k++ { // 1000, beside its own good ones
			f := &wire.BeatFrame{Beats: []wire.Beat{s.p.chain.Beat(k)}}
			for range 200 {
				f.Beats = append(f.Beats, wire.Beat{Anchor: anchor.Name(), Index: 100 + uint32(forged), Preimage: [16]byte{1}})
				forged++
			}
			stream.beat(f)
			time.Sleep(time.Second)
		}
		within(t, time.Second, "all are counted", func() bool {
			return s.n.count(CountBeat, "forged")+s.n.count(CountBeat, "over_budget") >= 1000
		})
		require.NotZero(t, s.n.count(CountBeat, "forged"))
		require.NotZero(t, s.n.count(CountBeat, "fresh"))
		s.n.table(t, func(tb *table) { require.NotNil(t, tb.links[s.p.host.ID()].beats, "the stream goes on") })
		require.Less(t, s.heardOf(t, s.ally)-proof, uint32(20), "no forged beat counted")
		require.NoError(t, stream.Reset())
		s.withstood(t)
	})
}

// heardOf is the index of the newest beat that the besieged node knows of another.
func (s *siege) heardOf(t *testing.T, of *node) (index uint32) {
	s.n.table(t, func(tb *table) {
		proof, _ := tb.live.Proof(of.self)
		index = proof.Index
	})
	return index
}

func TestWhatBreaksTheRulesOfBeatsEndsTheStreamAndIsCounted(t *testing.T) {
	attacks := map[string]struct {
		reason string
		attack func(p *rawPeer, n *node) *rawStream
	}{
		"a forged beat of its own": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			s.beat(&wire.BeatFrame{Beats: []wire.Beat{{Anchor: p.chain.Anchor().Name(), Index: 1}}})
			return s
		}},
		"no hello": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.beats(n)
			s.beat(&wire.BeatFrame{Fingerprints: []uint64{1}})
			return s
		}},
		"a second hello": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			s.beat(&wire.BeatFrame{Hello: &wire.BeatHello{}})
			return s
		}},
		"a frame that is no protobuf": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			s.sendBytes([]byte{0xff, 0xff})
			return s
		}},
		"too many beats in one frame": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			s.beat(&wire.BeatFrame{Beats: make([]wire.Beat, wire.MaxFrameBeats+1)})
			return s
		}},
		"the digest of another owner": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			s.beat(&wire.BeatFrame{Digest: new(newAuthor(p.t).update("members").Signed)})
			return s
		}},
		"a digest with a forged signature": {"bad_signature", func(p *rawPeer, n *node) *rawStream {
			s, signed := p.beats(n), p.update("members").Signed
			signed.Signature[0] ^= 1
			s.beat(&wire.BeatFrame{Hello: &wire.BeatHello{}, Digest: &signed})
			return s
		}},
		"frames without end": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.hello(n)
			for range 3 * frameBurst {
				s.beat(&wire.BeatFrame{})
			}
			return s
		}},
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiege(t)
				s.p.join(s.n)
				a.attack(s.p, s.n).isReset(3 * time.Second)
				require.EqualValues(t, 1, s.n.count(CountDropped, a.reason))
				require.EqualValues(t, 1, s.n.count(CountBeat, "malformed"))
				s.withstood(t)
			})
		})
	}
}

// A process that crashed leaves a stream behind which its peer goes on to hold for alive. The next process takes its place.
func TestARestartedNeighbourIsNotHeldOffByItsOldStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start()
		old := c.start(withKey(newKeyAbove(t, a)))
		c.connect(old, a)
		time.Sleep(5 * time.Second)
		old.crash()
		a.table(t, func(tb *table) { tb.links[old.host.ID()].beats.opened = true }) // of two streams this one would stay
		fresh := c.start(withKey(old.key))
		c.connect(fresh, a)
		within(t, 10*time.Second, "its beats come", func() (beats bool) {
			a.table(t, func(tb *table) {
				l := tb.links[fresh.host.ID()]
				beats = l != nil && l.beats != nil && !l.beats.opened && !l.beats.late(time.Now())
			})
			return beats && a.status(t, fresh) == "alive"
		})
		suspected := a.count(CountTransition, "suspect")
		time.Sleep(30 * time.Second) // the old connection has been given up
		require.Equal(t, "alive", a.status(t, fresh))
		require.Equal(t, suspected, a.count(CountTransition, "suspect"))
		require.True(t, a.member(t, fresh).Neighbour)
	})
}

// newKeyAbove is a key whose owner comes after n.
func newKeyAbove(t *testing.T, n *node) crypto.PrivKey {
	t.Helper()
	for {
		if a := newAuthor(t); n.self.Compare(a.id) < 0 {
			return a.key
		}
	}
}
