package replica

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// siege is a node under attack and one that sees only what comes of it.
type siege struct {
	*cluster
	n, ally *node
	p       *rawPeer
	before  map[string]gossipstate.Digest
}

// besiege starts two nodes that agree, and a hostile peer that is connected to one of them.
func besiege(t *testing.T) *siege {
	t.Helper()
	c := newCluster(t)
	s := &siege{cluster: c, n: c.start(), ally: c.start(), p: c.raw()}
	s.connect(s.ally, s.n)
	s.n.set(t, "color", "teal")
	s.ally.set(t, "shape", "round")
	within(t, 5*time.Second, "both agree", func() bool { return s.equal(s.n, s.ally) })
	time.Sleep(3 * time.Second) // beats run
	s.dial(s.p.host, s.n.host)
	s.before = map[string]gossipstate.Digest{}
	for _, topic := range []string{"members", "main"} {
		for _, owner := range []gossipstate.ID{s.n.self, s.ally.self} {
			s.before[topic+owner.String()] = s.held(t, topic, owner)
		}
	}
	return s
}

// held is the digest that the node holds of an owner, but for whom that accuses: the peer may have fallen silent.
func (s *siege) held(t *testing.T, topic string, owner gossipstate.ID) gossipstate.Digest {
	t.Helper()
	d := s.n.digest(t, topic, owner)
	if topic != wire.Members {
		return d
	}
	d.Version, d.Root, d.Bytes = 0, gossipstate.Root{}, 0
	s.n.table(t, func(tb *table) {
		if tb.members().state.GetOwned(owner, liveness.SuspectsKey).Entry != nil {
			d.Entries--
		}
	})
	return d
}

// withstood checks that the node's state is as it was, that it answers at once, and that the attack has left nothing.
func (s *siege) withstood(t *testing.T) {
	t.Helper()
	for _, topic := range []string{"members", "main"} {
		for _, owner := range []gossipstate.ID{s.n.self, s.ally.self} {
			require.Equal(t, s.before[topic+owner.String()], s.held(t, topic, owner))
		}
	}
	start := time.Now()
	s.n.set(t, "after", "the attack")
	require.Less(t, time.Since(start), 100*time.Millisecond)
	within(t, 3*time.Second, "both agree", func() bool { return s.ally.get(t, "after") == "the attack" && s.equal(s.n, s.ally) })
	require.Equal(t, "teal", s.ally.get(t, "color"))
	require.Equal(t, "round", s.n.get(t, "shape"))
	require.Equal(t, "alive", s.n.status(t, s.ally))
	require.Equal(t, "alive", s.ally.status(t, s.n))
	require.NoError(t, s.p.host.Close())
	within(t, 5*time.Second, "nothing is left of the peer", func() (clean bool) {
		s.n.table(t, func(tb *table) { clean = tb.links[s.p.host.ID()] == nil && tb.syncsServed == 0 && len(tb.links) == 1 })
		return clean
	})
}

func items(n int) []wire.Item {
	all := make([]wire.Item, n)
	for i := range all {
		binary.BigEndian.PutUint32(all[i].Owner[:], uint32(i+1))
		all[i].Generation, all[i].Version = 1, 1
	}
	return all
}

func TestWhatBreaksTheRulesOfSyncEndsTheStreamAndIsCounted(t *testing.T) {
	itemsFrame := func(more bool, all ...wire.Item) *wire.SyncFrame {
		return &wire.SyncFrame{Items: &wire.SyncItems{Topic: "main", Items: all, More: more}}
	}
	attacks := map[string]struct {
		reason string
		attack func(p *rawPeer, n *node) *rawStream
	}{
		"a frame that is no protobuf": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.sendBytes(bytes.Repeat([]byte{0xff}, 100))
			return s
		}},
		"an empty frame": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.sendBytes(nil)
			return s
		}},
		"a frame over the limit": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.sendBytes(make([]byte, wire.MaxFrame+1))
			return s
		}},
		"a length without end": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			_, _ = s.Write(bytes.Repeat([]byte{0x80}, 20))
			return s
		}},
		"no hello": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.stream(n, "sync")
			s.send(wantEverything(n))
			return s
		}},
		"a second hello": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Hello: &wire.SyncHello{}})
			return s
		}},
		"a hello with 65 topics": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s, hello := p.stream(n, "sync"), &wire.SyncHello{}
			for i := range wire.MaxTopics + 1 {
				hello.Topics = append(hello.Topics, wire.SyncSummary{Topic: fmt.Sprint("t", i)})
			}
			s.send(&wire.SyncFrame{Hello: hello})
			return s
		}},
		"a hello with more owners than there may be": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.stream(n, "sync")
			s.send(&wire.SyncFrame{Hello: &wire.SyncHello{Topics: []wire.SyncSummary{{Topic: "main", Owners: wire.MaxOwners + 1}}}})
			return s
		}},
		"an ask for a topic that was not greeted": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.stream(n, "sync")
			s.send(&wire.SyncFrame{Hello: &wire.SyncHello{Topics: []wire.SyncSummary{{Topic: "members"}}}})
			s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main", Cells: 8}})
			return s
		}},
		"an ask for too few cells": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main", Cells: 1}})
			return s
		}},
		"an ask for cells without end": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main", Cells: 1<<32 - 1}})
			return s
		}},
		"lists of hashes without end": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			for range maxRequests + 1 {
				s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main"}})
			}
			return s
		}},
		"a list that is partial at first": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s, all := p.greeted(n), items(2)
			s.send(&wire.SyncFrame{Items: &wire.SyncItems{Topic: "main", Items: all[:1], More: true, Partial: true}})
			s.send(itemsFrame(false, all[1]))
			return s
		}},
		"an update before its turn": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "members", Update: p.update("members")}})
			return s
		}},
		"done before its turn": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Done: true})
			return s
		}},
		"wants in the place of updates": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.exchange(n, "main")
			s.send(wantEverything(n))
			return s
		}},
		"an update of another topic than the one at hand": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.exchange(n, "main")
			s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "members", Update: p.update("members")}})
			return s
		}},
		"a topic that the node is not on": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: "other"}})
			return s
		}},
		"items out of order": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s, all := p.greeted(n), items(2)
			s.send(itemsFrame(false, all[1], all[0]))
			return s
		}},
		"an item twice": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s, all := p.greeted(n), items(1)
			s.send(itemsFrame(true, all[0]))
			s.send(itemsFrame(false, all[0]))
			return s
		}},
		"more items than there may be owners": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s, all := p.greeted(n), items(wire.MaxOwners+1)
			for len(all) > 0 {
				k := min(len(all), wire.MaxFrameItems)
				s.send(itemsFrame(true, all[:k]...))
				all = all[k:]
			}
			return s
		}},
		"frames of no items without end": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			s.send(itemsFrame(true))
			return s
		}},
		"a want twice": {"malformed", func(p *rawPeer, n *node) *rawStream {
			s, f := p.greeted(n), wantEverything(n)
			f.Wants.Wants = append(f.Wants.Wants, f.Wants.Wants...)
			s.send(f)
			return s
		}},
		"requests without end": {"too_large", func(p *rawPeer, n *node) *rawStream {
			s := p.greeted(n)
			for range maxRequests + 1 {
				s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: "main"}})
			}
			return s
		}},
		"an update signed by a stranger": {"bad_signature", func(p *rawPeer, n *node) *rawStream {
			u := p.update("members")
			u.Signed.Signature = newAuthor(p.t).update("members").Signed.Signature
			return p.push(n, "members", u)
		}},
		"an update of this node by a stranger": {"bad_signature", func(p *rawPeer, n *node) *rawStream {
			forger := newAuthor(p.t)
			forger.id, forger.self.ID = n.self, n.self
			forger.self.Generation += 1 << 40
			forger.write(p.t, "members")
			return p.push(n, "members", forger.update("members"))
		}},
		"an update with a value over the limit": {"too_large", func(p *rawPeer, n *node) *rawStream {
			p.set(p.t, "k", "v")
			u := p.update("main")
			u.Entries[0].Value = make([]byte, wire.MaxValue+1)
			return p.push(n, "main", u)
		}},
		"a root that is not that of the entries": {"root_mismatch", func(p *rawPeer, n *node) *rawStream {
			p.join(n)
			p.set(p.t, "k", "v")
			u := p.update("main")
			u.Entries[0].Value = []byte("w")
			s := p.push(n, "main", u)
			s.send(&wire.SyncFrame{Done: true})
			s.send(wantEverything(n)) // its sender may not know better: the session goes on
			require.NotNil(p.t, s.receive().Update)
			require.NoError(p.t, s.Reset())
			return nil
		}},
		"an update of an owner that is no member": {"owner_unknown", func(p *rawPeer, n *node) *rawStream {
			p.set(p.t, "k", "v")
			p.push(n, "main", p.update("main")).send(&wire.SyncFrame{Done: true})
			return nil
		}},
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiege(t)
				if stream := a.attack(s.p, s.n); stream != nil {
					stream.isReset(3 * time.Second)
				}
				within(t, time.Second, "it is counted", func() bool { return s.n.count(CountDropped, a.reason) == 1 })
				s.withstood(t)
			})
		})
	}
}

func TestAnAnswerThatBreaksTheRulesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.serve(s.n, func(stream *rawStream) {
			stream.receive()
			stream.send(&wire.SyncFrame{Done: true})
		})
		within(t, 5*time.Second, "it is counted", func() bool {
			return s.n.count(CountDropped, "malformed") > 0 && s.n.count(CountSync, "faulty") > 0
		})
		s.withstood(t)
	})
}

func TestWantsOfUnknownOwnersAreAnsweredWithNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		stream := s.p.greeted(s.n)
		f := &wire.SyncFrame{Wants: &wire.SyncWants{Topic: "main"}}
		for _, it := range items(wire.MaxFrameItems) {
			f.Wants.Wants = append(f.Wants.Wants, wire.Want{Owner: it.Owner, Version: 7})
		}
		stream.send(f)
		require.True(t, stream.receive().Done)
		f.Wants.Digests = true
		stream.send(f)
		require.Empty(t, stream.receive().Items.Items)
		require.NoError(t, stream.Close())
		s.withstood(t)
	})
}

// The parts of one update may go on for ever: they are signed, in order, and never the last.
func TestANeverEndingUpdateIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		digest := gossipstate.Digest{
			Owner: s.p.id, Generation: s.p.self.Generation + 1, Version: 1 << 40, Root: gossipstate.Root{1}, Entries: 1, Bytes: wire.MaxBytes,
		}
		signed := wire.Sign(wire.Domain{Network: "test", Topic: "main"}, &digest, s.p.sign)
		value := bytes.Repeat([]byte{'x'}, 60_000)
		before := heap()
		stream := s.p.exchange(s.n, "main")
		start := time.Now()
		for version := gossipstate.Version(1); time.Since(start) < sessionTimeout+5*time.Second; version += 4 {
			u := wire.Update{Signed: signed, Digest: digest, More: true}
			for i := range gossipstate.Version(4) {
				u.Entries = append(u.Entries, wire.Entry{Key: "k", Value: value, Version: version + i, Clock: 1})
			}
			stream.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "main", Update: u}})
			time.Sleep(2 * time.Second) // slower than it may: the simulation costs per packet
		}
		require.Less(t, heap(), before+8<<20)
		stream.isReset(time.Second)
		s.withstood(t)
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestHalfOpenStreamsLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		ctx, cancel := context.WithCancel(t.Context())
		for _, name := range []protocol.ID{s.n.syncProtocol(), s.n.beatProtocol()} {
			go func() {
				for ctx.Err() == nil {
					if stream, err := s.p.host.NewStream(ctx, s.n.host.ID(), name); err == nil {
						_, _ = stream.Write([]byte{0x80}) // the first byte of a length
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
		}
		time.Sleep(20 * time.Second)
		s.n.table(t, func(tb *table) {
			require.LessOrEqual(t, tb.syncsServed, maxServedPeer+1)
			require.Equal(t, 2, tb.neighbours())
		})
		require.NotZero(t, s.n.count(CountSync, "refused"))
		joiner := s.start(withoutRumors())
		s.connect(joiner, s.n)
		within(t, 3*time.Second, "a joiner has everything", func() bool { return joiner.get(t, "color") == "teal" })
		joiner.kill()
		cancel()
		time.Sleep(time.Second)
		s.withstood(t)
	})
}

// Identities of other kinds may be on the host's network, but not on ours.
func TestAPeerThatCannotBeAnOwnerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		key, _, err := crypto.GenerateSecp256k1Key(nil)
		require.NoError(t, err)
		h, _ := s.newHost(key)
		defer h.Close()
		other := &rawPeer{t: t, host: h, on: "test"}
		other.hang(s.n.Replica)
		s.dial(h, s.n.host)
		other.stream(s.n, "sync").isReset(15 * time.Second)
		stream := other.beats(s.n)
		stream.sendBytes(wire.MarshalBeatFrame(&wire.BeatFrame{Hello: &wire.BeatHello{}}))
		stream.isReset(5 * time.Second)
		time.Sleep(10 * time.Second)
		s.n.table(t, func(tb *table) { require.NotContains(t, tb.links, h.ID()) })
		require.NoError(t, h.Close())
		s.withstood(t)
	})
}

func TestTheStateOfOnePeerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const announced = maxPulls + 200
		s := besiege(t)
		// Announcements of what is never delivered, each by an identity of its own.
		stream := s.p.exchange(s.n, "members")
		for range announced {
			a := newAuthor(t)
			u := a.update("members")
			u.Previous, u.Entries = u.Digest.Version, nil
			stream.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "members", Update: u}})
		}
		stream.send(&wire.SyncFrame{Done: true})
		within(t, 10*time.Second, "all have come", func() bool { return s.n.count(CountDropped, "gap") >= announced })
		s.n.table(t, func(tb *table) {
			require.LessOrEqual(t, len(tb.pulls), maxPulls)
			require.LessOrEqual(t, len(tb.members().newest), maxPulls)
			require.LessOrEqual(t, tb.pullsRunning, maxSyncsStarted)
		})
		require.NotZero(t, s.n.count(CountPull, "refused"))
		s.withstood(t)
	})
}

// A stream may be served only after its connection has ended: the link that it makes then goes as well.
func TestALinkAfterTheEndOfItsConnectionIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		gone := newAuthor(t)
		id := PeerOf(gone.id)
		s.n.table(t, func(tb *table) { require.NotNil(t, tb.link(id)) })
		within(t, 2*houseworkEvery, "it is dropped", func() (dropped bool) {
			s.n.table(t, func(tb *table) { dropped = tb.links[id] == nil })
			return dropped
		})
		s.withstood(t)
	})
}
