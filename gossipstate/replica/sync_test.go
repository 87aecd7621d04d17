package replica

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// plant gives nodes what an author has signed, on both topics.
func (a *author) plant(t require.TestingT, nodes ...*node) {
	for _, n := range nodes {
		var fault error
		require.NoError(t, n.do(n.t.Context(), func(tb *table) {
			for _, topic := range []string{"members", "main"} {
				for _, u := range a.updates(topic, 0) {
					v, err := wire.Verify(tb.topics[topic].domain, u)
					if err == nil {
						_, _, err = tb.receive(tb.topics[topic], &v, arrival{from: PeerOf(a.id), path: "test"}, time.Now())
					}
					if err != nil {
						fault = err
					}
				}
			}
		}))
		require.NoError(t, fault)
	}
}

// syncNow runs one session with another node.
func (n *node) syncNow(t require.TestingT, with *node) *session {
	s, err := n.syncWith(n.t.Context(), with.host.ID())
	require.NoError(t, err)
	return s
}

func (n *node) syncBytes() int {
	return int(n.count(CountSyncBytes, "in") + n.count(CountSyncBytes, "out"))
}

func TestASyncOfEqualReplicasTakesOneTripAndAFewBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(withoutRumors()), c.start(withoutRumors())
		c.connect(a, b)
		for range 100 {
			author := newAuthor(t)
			author.set(t, "~/k", "v")
			author.plant(t, a, b)
		}
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		before, start := a.syncBytes(), time.Now()
		s := a.syncNow(t, b)
		require.Zero(t, s.repaired+s.given)
		require.Less(t, a.syncBytes()-before, 2*100, "two topics")
		require.Less(t, time.Since(start), 6*c.latency, "a stream and a trip")
	})
}

func TestASyncCostsTheDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(withoutRumors()), c.start(withoutRumors())
		c.connect(a, b)
		authors := make([]*author, 1000)
		for i := range authors {
			authors[i] = newAuthor(t)
			authors[i].set(t, "~/k", "v")
			authors[i].plant(t, a, b)
		}
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		for i, author := range authors[:10] {
			author.set(t, "~/k", "w")
			author.plant(t, []*node{a, b}[i%2])
		}
		before := a.syncBytes()
		s := a.syncNow(t, b)
		c.equalSoon(a, b)
		require.Equal(t, 5, s.repaired)
		require.Less(t, a.syncBytes()-before, 10*350+1000, "an update, an item or a hash, and some cells for each of 10")
	})
}

// Whatever two replicas hold, one session makes them equal.
func TestRandomReplicasConvergeInOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := []*node{c.start(withoutRumors()), c.start(withoutRumors())}
		c.connect(nodes[0], nodes[1])
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(nodes...) })
		var authors []*author
		rapid.Check(outsideTime{t}, func(rt *rapid.T) {
			for range rapid.IntRange(0, 20).Draw(rt, "owners") {
				a := newAuthor(t)
				authors = append(authors, a)
				a.plant(rt, drawNodes(rt, nodes)...)
			}
			for range rapid.IntRange(0, 10).Draw(rt, "changes") {
				if len(authors) > 0 {
					a := authors[rapid.IntRange(0, len(authors)-1).Draw(rt, "owner")]
					a.set(t, "~/"+rapid.StringMatching("[a-z]").Draw(rt, "key"), rapid.StringN(0, 5, 10).Draw(rt, "value"))
					a.plant(rt, drawNodes(rt, nodes)...)
				}
			}
			from := rapid.IntRange(0, 1).Draw(rt, "initiator")
			nodes[from].syncNow(rt, nodes[1-from])
			c.equalSoon(nodes...)
		})
	})
}

// outsideTime hides the deadline of a test, which rapid asks for and which is none of virtual time.
type outsideTime struct{ testing.TB }

// equalSoon waits for what the last frames of a session brought, for less than it takes until another one begins.
func (c *cluster) equalSoon(nodes ...*node) {
	c.t.Helper()
	within(c.t, 10*c.latency, "all are equal", func() bool { return c.equal(nodes...) })
}

func drawNodes(t *rapid.T, nodes []*node) []*node {
	switch rapid.IntRange(0, 2).Draw(t, "which") {
	case 0:
		return nodes[:1]
	case 1:
		return nodes[1:]
	default:
		return nodes
	}
}

// What a session's budget does not allow comes with the next ones, at once, and nothing comes twice.
func TestABudgetCutsASessionAndTheNextOneGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners, perOwner = 4, 600_000
		c := newCluster(t)
		full, empty := c.start(withoutRumors()), c.start(withoutRumors())
		for _, n := range c.nodes {
			n.table(t, func(tb *table) { tb.sessionBytes = 400_000 })
		}
		for range owners {
			a := newAuthor(t)
			for i := range 10 {
				a.set(t, fmt.Sprint("~/", i), string(bytes.Repeat([]byte{byte(i)}, perOwner/10)))
			}
			a.plant(t, full)
		}
		c.connect(empty, full)
		within(t, 4*time.Second, "both agree", func() bool { return c.equal(full, empty) })
		require.GreaterOrEqual(t, full.count(CountSync, "served")+empty.count(CountSync, "served"), uint64(owners*perOwner/400_000))
		require.Less(t, empty.count(CountSyncBytes, "in"), uint64(owners*perOwner+60_000))
		time.Sleep(5 * time.Second)
		for _, n := range c.nodes {
			n.table(t, func(tb *table) {
				for _, l := range tb.links {
					require.Empty(t, l.giving, "what was sent is remembered for as long as syncs run")
				}
			})
		}
	})
}

// differing answers a hello so that the topic "main" seems to differ in a set too large to be sent as a whole.
func (p *rawPeer) differing(n *node, answer func(s *rawStream, f wire.SyncFrame) bool) {
	p.serve(n, func(s *rawStream) {
		s.receive()
		s.send(&wire.SyncFrame{Hello: &wire.SyncHello{Salt: wire.Salt{1}, Topics: []wire.SyncSummary{{Topic: "members", Owners: 400, Fingerprint: 1}}}})
		for answer(s, s.receive()) {
		}
	})
}

func TestAHostileResponderComesToNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	cells := func(b []byte) *wire.SyncFrame { return &wire.SyncFrame{Cells: &wire.SyncCells{Cells: b}} }
	rising := func(n int) []byte {
		var hashes []uint64
		for i := range n {
			hashes = append(hashes, uint64(i+1))
		}
		return reconcile.EncodeHashes(hashes)
	}
	for name, a := range map[string]struct {
		reason string // "" when no rule is broken
		answer func(f wire.SyncFrame) *wire.SyncFrame
	}{
		"one cell too few":        {"malformed", func(f wire.SyncFrame) *wire.SyncFrame { return cells(random(13 * (int(f.Ask.Cells) - 1))) }},
		"one cell too many":       {"malformed", func(f wire.SyncFrame) *wire.SyncFrame { return cells(random(13 * (int(f.Ask.Cells) + 1))) }},
		"items in place of cells": {"malformed", func(wire.SyncFrame) *wire.SyncFrame { return &wire.SyncFrame{Items: &wire.SyncItems{Topic: "members"}} }},
		"cells for ever": {"", func(f wire.SyncFrame) *wire.SyncFrame {
			return cells(random(13 * max(1, int(f.Ask.Cells))))
		}},
		"hashes out of order": {"malformed", func(wire.SyncFrame) *wire.SyncFrame {
			return &wire.SyncFrame{Hashes: &wire.SyncHashes{Hashes: binary.BigEndian.AppendUint64(rising(2), 1)}}
		}},
		"hashes of nothing": {"", func(wire.SyncFrame) *wire.SyncFrame {
			return &wire.SyncFrame{Hashes: &wire.SyncHashes{Hashes: rising(wire.MaxOwners)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiege(t)
				for range 300 {
					newAuthor(t).plant(t, s.n, s.ally)
				}
				asks, listed := 0, 0
				s.p.differing(s.n, func(stream *rawStream, f wire.SyncFrame) bool {
					switch {
					case f.Ask != nil:
						asks++
						stream.send(a.answer(f))
						return true
					case f.Items != nil:
						listed = max(listed, len(f.Items.Items))
						stream.send(&wire.SyncFrame{Done: true})
						return true
					}
					return f.Done
				})
				_, err := s.n.syncWith(t.Context(), s.p.host.ID())
				require.LessOrEqual(t, asks, reconcile.MaxBlocks+1, "it gives up")
				if a.reason == "" {
					require.NoError(t, err)
					require.Greater(t, listed, 300)
				} else {
					require.ErrorIs(t, err, wire.ErrMalformed)
					require.NotZero(t, s.n.count(CountDropped, a.reason))
				}
				s.before = nil
				require.NoError(t, s.p.host.Close())
				s.n.set(t, "after", "the attack")
				within(t, 5*time.Second, "both agree", func() bool { return s.equal(s.n, s.ally) })
			})
		})
	}
}

// A set that changes while its cells are read is listed by its hashes instead, and one whose link got another key is not.
func TestASetThatChangesDuringAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		stream := s.p.stream(s.n, "sync")
		stream.send(&wire.SyncFrame{Hello: &wire.SyncHello{Topics: []wire.SyncSummary{{Topic: "members", Owners: 100}}}})
		require.NotNil(t, stream.receive().Hello)
		stream.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "members", Cells: reconcile.FirstBlock}})
		require.Len(t, stream.receive().Cells.Cells, reconcile.FirstBlock*wire.CellBytes)
		for range 300 {
			newAuthor(t).plant(t, s.n)
		}
		stream.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "members", Cells: reconcile.FirstBlock}})
		hashes, err := reconcile.DecodeHashes(stream.receive().Hashes.Hashes)
		require.NoError(t, err)
		require.Len(t, hashes, 302)
		second := s.p.stream(s.n, "sync")
		second.send(&wire.SyncFrame{Hello: &wire.SyncHello{Salt: wire.Salt{7}, Topics: []wire.SyncSummary{{Topic: "members"}}}})
		require.NotNil(t, second.receive().Hello)
		stream.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "members"}})
		stream.isReset(time.Second)
	})
}

// Who goes on asking for cells of a set that has changed gets as many lists of hashes as who asks for those.
func TestListsOfHashesInPlaceOfCellsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		stream := s.p.stream(s.n, "sync")
		stream.send(&wire.SyncFrame{Hello: &wire.SyncHello{Topics: []wire.SyncSummary{{Topic: "members", Owners: 100}}}})
		require.NotNil(t, stream.receive().Hello)
		ask := &wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "members", Cells: reconcile.FirstBlock}}
		stream.send(ask)
		require.NotNil(t, stream.receive().Cells)
		for range 300 {
			newAuthor(t).plant(t, s.n)
		}
		for range maxRequests {
			stream.send(ask)
			require.NotNil(t, stream.receive().Hashes)
		}
		stream.isReset(time.Second)
		require.EqualValues(t, 1, s.n.count(CountDropped, "too_large"))
	})
}

func TestTheStalestComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		var wants []wire.Want
		versions := []gossipstate.Version{3, 1, 9, 5}
		for i, held := range versions {
			a := newAuthor(t)
			for range 10 {
				a.set(t, "~/k", fmt.Sprint(i))
			}
			a.plant(t, n)
			wants = append(wants, wire.Want{Owner: a.id, Generation: a.self.Generation, Version: held})
		}
		wants[2].Staged = &wire.Cursor{}
		want := []wire.Want{wants[2], wants[1], wants[0], wants[3]}
		n.table(t, func(tb *table) { tb.topics["main"].stalestFirst(wants) })
		require.True(t, slices.Equal(want, wants))
	})
}
