package testnet

import (
	"context"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

const (
	stallChanges = 10 * loadRate // that a stalled watcher does not read: ten seconds of them
	stallGrowth  = 16 << 10      // KiB that its node may grow by, over one that has none
)

// A watcher over the API that reads nothing for ten seconds while 5,000 changes a second come gets, when it reads on, one gap
// and what all keys hold in the end. What it missed its node has counted, not kept.
func TestAStalledWatcherCostsItsNodeNoMemoryAndSeesEveryFinalValue(t *testing.T) {
	n := up(t, 3)
	load := n.newLoad()
	n.reader("n2")
	stop := n.reader("n1")
	load.write(n.within(soon), 2*loadRate) // all that is remembered of the past is full
	load.held(n.within(soon), n)
	stop()

	before := n.slowReaders("n1")
	w, last := n.stall("n1")
	memory := n.growth()
	load.write(n.within(soon), stallChanges)
	load.held(n.within(soon), n)
	seen := 0
	e := w.one()
	for ; e.Kind == api.EventPut; e = w.one() {
		seen++
		require.EqualValues(t, last+uint64(seen), e.ID, "no change is left out before the gap")
	}
	require.Equal(t, api.EventGap, e.Kind)
	require.EqualValues(t, last+uint64(seen)+1, e.Gap.From)
	missed := int(e.Gap.To - e.Gap.From + 1)
	values := map[string]string{}
	for e = w.one(); e.Kind == api.EventPut; e = w.one() {
		values[e.Value.Key] = string(e.Value.Value)
	}
	require.Equal(t, api.EventSynced, e.Kind, "one gap, one snapshot")
	require.True(t, maps.Equal(load.final(), values), "%d keys", len(values))

	require.GreaterOrEqual(t, n.slowReaders("n1")-before, missed, "the reader before it may have been slow as well")
	require.Greater(t, missed, stallChanges/2, "what it did not see before, less what came together")
	grown := memory()
	t.Logf("%d changes: %d seen, %d missed; grown by, in KiB: %v", stallChanges, seen, missed, grown)
	require.LessOrEqual(t, grown["n1"]-max(0, grown["n3"]), stallGrowth)
}

// watcher is one that takes events only when it is told to.
type watcher struct {
	t    testing.TB
	next func() (api.Event, error, bool)
	stop func()
}

func (w *watcher) one() api.Event {
	w.t.Helper()
	e, err, ok := w.next()
	require.NoError(w.t, err)
	require.True(w.t, ok, "the stream has ended")
	return e
}

// stall opens a watch of all that a node holds and reads until it is synced; last is the number of the newest change then.
func (n testNet) stall(name string) (w *watcher, last uint64) {
	n.t.Helper()
	next, stop := iter.Pull2(n.client(name).WatchState(n.t.Context(), api.WatchOptions{Initial: true}))
	n.t.Cleanup(stop)
	w = &watcher{n.t, next, stop}
	for {
		if e := w.one(); e.Kind == api.EventSynced {
			return w, uint64(e.ID)
		}
	}
}

// reader watches all that a node holds, and reads, until the test ends or it is told to stop.
func (n testNet) reader(name string) (stop func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	c := n.client(name)
	changes, gaps := 0, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range c.WatchState(ctx, api.WatchOptions{}) {
			if err != nil {
				return
			}
			switch e.Kind {
			case api.EventPut:
				changes++
			case api.EventGap:
				gaps++
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	n.t.Cleanup(func() {
		stop()
		n.t.Logf("a reader of %s saw %d changes and %d gaps", name, changes, gaps)
	})
	return stop
}

// slowReaders is how many changes a node has counted that slow watchers of its state missed.
func (n testNet) slowReaders(name string) (missed int) {
	n.t.Helper()
	status, err := n.client(name).Status(n.within(10 * time.Second))
	require.NoError(n.t, err)
	for _, c := range status.Counters {
		if c.Name == "p2pnode_events_dropped_total" && maps.Equal(c.Labels, map[string]string{"stream": "state", "reason": "slow_reader"}) {
			missed += int(c.Value)
		}
	}
	return missed
}

// growth begins to watch the resident memory of all nodes; peak is by how many KiB each was larger than now, at most.
func (n testNet) growth() (peak func() map[string]int) {
	n.t.Helper()
	pids, before := map[string]int{}, map[string]int{}
	for _, name := range n.names() {
		p, err := readPID(n.l.pid(name))
		require.NoError(n.t, err)
		pids[name], before[name] = p.pid, residentKiB(n.t, p.pid)
		// 5 resets VmHWM, the largest resident size so far: see proc_pid_clear_refs(5).
		require.NoError(n.t, os.WriteFile(filepath.Join("/proc", strconv.Itoa(p.pid), "clear_refs"), []byte("5"), 0))
	}
	return func() map[string]int {
		n.t.Helper()
		grown := map[string]int{}
		for name, pid := range pids {
			_, rest, found := strings.Cut(readProc(n.t, pid, "status"), "VmHWM:")
			require.True(n.t, found)
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(n.t, err)
			grown[name] = kib - before[name]
		}
		return grown
	}
}
