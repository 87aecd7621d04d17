package replica

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// fault is why this node could not store its newest change.
func (n *node) fault(t *testing.T) error {
	t.Helper()
	s, err := n.Storage(t.Context())
	require.NoError(t, err)
	return s.Fault
}

func TestANodeSaysThatItCouldNotStoreItsOwnChangeUntilTheDiskTakesWritesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		n.set(t, "color", "teal")
		require.NoError(t, n.fault(t))
		full := func() {
			n.table(t, func(tb *table) { tb.disk.fault, tb.disk.faultAt = syscall.ENOSPC, time.Now() })
		}
		full()
		time.Sleep(retryAfter - time.Second)
		require.ErrorIs(t, n.fault(t), syscall.ENOSPC)
		time.Sleep(3 * time.Second)
		require.NoError(t, n.fault(t), "without a write of anybody")
		full()
		n.set(t, "color", "red")
		require.NoError(t, n.fault(t))
		require.NoError(t, st.Close())
		_, err := n.topic(t).Delete(t.Context(), "color", WriteOptions{})
		require.ErrorIs(t, err, store.ErrClosed)
		require.ErrorIs(t, n.fault(t), store.ErrClosed)
		time.Sleep(10 * retryAfter)
		require.ErrorIs(t, n.fault(t), store.ErrClosed, "it still does not")
	})
}

func TestTryingTheDiskAgainLeavesTheOwnCopyWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st), withConfig(func(cfg *Config) { cfg.Description = Description{Name: "hal", Agent: "x"} }))
		<-n.Ready()
		n.table(t, func(tb *table) { tb.disk.fault, tb.disk.faultAt = syscall.ENOSPC, time.Now().Add(-retryAfter) })
		within(t, 5*time.Second, "it is tried", func() bool { return n.fault(t) == nil })
		n.kill()
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "hal", again.member(t, again).Name)
		require.Zero(t, again.count(CountDropped, "stored_damaged"))
	})
}

// What was handed over comes before what follows it, or together with that: a note must not come back, nor a change be missed.
func TestWhatFailedToBeWrittenDoesNotOvertakeWhatIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		<-n.Ready()
		synctest.Wait()
		owner, other := gossipstate.ID{1}, newAuthor(t)
		n.table(t, func(tb *table) {
			tb.quarantineOwner(gossipstate.Forgotten{Owner: owner, Generation: 1, Version: 1, Since: time.Now()})
			tb.disk.dirty("main", other.id).all()
			batch := tb.batch()
			tb.disk.writing = true // as the goroutine that writes has it
			tb.liftQuarantine(owner)
			tb.flush()
			require.Empty(t, tb.disk.batches, "one at a time")
			tb.written(batch, errors.New("no space"))
			require.True(t, tb.disk.notes[noteKey{"", owner}].Drop, "the newer note stays")
			require.Contains(t, tb.disk.changed, diskKey{"main", other.id})
		})
		time.Sleep(3 * time.Second)
		notes, damaged, err := st.Notes("")
		require.NoError(t, err)
		require.Empty(t, notes)
		require.Empty(t, damaged)
		n.table(t, func(tb *table) { require.Empty(t, tb.disk.changed) })
	})
}

// A batch that fails while the node stops is left to its last one.
func TestABatchThatFailsAtTheEndIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		<-n.Ready()
		var tb *table
		n.table(t, func(running *table) { tb = running })
		n.kill()
		require.NoError(t, st.Close())
		owner := newAuthor(t).id
		tb.disk.dirty("main", owner).all()
		tb.disk.batches <- tb.batch()
		require.Empty(t, tb.disk.changed)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { tb.persist(ctx); close(done) }()
		synctest.Wait()
		cancel()
		<-done
		require.Contains(t, tb.disk.changed, diskKey{"main", owner})
	})
}
