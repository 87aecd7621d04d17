package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// outcome is what became of a write.
type outcome struct {
	Written
	err error
}

// whileBusy starts writes one after another while the table is busy, and returns what became of them, in that order.
func (n *node) whileBusy(t *testing.T, writes ...func() (Written, error)) []outcome {
	t.Helper()
	<-n.Ready()
	busy, release := make(chan struct{}), make(chan struct{})
	go n.do(context.Background(), func(*table) { close(busy); <-release })
	<-busy
	done := make([]chan outcome, len(writes))
	for i, write := range writes {
		done[i] = make(chan outcome, 1)
		go func() {
			w, err := write()
			done[i] <- outcome{w, err}
		}()
		synctest.Wait() // it waits for the table
	}
	close(release)
	var all []outcome
	for _, ch := range done {
		all = append(all, <-ch)
	}
	return all
}

func TestWritesThatWaitForTheDiskShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "first", "x")
		topic := n.topic(t)
		var writes []func() (Written, error)
		for i := range 40 {
			writes = append(writes, func() (Written, error) {
				return topic.Set(t.Context(), fmt.Sprint("k", i), []byte(fmt.Sprint(i)), WriteOptions{})
			})
		}
		applied := n.count(CountWrites, "applied")
		for i, w := range n.whileBusy(t, writes...) {
			require.NoError(t, w.err)
			require.Equal(t, fmt.Sprint("k", i), w.Value.Key)
			require.Equal(t, fmt.Sprint(i), string(w.Value.Value))
			require.EqualValues(t, 2, w.Value.Version, "one version: one signature and one fsync for all")
			require.EqualValues(t, 1, w.Value.Clock)
		}
		require.Equal(t, applied+1, n.count(CountWrites, "applied"))
		within(t, 5*time.Second, "others get all", func() bool { return c.equal(n, other) })
		n.kill()
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		for i := range 40 {
			require.Equal(t, fmt.Sprint(i), again.get(t, fmt.Sprint("k", i)), "on disk")
		}
	})
}

func TestAWriteThatFailsDoesNotFailThoseBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		topic := n.topic(t)
		set := func(key, value string, o WriteOptions) func() (Written, error) {
			return func() (Written, error) { return topic.Set(t.Context(), key, []byte(value), o) }
		}
		n.set(t, "there", "1")
		two := gossipstate.Clock(2)
		all := n.whileBusy(t,
			set("a", "1", WriteOptions{}),
			set("there", "2", WriteOptions{IfClock: &two}),
			func() (Written, error) { return topic.Delete(t.Context(), "never", WriteOptions{}) },
			set("large", strings.Repeat("x", wire.MaxValue+1), WriteOptions{}),
			set("", "no key", WriteOptions{}),
			set("b", "1", WriteOptions{}),
		)
		var conflict *ConflictError
		var large *gossipstate.ValueTooLargeError
		var key *gossipstate.KeyError
		require.NoError(t, all[0].err)
		require.ErrorAs(t, all[1].err, &conflict)
		require.ErrorIs(t, all[2].err, ErrNotFound)
		require.ErrorAs(t, all[3].err, &large)
		require.ErrorAs(t, all[4].err, &key)
		require.NoError(t, all[5].err)
		require.Equal(t, "1", n.get(t, "a"))
		require.Equal(t, "1", n.get(t, "b"))
		require.Equal(t, "1", n.get(t, "there"))
		require.Zero(t, all[1].Written)
	})
}

func TestWritesOfOneKeyComeOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		topic := n.topic(t)
		absent := gossipstate.Clock(0)
		all := n.whileBusy(t,
			func() (Written, error) {
				return topic.Set(t.Context(), "k", []byte("1"), WriteOptions{IfClock: &absent})
			},
			func() (Written, error) {
				return topic.Set(t.Context(), "k", []byte("2"), WriteOptions{IfClock: &absent})
			},
			func() (Written, error) { return topic.Set(t.Context(), "k", []byte("3"), WriteOptions{}) },
			func() (Written, error) { return topic.Delete(t.Context(), "k", WriteOptions{}) },
			func() (Written, error) { return topic.Set(t.Context(), "other", nil, WriteOptions{}) },
		)
		var conflict *ConflictError
		require.ErrorAs(t, all[1].err, &conflict)
		require.EqualValues(t, 1, conflict.Have)
		for i, clock := range map[int]gossipstate.Clock{0: 1, 2: 2, 3: 3} {
			require.NoError(t, all[i].err)
			require.Equal(t, clock, all[i].Value.Clock)
		}
		require.Equal(t, "3", string(all[2].Value.Value))
		require.True(t, all[3].Value.Deleted)
		require.Equal(t, all[3].Value.Version, all[4].Value.Version, "the last two share a commit")
		require.Empty(t, n.get(t, "k"))
	})
}

// A commit that is published as a whole must fit a rumor, else everybody has to fetch it.
func TestAGroupOfWritesFitsARumor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		var writes []func() (Written, error)
		for i := range 8 {
			writes = append(writes, func() (Written, error) {
				return n.topic(t).Set(t.Context(), fmt.Sprint("k", i), make([]byte, groupBytes/2-10), WriteOptions{})
			})
		}
		for i, w := range n.whileBusy(t, writes...) {
			require.NoError(t, w.err)
			require.EqualValues(t, 1+i/2, w.Value.Version)
		}
	})
}

func TestAWriteWhoseCallerGivesUpWhileItWaitsIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		ctx, cancel := context.WithCancel(t.Context())
		all := n.whileBusy(t,
			func() (Written, error) {
				return n.topic(t).Set(t.Context(), "a", []byte("1"), WriteOptions{})
			},
			func() (Written, error) {
				return n.topic(t).Set(ctx, "given-up", []byte("1"), WriteOptions{})
			},
			func() (Written, error) {
				cancel()
				return n.topic(t).Set(t.Context(), "b", []byte("1"), WriteOptions{})
			},
		)
		require.NoError(t, all[0].err)
		require.ErrorIs(t, all[1].err, context.Canceled)
		require.NoError(t, all[2].err)
		require.Empty(t, n.get(t, "given-up"))
		require.Equal(t, all[0].Value.Version, all[2].Value.Version)
		require.Empty(t, n.writes["main"].waiting)
	})
}

func TestADiskThatFailsFailsEveryWriteOfTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		n.set(t, "a", "before")
		before := n.digest(t, "main", n.self)
		require.NoError(t, st.Close())
		for _, w := range n.whileBusy(t,
			func() (Written, error) { return n.topic(t).Set(t.Context(), "a", []byte("1"), WriteOptions{}) },
			func() (Written, error) { return n.topic(t).Set(t.Context(), "b", []byte("1"), WriteOptions{}) },
		) {
			require.ErrorIs(t, w.err, store.ErrClosed)
			require.Zero(t, w.Written)
		}
		require.Equal(t, before, n.digest(t, "main", n.self))
	})
}
