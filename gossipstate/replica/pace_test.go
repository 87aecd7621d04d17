package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
)

func TestTheWindowWidensUnderLoadAndShrinksAgain(t *testing.T) {
	p := newPace()
	for _, step := range []struct {
		size       int
		took, want time.Duration
	}{
		{100, 0, publishEvery},
		{largeRumor - 1, 0, publishEvery},
		{largeRumor, 0, 2 * publishEvery},
		{largeRumor, 0, 4 * publishEvery},
		{100, publishEvery, 2 * publishEvery},
		{100, 2 * publishEvery, 4 * publishEvery}, // pubsub is busy
		{largeRumor, 0, 8 * publishEvery},
		{largeRumor, 0, 16 * publishEvery},
		{largeRumor, 0, publishMax},
		{largeRumor, time.Minute, publishMax},
		{0, 0, publishMax / 2},
	} {
		require.Equal(t, step.want, p.next(step.size, step.took), step)
	}
	for range 5 {
		p.next(1, 0)
	}
	require.Equal(t, publishEvery, p.window)
}

// Receivers take rumorRate rumors a second of one owner: a node that writes faster says more at a time, not more often.
func TestABurstOfWritesGoesInFewRumorsThatAllAreTaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes int
		pause  time.Duration // after each hundred
		value  int           // bytes
	}{
		{"all at once", 10_000, 0, 4},
		{"over ten seconds", 10_000, 100 * time.Millisecond, 4},
		{"large values over ten seconds", 2_000, 500 * time.Millisecond, 2_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newCluster(t)
				n, near, far := cluster.start(), cluster.start(), cluster.start()
				cluster.line(n, near, far)
				within(t, 5*time.Second, "all agree", func() bool { return cluster.equal(n, near, far) })
				time.Sleep(3 * time.Second) // in the mesh
				before, start := n.count(CountPublish, "ok"), time.Now()
				for i := range c.writes {
					_, err := n.topic(t).Set(t.Context(), fmt.Sprintf("k/%d", i%400), fmt.Appendf(nil, "%0*d", c.value, i), WriteOptions{})
					require.NoError(t, err)
					if i == 0 {
						synctest.Wait()
						require.Equal(t, before+1, n.count(CountPublish, "ok"), "the first goes at once")
					}
					if i%100 == 99 {
						time.Sleep(c.pause)
					}
				}
				within(t, 5*time.Second, "all have everything", func() bool { return cluster.equal(n, near, far) })
				require.Equal(t, fmt.Sprintf("%0*d", c.value, c.writes-1), far.get(t, fmt.Sprintf("k/%d", (c.writes-1)%400)))
				require.LessOrEqual(t, n.count(CountPublish, "ok")-before, uint64(2+rumorRate*time.Since(start).Seconds()))
				for _, other := range []*node{near, far} {
					require.Zero(t, other.count(CountDropped, "over_rate"))
				}
			})
		})
	}
}

func TestALimitIsToldBeforeAnythingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		<-n.Ready()
		before := n.digest(t, "main", n.self)
		for key, want := range map[string]any{"": new(*gossipstate.KeyError), "\xff": new(*gossipstate.KeyError), "k": new(*gossipstate.ValueTooLargeError)} {
			_, err := n.topic(t).Set(t.Context(), key, make([]byte, 64<<10+1), WriteOptions{})
			require.ErrorAs(t, err, want)
		}
		require.Equal(t, before, n.digest(t, "main", n.self))
		require.EqualValues(t, 3, n.count(CountWrites, "refused"))
	})
}
