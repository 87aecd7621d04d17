package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// beatFrames reads the frames of a beat stream until one fits, and returns that; it fails after a second.
func (s *rawStream) beatFrames(fits func(*wire.BeatFrame) bool) wire.BeatFrame {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(time.Second)))
	for {
		b, err := s.r.ReadMsg()
		require.NoError(s.t, err)
		f, err := wire.UnmarshalBeatFrame(b)
		require.NoError(s.t, err)
		if fits(&f) {
			return f
		}
	}
}

func (s *rawStream) ask(owner gossipstate.ID, anchor wire.Anchor, index uint32) {
	s.beat(&wire.BeatFrame{Probes: []wire.BeatProbe{{Owner: owner, Anchor: anchor.Name(), Index: index}}})
}

// answerOf reads frames until one answers about owner.
func (s *rawStream) answerOf(owner gossipstate.ID) wire.BeatAnswer {
	s.t.Helper()
	f := s.beatFrames(func(f *wire.BeatFrame) bool { return len(f.Answers) > 0 })
	require.Len(s.t, f.Answers, 1)
	require.Equal(s.t, owner, f.Answers[0].Owner)
	return f.Answers[0]
}

func TestAProbeIsAnsweredByANewerBeatOrADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		stream := s.p.hello(s.n)
		anchor := s.ally.digest(t, wire.Members, s.ally.self).BeatAnchor
		known := s.heardOf(t, s.ally)
		require.NotZero(t, known)

		stream.ask(s.ally.self, anchor, known-1)
		f := stream.beatFrames(func(f *wire.BeatFrame) bool {
			return len(f.Beats) > 0 && f.Beats[len(f.Beats)-1].Anchor == anchor.Name()
		})
		require.GreaterOrEqual(t, f.Beats[len(f.Beats)-1].Index, known)
		require.Empty(t, f.Answers, "the beat is the answer")
		require.Zero(t, s.n.count(CountProbe, "reached"))

		begun := time.Now()
		stream.ask(s.ally.self, anchor, wire.MaxBeats)
		require.True(t, stream.answerOf(s.ally.self).Reached)
		require.Less(t, time.Since(begun), liveness.ProbeTimeout/2)
		require.EqualValues(t, 1, s.n.count(CountProbe, "reached"))

		time.Sleep(liveness.ProbeTimeout)
		s.ally.crash()
		begun = time.Now()
		stream.ask(s.ally.self, anchor, wire.MaxBeats)
		require.False(t, stream.answerOf(s.ally.self).Reached)
		require.Less(t, time.Since(begun), liveness.ProbeTimeout, "it does not wait for the dial to end")
	})
}

func TestNobodyCanHaveANodeDialStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		stream := s.p.hello(s.n)
		stranger := newAuthor(t)
		for i, owner := range []gossipstate.ID{stranger.id, s.p.id, s.n.self, {}} {
			stream.ask(owner, wire.Anchor{}, 0)
			require.False(t, stream.answerOf(owner).Reached)
			require.EqualValues(t, i+1, s.n.count(CountProbe, "no_member"))
			time.Sleep(200 * time.Millisecond)
		}
		s.n.table(t, func(tb *table) { require.Empty(t, tb.dials) })
		require.Zero(t, s.n.count(CountProbe, "reached")+s.n.count(CountProbe, "unreachable"))
		require.NoError(t, stream.Reset())
		s.withstood(t)
	})
}

func TestANeighbourCannotHaveANodeDialWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		stream := s.p.hello(s.n)
		go func() { // the answers are read
			for {
				if _, err := stream.r.ReadMsg(); err != nil {
					return
				}
			}
		}()
		begun := time.Now()
		for k := range uint32(40) {
			var probes []wire.BeatProbe
			for range wire.MaxFrameProbes {
				probes = append(probes, wire.BeatProbe{Owner: s.ally.self, Index: wire.MaxBeats})
			}
			stream.beat(&wire.BeatFrame{Beats: []wire.Beat{s.p.chain.Beat(k + 1)}, Probes: probes})
			time.Sleep(200 * time.Millisecond)
		}
		seconds := time.Since(begun).Seconds()
		require.NotZero(t, s.n.count(CountProbe, "over_rate"))
		require.LessOrEqual(t, float64(s.n.count(CountProbe, "reached")), 1+seconds/dialAgain.Seconds(), "one dial for all who ask")
		require.Equal(t, "alive", s.n.status(t, s.ally))
		s.n.table(t, func(tb *table) {
			require.LessOrEqual(t, len(tb.dials), 1)
			b := tb.links[s.p.host.ID()].beats
			require.NotNil(t, b, "it is no fault")
			require.LessOrEqual(t, len(b.answers), wire.MaxFrameProbes)
		})
		require.NoError(t, stream.Reset())
		s.withstood(t)
		s.n.table(t, func(tb *table) { tb.forgetDials(time.Now().Add(time.Second)); require.Empty(t, tb.dials) })
	})
}

// A frame that cannot wait goes beside the own beats, but not so often that the neighbour must take it for an attack.
func TestUrgentFramesKeepToTheRateOfTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		stream := s.p.hello(s.n)
		frames, own := 0, 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				b, err := stream.r.ReadMsg()
				if err != nil {
					return
				}
				f, err := wire.UnmarshalBeatFrame(b)
				if err != nil {
					t.Errorf("a frame that does not decode: %v", err)
					return
				}
				frames++
				if len(f.Fingerprints) > 0 {
					own++
				}
			}
		}()
		within(t, time.Second, "beats run", func() (run bool) {
			s.n.table(t, func(tb *table) { run = tb.links[s.p.host.ID()].beats != nil })
			return run
		})
		for range 100 {
			s.n.table(t, func(tb *table) { tb.reply(tb.links[s.p.host.ID()], s.ally.self, nil, false) })
			time.Sleep(50 * time.Millisecond)
		}
		require.NoError(t, stream.Reset())
		<-done
		require.InDelta(t, 5/0.7, own, 2)
		require.InDelta(t, extraBurst+5*extraRate, frames-own, 3)
		require.Zero(t, s.n.count(CountProbe, "unanswered"))
	})
}

func TestWhatDialsShowIsJudged(t *testing.T) {
	type step struct {
		after time.Duration
		attempt
	}
	no, yes, refused := errors.New("no"), error(nil), fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	tests := map[string]struct {
		steps []step
		open  int
		tells int
		want  liveness.Answer
		took  time.Duration
	}{
		"no address":                     {nil, 0, 0, liveness.Unreachable, 0},
		"a port that refuses":            {[]step{{5 * time.Millisecond, attempt{true, refused}}}, 1, 1, liveness.PortRefused, 5 * time.Millisecond},
		"no answer at all":               {nil, 2, 1, liveness.Unreachable, dialTimeout},
		"refused, and QUIC silent":       {[]step{{10 * time.Millisecond, attempt{true, refused}}}, 2, 1, liveness.PortRefused, 50 * time.Millisecond},
		"refused, and QUIC in time":      {[]step{{10 * time.Millisecond, attempt{true, refused}}, {39 * time.Millisecond, attempt{false, yes}}}, 2, 1, liveness.Reached, 49 * time.Millisecond},
		"one TCP address of two refuses": {[]step{{time.Millisecond, attempt{true, refused}}, {99 * time.Millisecond, attempt{true, yes}}}, 2, 2, liveness.Reached, 100 * time.Millisecond},
		"one refuses and one is silent":  {[]step{{time.Millisecond, attempt{true, refused}}}, 2, 2, liveness.Unreachable, dialTimeout},
		"two refuse":                     {[]step{{time.Millisecond, attempt{true, refused}}, {9 * time.Millisecond, attempt{true, refused}}}, 2, 2, liveness.PortRefused, 10 * time.Millisecond},
		"where a refusal says nothing":   {[]step{{time.Millisecond, attempt{false, refused}}}, 1, 0, liveness.Unreachable, time.Millisecond},
		"the port refuses, and another host is silent": {
			[]step{{10 * time.Millisecond, attempt{true, refused}}}, 3, 1, liveness.PortRefused, 50 * time.Millisecond,
		},
		"another host refuses, and the port is silent": {
			[]step{{10 * time.Millisecond, attempt{false, refused}}}, 2, 1, liveness.Unreachable, dialTimeout,
		},
		"a stranger at the address": {[]step{{time.Millisecond, attempt{true, no}}}, 1, 1, liveness.Unreachable, time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), dialTimeout)
				defer cancel()
				results := make(chan attempt, test.open)
				go func() {
					for _, s := range test.steps {
						time.Sleep(s.after)
						results <- s.attempt
					}
				}()
				begun := time.Now()
				require.Equal(t, test.want, judgeAttempts(ctx, results, test.open, test.tells))
				require.Equal(t, test.took, time.Since(begun))
			})
		})
	}
}

// realReplica is one on a host that listens on a TCP port of this machine.
func realReplica(t *testing.T, change func(*Config)) (*Replica, host.Host) {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	cfg := DefaultConfig("test")
	change(&cfg)
	r, err := newReplica(h, nil, cfg)
	require.NoError(t, err)
	return r, h
}

func TestAHandshakeOverTCPReachesAndAClosedPortRefuses(t *testing.T) {
	r, _ := realReplica(t, func(*Config) {})
	_, other := realReplica(t, func(*Config) {})
	addrs := other.Addrs()
	require.Equal(t, liveness.Reached, r.reach(t.Context(), other.ID(), addrs, nil))
	require.Equal(t, liveness.Unreachable, r.reach(t.Context(), newPeerID(t), addrs, nil), "whoever listens there is another")
	require.Equal(t, addrs[0], r.listens(t.Context(), other.ID(), addrs))
	require.Nil(t, r.listens(t.Context(), newPeerID(t), addrs), "whoever listens there is another")
	require.False(t, refuses(t.Context(), addrs[0]))
	require.Equal(t, network.NotConnected, r.host.Network().Connectedness(other.ID()), "it leaves no connection")
	require.NoError(t, other.Close())
	require.True(t, refuses(t.Context(), addrs[0]))
	require.Nil(t, r.listens(t.Context(), other.ID(), addrs))
	require.Equal(t, liveness.PortRefused, r.reach(t.Context(), other.ID(), addrs, nil))
	require.Equal(t, liveness.PortRefused, r.reach(t.Context(), other.ID(), nil, addrs[0]))
	require.Equal(t, liveness.Unreachable, r.reach(t.Context(), other.ID(), nil, nil))
}

func TestARefusalTellsOnlyWhereTheMemberListened(t *testing.T) {
	addrs := func(all ...string) (out []multiaddr.Multiaddr) {
		for _, s := range all {
			out = append(out, multiaddr.StringCast(s))
		}
		return out
	}
	bridge, lan, quic := "/ip4/172.17.0.1/tcp/4001", "/ip4/192.0.2.7/tcp/4001", "/ip4/192.0.2.7/udp/4001/quic-v1"
	for name, test := range map[string]struct {
		addrs []multiaddr.Multiaddr
		port  string
		tell  []multiaddr.Multiaddr
	}{
		"the port is known":                   {addrs(bridge, lan, quic), lan, addrs(lan)},
		"it is not, so all must refuse":       {addrs(bridge, lan, quic), "", addrs(bridge, lan)},
		"a host without a TCP port cannot":    {addrs(bridge, quic), "", nil},
		"a name is a host, too":               {addrs(lan, "/dns4/a.example/udp/1/quic-v1"), "", nil},
		"the port is not among the addresses": {addrs(quic), lan, addrs(lan)},
		"there is no address":                 {nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var port multiaddr.Multiaddr
			if test.port != "" {
				port = multiaddr.StringCast(test.port)
			}
			require.Equal(t, test.tell, telling(test.addrs, port))
		})
	}
}

// idleTable is the table of a replica that does not run: the test takes its commands.
func idleTable(t *testing.T, r *Replica) *table {
	t.Helper()
	tb, err := newTable(r)
	require.NoError(t, err)
	tb.tasks = newTasks(t.Context())
	t.Cleanup(tb.tasks.end)
	return tb
}

// A container bridge has the same address on every machine, where nobody listens on the neighbour's port: that is no news when
// its beat is late.
func TestALateNeighbourIsKnockedUpOnlyWhereItListened(t *testing.T) {
	r, _ := realReplica(t, func(*Config) {})
	_, other := realReplica(t, func(*Config) {})
	bridge := multiaddr.StringCast(strings.Replace(other.Addrs()[0].String(), "127.0.0.1", "127.0.0.2", 1))
	r.host.Peerstore().AddAddrs(other.ID(), []multiaddr.Multiaddr{bridge, other.Addrs()[0]}, time.Hour)
	tb := idleTable(t, r)
	l := tb.link(other.ID())
	begun := time.Now()
	beats := &beatLink{stream: stuckStream{}, interval: 700 * time.Millisecond, heard: begun, learnAt: begun.Add(learnFirst)}
	l.beats = beats
	late := begun.Add(beats.interval * 5 / 4)
	tb.knockLate(late)
	require.Zero(t, beats.knocked, "where it listens is not known")

	tb.learnPorts(begun)
	require.Equal(t, begun.Add(learnFirst), beats.learnAt, "not yet")
	beats.heard = begun.Add(learnFirst)
	tb.learnPorts(begun.Add(learnFirst))
	(<-r.commands)(tb)
	require.Equal(t, other.Addrs()[0], beats.port)
	tb.learnPorts(begun.Add(time.Hour))
	require.Equal(t, begun.Add(learnFirst+learnAgain), beats.learnAt, "once is enough")

	late = beats.heard.Add(beats.interval * 5 / 4)
	tb.knockLate(late.Add(-time.Millisecond))
	require.Zero(t, beats.knocked, "it is not late")
	require.NoError(t, other.Close())
	tb.knockLate(late)
	told := <-r.commands
	beats.heard = late
	told(tb)
	require.Equal(t, beats, l.beats, "a beat came meanwhile")
	tb.knockLate(late.Add(beats.interval))
	require.Equal(t, late, beats.knocked, "not at every tick")
	tb.knockLate(late.Add(2 * beats.interval))
	(<-r.commands)(tb)
	require.Nil(t, l.beats)
}

// stuckStream is one whose peer reads nothing, so that even a reset waits.
type stuckStream struct {
	network.Stream
	ended chan struct{} // nil: for ever, but for the test's end
}

func (s stuckStream) Reset() error {
	if s.ended != nil {
		<-s.ended
	}
	return nil
}

func TestAPeerThatReadsNothingDoesNotHoldUpTheTable(t *testing.T) {
	r, _ := realReplica(t, func(*Config) {})
	tb := idleTable(t, r)
	l := tb.link(newPeerID(t))
	stream := stuckStream{ended: make(chan struct{})}
	l.beats = &beatLink{stream: stream}
	tb.endBeats(l, liveness.ConnectionLost) // else it hangs here
	require.Nil(t, l.beats)
	close(stream.ended)
}

// forbidding lets nothing be dialled.
type forbidding struct{}

func (forbidding) InterceptPeerDial(peer.ID) bool                      { return true }
func (forbidding) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return false }
func (forbidding) InterceptAccept(network.ConnMultiaddrs) bool         { return true }
func (forbidding) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}
func (forbidding) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

func TestTheGaterOfTheHostIsAsked(t *testing.T) {
	r, _ := realReplica(t, func(cfg *Config) { cfg.Gater = forbidding{} })
	_, other := realReplica(t, func(*Config) {})
	require.Empty(t, r.dialable(other.ID(), other.Addrs()))
}

func TestOnlyDirectAddressesOfThePeerAreDialled(t *testing.T) {
	r, _ := realReplica(t, func(*Config) {})
	p, q := newPeerID(t), newPeerID(t)
	var addrs []multiaddr.Multiaddr
	for _, s := range []string{
		"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1/p2p/" + p.String(), "/ip4/192.0.2.2/tcp/1/p2p/" + q.String(),
		"/ip4/192.0.2.3/tcp/1/p2p/" + q.String() + "/p2p-circuit", "/p2p/" + p.String(),
	} {
		addrs = append(addrs, multiaddr.StringCast(s))
	}
	require.Equal(t, addrs[:1], r.dialable(p, addrs))
	udp := multiaddr.StringCast("/ip4/192.0.2.1/udp/1/quic-v1")
	addrs = append(addrs, multiaddr.StringCast("/ip4/192.0.2.1/tcp/2"), udp, multiaddr.StringCast("/ip4/192.0.2.1/udp/2/quic-v1"))
	require.Equal(t, []multiaddr.Multiaddr{addrs[0], udp}, r.dialable(p, addrs), "of one host, one by TCP and one by UDP")
	for i := range 20 {
		addrs = append(addrs, multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", i+9)))
	}
	require.Len(t, r.dialable(p, addrs), maxDialAddrs)
}

// A peer that listens on the same port of every interface tells its loopback address: at this node that leads to itself.
func TestOwnAddressesOfTheHostLeadToNoPeer(t *testing.T) {
	r, own := realReplica(t, func(*Config) {})
	elsewhere := multiaddr.StringCast("/ip4/192.0.2.1/tcp/1")
	require.NotEmpty(t, own.Addrs())
	require.Equal(t, []multiaddr.Multiaddr{elsewhere}, r.dialable(newPeerID(t), append(own.Addrs(), elsewhere)))
}

// Neighbours that come and go have a new allowance each time; what they may have dialled together has a bound of its own.
func TestNeighboursTogetherCannotHaveANodeDialWithoutEnd(t *testing.T) {
	r, _ := realReplica(t, func(*Config) {})
	tb := idleTable(t, r)
	told := 0
	ask := func(asked bool) bool {
		owner, err := OwnerOf(newPeerID(t))
		require.NoError(t, err)
		if !tb.dial(owner, nil, asked, waiter{time.Now().Add(time.Hour), func(liveness.Answer, time.Time) { told++ }}, time.Now()) {
			return false
		}
		(<-r.commands)(tb)
		return true
	}
	tb.dialsForOthers = newBucket(0, othersBurst, time.Now())
	for range othersBurst {
		require.True(t, ask(true))
	}
	require.False(t, ask(true))
	require.True(t, ask(false), "its own concern is another matter")
	require.Equal(t, othersBurst+1, told)
}

func newPeerID(t *testing.T) peer.ID {
	t.Helper()
	id, err := peer.IDFromPrivateKey(newKey(t))
	require.NoError(t, err)
	return id
}

func TestTheAddressesThatAMemberHasSignedAreDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, far := c.start(), c.start(), c.start()
		c.line(a, b, far)
		rec := &peer.PeerRecord{PeerID: far.host.ID(), Addrs: far.host.Addrs(), Seq: 1}
		envelope, err := record.Seal(rec, far.key)
		require.NoError(t, err)
		signed, err := envelope.Marshal()
		require.NoError(t, err)
		<-far.Ready()
		require.NoError(t, far.Describe(t.Context(), Description{Name: "far", Addrs: signed}))
		<-b.Ready()
		require.NoError(t, b.Describe(t.Context(), Description{Addrs: signed}), "it says where another is")
		within(t, 5*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		a.table(t, func(tb *table) {
			require.Equal(t, far.host.Addrs(), tb.addrsOf(far.self))
			require.Nil(t, tb.addrsOf(b.self), "that is not its to say")
			require.Nil(t, tb.addrsOf(a.self))
			require.Equal(t, "far", tb.nameOf(far.self))
		})
		a.host.Peerstore().ClearAddrs(far.host.ID())
		require.Equal(t, network.NotConnected, a.host.Network().Connectedness(far.host.ID()))
		answers := make(chan liveness.Answer, 1)
		a.table(t, func(tb *table) {
			now := time.Now()
			require.True(t, tb.dial(far.self, nil, false, waiter{now.Add(time.Second), func(answer liveness.Answer, _ time.Time) { answers <- answer }}, now))
		})
		require.Equal(t, liveness.Reached, <-answers)

		far.table(t, func(tb *table) { // by hand: it is told not to
			long := []gossipstate.Mutation{{Key: keyName, Value: make([]byte, maxName+1)}, {Key: keyAddrs, Value: make([]byte, maxAddrs+1)}}
			_, err := tb.commit(tb.members(), long, time.Now())
			require.NoError(t, err)
		})
		within(t, 5*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		a.table(t, func(tb *table) {
			require.Nil(t, tb.addrsOf(far.self), "nobody has to read so much")
			require.Empty(t, tb.nameOf(far.self))
		})
	})
}
