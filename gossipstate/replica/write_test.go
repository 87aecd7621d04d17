package replica

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestAKeyWithALimitedLifeIsGoneEverywhereInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		w, err := a.topic(t).Set(t.Context(), "soon", []byte("gone"), WriteOptions{TTL: 5 * time.Second})
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(5*time.Second), w.Value.Expires, time.Second)
		a.set(t, "stays", "on")
		within(t, 2*time.Second, "b has it", func() bool { return b.get(t, "soon") == "gone" && b.get(t, "stays") == "on" })
		time.Sleep(2 * time.Second)
		require.Equal(t, "gone", b.get(t, "soon"))
		within(t, 4*time.Second, "it is gone", func() bool { return a.get(t, "soon") == "" && b.get(t, "soon") == "" })
		require.Equal(t, "on", b.get(t, "stays"))
		_, err = a.topic(t).Set(t.Context(), "soon", nil, WriteOptions{TTL: time.Millisecond})
		require.ErrorAs(t, err, new(*gossipstate.KeyError))
	})
}

// Expiry ends what its owner wrote, not what another writes at that moment.
func TestExpiryDoesNotTouchTheValueOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		_, err := a.topic(t).Set(t.Context(), "lock", []byte("a"), WriteOptions{TTL: 3 * time.Second})
		require.NoError(t, err)
		within(t, 2*time.Second, "b has it", func() bool { return b.get(t, "lock") == "a" })
		time.Sleep(time.Second)
		c.partition(func(index int) int { return index })
		b.set(t, "lock", "b")
		time.Sleep(3 * time.Second)
		require.Empty(t, a.get(t, "lock"), "it has expired here")
		c.partition(nil)
		within(t, 5*time.Second, "b's value stands", func() bool { return a.get(t, "lock") == "b" && c.equal(a, b) })
		require.Equal(t, "b", b.get(t, "lock"))
	})
}

// A stranger may drive the clock of a shared key to its end: other keys still expire.
func TestAnExhaustedClockDoesNotStopExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.set(t, "worn", "out")
		digest := gossipstate.Digest{Owner: s.p.id, Generation: s.p.self.Generation, Version: 1}
		state := gossipstate.New(gossipstate.DefaultConfig(wire.Domain{Network: "test", Topic: "main"}))
		e := wire.Entry{Key: "worn", Value: []byte("out"), Version: 1, Clock: math.MaxUint64 - 1}
		digest.Entries, digest.Bytes = 1, uint64(e.Size())
		digest.Root = gossipstate.Root(wire.LeafHash(wire.KeyHash(e.Key), &e))
		u := wire.Update{Signed: wire.Sign(wire.Domain{Network: "test", Topic: "main"}, &digest, s.p.sign), Digest: digest, Entries: []wire.Entry{e}}
		v, err := wire.Verify(wire.Domain{Network: "test", Topic: "main"}, u)
		require.NoError(t, err)
		_, err = state.Apply(&v, gossipstate.ID{}, time.Now())
		require.NoError(t, err)
		s.p.states["main"] = state
		s.p.join(s.n)
		within(t, time.Second, "its clock is near the end", func() bool { return s.n.get(t, "worn") == "out" })
		for _, key := range []string{"worn", "other"} {
			_, err := s.n.topic(t).Set(t.Context(), key, []byte("soon gone"), WriteOptions{TTL: time.Second})
			require.NoError(t, err)
		}
		_, err = s.n.topic(t).Set(t.Context(), "worn", nil, WriteOptions{})
		require.ErrorIs(t, err, gossipstate.ErrClockExhausted)
		within(t, 3*time.Second, "both are gone", func() bool { return s.n.get(t, "worn") == "" && s.n.get(t, "other") == "" })
	})
}

func TestAConditionalWriteIsRefusedWhenTheClockHasMovedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		if0, if1 := WriteOptions{IfClock: new(gossipstate.Clock(0))}, WriteOptions{IfClock: new(gossipstate.Clock(1))}
		set := func(n *node, value string, o WriteOptions) error {
			_, err := n.topic(t).Set(t.Context(), "color", []byte(value), o)
			return err
		}
		var conflict *ConflictError
		require.ErrorAs(t, set(a, "teal", if1), &conflict)
		require.Equal(t, ConflictError{Key: "color", Have: 0, Want: 1}, *conflict)
		require.NoError(t, set(a, "teal", if0))
		require.ErrorAs(t, set(a, "red", if0), &conflict)
		require.Equal(t, ConflictError{Key: "color", Have: 1, Want: 0}, *conflict)
		require.Equal(t, "teal", a.get(t, "color"), "nothing was written")
		within(t, 2*time.Second, "b has it", func() bool { return b.get(t, "color") == "teal" })
		require.NoError(t, set(b, "red", if1), "the clock is that of the key, whoever wrote it")
		within(t, 2*time.Second, "a has it", func() bool { return a.get(t, "color") == "red" })
		_, err := a.topic(t).Delete(t.Context(), "color", if1)
		require.ErrorAs(t, err, &conflict)
		_, err = a.topic(t).Delete(t.Context(), "color", WriteOptions{IfClock: new(gossipstate.Clock(2))})
		require.NoError(t, err)
		require.NoError(t, set(a, "blue", if0), "deleted is absent")
	})
}

// Two nodes write one key in the same moment: one value wins everywhere and the loser withdraws its own.
func TestABeatenValueIsWithdrawnByItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		lost := make(chan Event, 2)
		for _, n := range c.nodes {
			go func() {
				for e, err := range n.topic(t).Watch(t.Context(), "") {
					if err != nil {
						return
					}
					if e.Kind == Lost {
						lost <- e
					}
				}
			}()
		}
		a.set(t, "color", "a's")
		b.set(t, "color", "b's")
		winner, loser := a, b
		if a.self.Compare(b.self) < 0 {
			winner, loser = b, a
		}
		within(t, 5*time.Second, "one value is everywhere, the other withdrawn", func() bool {
			rest, err := winner.topic(t).List(t.Context(), ListOptions{Owner: loser.host.ID(), Tombstones: true})
			require.NoError(t, err)
			return c.equal(a, b) && len(rest) == 1 && rest[0].Deleted && a.get(t, "color") == b.get(t, "color")
		})
		require.Equal(t, winner.host.ID(), mustGet(t, a, "color").Owner)
		for range c.nodes {
			e := <-lost
			require.Equal(t, winner.host.ID(), e.New.Owner)
			require.Equal(t, loser.host.ID(), e.Old.Owner)
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

func TestAWriteIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		value := []byte("1")
		written, err := n.topic(t).Write(t.Context(), gossipstate.Mutation{Key: "a", Value: value}, gossipstate.Mutation{Key: "b", Value: value})
		require.NoError(t, err)
		value[0] = 'x'
		require.Equal(t, written[0].Value.Version, written[1].Value.Version)
		require.Equal(t, "1", n.get(t, "a"), "the value stayed the caller's")
		before := n.digest(t, "main", n.self)
		_, err = n.topic(t).Write(t.Context(), gossipstate.Mutation{Key: "c"}, gossipstate.Mutation{Key: "nothing", Delete: true})
		require.ErrorIs(t, err, ErrNotFound)
		_, err = n.topic(t).Write(t.Context(), gossipstate.Mutation{Key: "c"}, gossipstate.Mutation{Key: "d", Value: make([]byte, wire.MaxValue+1)})
		require.ErrorAs(t, err, new(*gossipstate.ValueTooLargeError))
		_, err = n.topic(t).Write(t.Context(), gossipstate.Mutation{Key: strings.Repeat("k", wire.MaxKey+1)})
		require.ErrorAs(t, err, new(*gossipstate.KeyError))
		written, err = n.topic(t).Write(t.Context())
		require.NoError(t, err)
		require.Empty(t, written)
		require.Equal(t, before, n.digest(t, "main", n.self))
		members, err := n.Topic("members")
		require.NoError(t, err)
		_, err = members.Set(t.Context(), "node.name", nil, WriteOptions{})
		require.ErrorIs(t, err, ErrReservedKey)
		_, err = n.Topic("other")
		require.ErrorAs(t, err, new(*UnknownTopicError))
	})
}

func TestWaitSeenCountsThoseWhoHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, d := c.start(), c.start(), c.start()
		c.line(b, a, d)
		time.Sleep(5 * time.Second) // beats run
		w := a.set(t, "color", "teal")
		seen, of, err := a.topic(t).WaitSeen(t.Context(), w.Value.Version, -1)
		require.NoError(t, err)
		require.Equal(t, []int{2, 2}, []int{seen, of})
		answers, err := a.topic(t).Ask(t.Context())
		require.NoError(t, err)
		require.Len(t, answers, 2)
		for _, answer := range answers {
			require.NoError(t, answer.Err)
			require.Zero(t, answer.Behind)
		}
	})
}

// Who had it and died does not stand for one that lives and lacks it.
func TestWaitSeenDoesNotCountTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		s.p.hang(s.n.Replica) // alive, but it never answers
		stream := s.p.hello(s.n)
		var beating sync.WaitGroup
		defer beating.Wait()
		beats, end := context.WithCancel(t.Context())
		defer end()
		beating.Go(func() {
			for k := uint32(1); beats.Err() == nil; k++ {
				stream.beat(&wire.BeatFrame{Beats: []wire.Beat{s.p.chain.Beat(k)}})
				time.Sleep(700 * time.Millisecond)
			}
		})
		w := s.n.set(t, "color", "red")
		go func() {
			time.Sleep(2 * time.Second)
			s.ally.lose()
			time.Sleep(5 * time.Second)
			s.p.write(t, "members", gossipstate.Mutation{Key: liveness.SuspectsKey, Value: s.n.accused(t)}) // it agrees
			u := s.p.update("members")
			s.p.publish(s.n, "test", "members", wire.MarshalUpdate(&u))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		seen, of, err := s.n.topic(t).WaitSeen(ctx, w.Value.Version, -1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []int{0, 1}, []int{seen, of})
		require.Equal(t, "dead", s.n.status(t, s.ally))
		require.Equal(t, "alive", s.n.member(t, &node{host: s.p.host}).Status)
	})
}

// accused is the node's own value of liveness.SuspectsKey; nil when it has none.
func (n *node) accused(t *testing.T) (value []byte) {
	t.Helper()
	n.table(t, func(tb *table) { value = tb.describedAs(n.self, liveness.SuspectsKey) })
	return value
}
