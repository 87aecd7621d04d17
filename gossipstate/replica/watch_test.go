package replica

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// view is a topic as a reader of Watch makes it up from the events alone.
type view struct {
	live   map[string]string // value by key, for keys of one owner by owner and key
	seq    uint64
	lagged int
	missed uint64
	synced int
	events int // changes seen
}

func (v *view) key(x Value) string {
	if gossipstate.Shared("main", x.Key) {
		return x.Key
	}
	return x.Key + " of " + x.Owner.String()
}

// take replays one event and checks that it fits what came before.
func (v *view) take(t *testing.T, e Event) {
	inSnapshot := v.synced == 0
	require.GreaterOrEqual(t, e.Seq, v.seq)
	switch e.Kind {
	case Lagged:
		require.NotZero(t, e.Missed)
		v.live, v.synced = nil, 0
		v.lagged++
		v.missed += e.Missed
		return
	case Synced:
		v.synced++
		require.Equal(t, 1, v.synced)
	case Put:
		if v.live == nil {
			v.live = map[string]string{}
		}
		if !inSnapshot {
			require.Equal(t, v.live[v.key(e.New)], string(e.Old.Value), "an event tells what was before")
			v.events++
		}
		v.live[v.key(e.New)] = string(e.New.Value)
	case Deleted:
		require.False(t, inSnapshot)
		require.Equal(t, v.live[v.key(e.New)], string(e.Old.Value))
		delete(v.live, v.key(e.New))
		v.events++
	case Lost:
		v.events++
	}
	v.seq = e.Seq
}

// list is what a reader of List sees, in the form of view.live.
func (v *view) list(t *testing.T, topic *Topic, prefix string) map[string]string {
	values, err := topic.List(t.Context(), ListOptions{Prefix: prefix})
	require.NoError(t, err)
	live := map[string]string{}
	for _, x := range values {
		live[v.key(x)] = string(x.Value)
	}
	return live
}

// Property: whatever is written anywhere, in whatever order it arrives, the events of Watch make up what List shows.
func TestReplayedEventsEqualList(t *testing.T) {
	for seed := range max(1, *runs/20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 2))
			c := newCluster(t)
			for range 3 {
				c.start()
			}
			c.connect(c.nodes[1], c.nodes[0])
			c.connect(c.nodes[2], c.nodes[1])
			ctx, cancel := context.WithCancel(t.Context())
			prefixes := []string{"", "k/", "~/", "k/1"}
			views := map[string]*view{}
			for i, n := range c.nodes {
				for _, prefix := range prefixes {
					v := &view{}
					views[fmt.Sprint(i, prefix)] = v
					go func() {
						for e, err := range n.topic(t).Watch(ctx, prefix) {
							if err != nil {
								require.ErrorIs(t, err, context.Canceled)
								return
							}
							v.take(t, e)
						}
					}()
				}
			}
			compare := func() {
				synctest.Wait() // the readers have read all there is
				for i, n := range c.nodes {
					for _, prefix := range prefixes {
						v := views[fmt.Sprint(i, prefix)]
						require.Equal(t, 1, v.synced)
						live := v.list(t, n.topic(t), prefix)
						require.True(t, maps.Equal(live, v.live), "seed %d, node %d, %q: list %v, replayed %v", seed, i, prefix, live, v.live)
					}
				}
			}
			for step := range 150 {
				randomWrite(t, rng, c.nodes[rng.IntN(3)], step)
				switch rng.IntN(10) {
				case 0:
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
				case 1:
					compare()
				case 2:
					alone := rng.IntN(3)
					c.partition(func(index int) int { return min(1, max(index-alone, alone-index)) })
				case 3:
					c.partition(nil)
				}
			}
			c.partition(nil)
			within(t, time.Minute, fmt.Sprintf("seed %d: all hold the same", seed), func() bool { return c.equal(c.nodes...) })
			compare()
			cancel()
			synctest.Wait()
		})
	}
}

// randomWrite sets or deletes one of few keys, so that nodes often write the same one.
func randomWrite(t *testing.T, rng *rand.Rand, n *node, step int) {
	key := fmt.Sprintf("%s%d", []string{"k/", "~/", "work/", "other"}[rng.IntN(4)], rng.IntN(12))
	var err error
	switch rng.IntN(6) {
	case 0, 1:
		_, err = n.topic(t).Delete(t.Context(), key, WriteOptions{})
	case 2:
		_, err = n.topic(t).Set(t.Context(), key, fmt.Append(nil, step), WriteOptions{TTL: time.Second})
	default:
		_, err = n.topic(t).Set(t.Context(), key, fmt.Append(nil, step), WriteOptions{})
	}
	if err != nil {
		require.ErrorIs(t, err, ErrNotFound)
	}
}

func TestASlowReaderLagsOnceAndThenSeesEveryFinalValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, rounds = 100, 100
		c := newCluster(t)
		n := c.start()
		n.set(t, "k/0", "first")
		var v view
		var f *feed[Event]
		resume := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for e, err := range n.topic(t).Watch(t.Context(), "k/") {
				require.NoError(t, err)
				v.take(t, e)
				if e.Kind == Synced && v.lagged == 0 || v.events == 10 {
					<-resume // stalls here, and again while it catches up
				}
				if e.Kind == Put && string(e.New.Value) == "end" {
					return
				}
			}
		}()
		synctest.Wait()
		n.table(t, func(tb *table) {
			for f = range tb.topics["main"].feeds {
			}
		})
		for round := range rounds {
			for key := range keys {
				n.set(t, fmt.Sprintf("k/%d", key), fmt.Sprint(round))
			}
			if round == rounds/2 {
				resume <- struct{}{}
			}
			time.Sleep(300 * time.Millisecond)
			f.mu.Lock()
			waiting := len(f.queue)
			f.mu.Unlock()
			require.LessOrEqual(t, waiting, feedSize)
		}
		close(resume)
		synctest.Wait()
		require.Equal(t, 1, v.lagged)
		require.EqualValues(t, keys*rounds, uint64(v.events)+v.missed, "every change was seen or counted")
		require.Equal(t, v.missed, n.count(CountLagged, "state"))
		require.Len(t, v.live, keys)
		for key, value := range v.live {
			require.Equal(t, fmt.Sprint(rounds-1), value, key)
		}
		n.set(t, "k/0", "end")
		<-ended
		n.table(t, func(tb *table) { require.Empty(t, tb.topics["main"].feeds, "a reader that has gone costs nothing") })
	})
}

func TestEveryCallIsAllowedInsideAWatchLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, other := c.start(), c.start()
		c.connect(other, n)
		topic := n.topic(t)
		seen := 0
		for e, err := range topic.Watch(t.Context(), "") {
			require.NoError(t, err)
			switch {
			case e.Kind == Synced:
				n.set(t, "a", "1")
			case e.New.Key == "a":
				seen++
				_, err := topic.List(t.Context(), ListOptions{})
				require.NoError(t, err)
				_, err = n.Members(t.Context())
				require.NoError(t, err)
				_, err = topic.Ask(t.Context())
				require.NoError(t, err)
				for inner, err := range topic.Watch(t.Context(), "") {
					require.NoError(t, err)
					if inner.Kind == Synced {
						break
					}
				}
				n.set(t, "b", n.get(t, "a"))
			case e.New.Key == "b" && e.Kind == Put:
				seen++
				_, err := topic.Delete(t.Context(), "b", WriteOptions{})
				require.NoError(t, err)
			case e.New.Key == "b" && e.Kind == Deleted:
				seen++
				require.NoError(t, n.Close())
			}
			if seen == 3 {
				break
			}
		}
		require.Equal(t, 3, seen)
	})
}

func TestAWatchLoopEndsWithItsContextAndWithTheReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, lastError(n.topic(t).Watch(ctx, "")), context.DeadlineExceeded)
		require.ErrorIs(t, lastError(n.WatchMembers(ctx)), context.DeadlineExceeded)
		ended := make(chan error, 2)
		go func() { ended <- lastError(n.topic(t).Watch(t.Context(), "")) }()
		go func() { ended <- lastError(n.WatchMembers(t.Context())) }()
		synctest.Wait()
		require.NoError(t, n.Close())
		require.ErrorIs(t, <-ended, ErrStopped)
		require.ErrorIs(t, <-ended, ErrStopped)
	})
}

// lastError is what a loop over seq ends with.
func lastError[T any](seq func(func(T, error) bool)) (last error) {
	for _, err := range seq {
		last = err
	}
	return last
}

func TestMembersAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start()
		<-a.Ready()
		var seen []string
		go func() {
			for tr, err := range a.WatchMembers(t.Context()) {
				if err != nil {
					return
				}
				seen = append(seen, fmt.Sprintf("%s %s->%s", tr.Name, tr.From, tr.To))
			}
		}()
		synctest.Wait()
		b := c.start(withConfig(func(cfg *Config) { cfg.Description.Name = "b" }))
		c.connect(b, a)
		within(t, 5*time.Second, "b is known", func() bool { return a.status(t, b) == "alive" })
		require.NoError(t, b.Leave(t.Context()))
		within(t, 5*time.Second, "b has left", func() bool { return a.status(t, b) == "left" })
		synctest.Wait()
		require.Equal(t, []string{"b ->alive", "b alive->left"}, seen)
		require.NoError(t, a.Close())
	})
}
