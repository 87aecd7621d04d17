package replica

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// take reads n events of seq, which is still going on.
func take(t *testing.T, seq func(func(Event, error) bool), n int) (events []Event) {
	t.Helper()
	for e, err := range seq {
		require.NoError(t, err)
		if events = append(events, e); len(events) == n {
			break
		}
	}
	return events
}

func told(events []Event) (texts []string) {
	for _, e := range events {
		switch e.Kind {
		case Put:
			texts = append(texts, fmt.Sprintf("put %s=%s", e.New.Key, e.New.Value))
		case Deleted:
			texts = append(texts, "deleted "+e.New.Key)
		case Lost:
			texts = append(texts, fmt.Sprintf("lost %s=%s to %s", e.Old.Key, e.Old.Value, e.New.Value))
		case Synced:
			texts = append(texts, "synced")
		case Lagged:
			texts = append(texts, fmt.Sprint("lagged ", e.Missed))
		}
	}
	return texts
}

func TestAReaderThatComesBackGetsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		n.set(t, "app/a", "1")
		first := take(t, n.topic(t).Watch(t.Context(), "app/"), 2)
		require.Equal(t, []string{"put app/a=1", "synced"}, told(first))
		last := first[1].Seq
		n.set(t, "app/a", "2")
		n.set(t, "else", "x")
		_, err := n.topic(t).Delete(t.Context(), "app/a", WriteOptions{})
		require.NoError(t, err)
		events := take(t, n.topic(t).Resume(t.Context(), "app/", last), 3)
		require.Equal(t, []string{"synced", "put app/a=2", "deleted app/a"}, told(events))
		require.Equal(t, []uint64{last, last + 1, last + 3}, []uint64{events[0].Seq, events[1].Seq, events[2].Seq})
		require.Equal(t, "1", string(events[1].Old.Value))
		require.Equal(t, CauseWrite, events[1].Cause)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		live := make(chan Event, 10)
		go func() {
			for e, err := range n.topic(t).Resume(ctx, "app/", last+3) {
				if err == nil {
					live <- e
				}
			}
		}()
		synctest.Wait()
		require.Equal(t, Synced, (<-live).Kind)
		n.set(t, "app/b", "3")
		require.Equal(t, []string{"put app/b=3"}, told([]Event{<-live}), "and then what comes")
	})
}

func TestAReaderThatComesBackTooLateStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		last := take(t, n.topic(t).Watch(t.Context(), ""), 1)[0].Seq
		for i := range recentEvents + 10 {
			key := fmt.Sprintf("k/%d", i%3)
			n.table(t, func(tb *table) {
				tt := tb.topics["main"]
				rec := gossipstate.Record{Owner: n.self, Entry: &wire.Entry{Key: key, Version: 1, Clock: 1}}
				tb.notify(tt, []gossipstate.Event{{Kind: gossipstate.EventPut, Key: key, New: rec}}, CauseWrite)
			})
		}
		n.set(t, "color", "teal")
		events := take(t, n.topic(t).Resume(t.Context(), "", last), 3)
		require.Equal(t, []string{fmt.Sprint("lagged ", recentEvents+11), "put color=teal", "synced"}, told(events))
		for _, of := range []uint64{0, last - 1, events[2].Seq + 1} {
			events := take(t, n.topic(t).Resume(t.Context(), "", of), 3)
			require.Equal(t, []string{"put color=teal", "synced"}, told(events)[1:], "a number of another process")
			require.Equal(t, Lagged, events[0].Kind)
		}
	})
}

func TestWhatIsRememberedForReadersIsBounded(t *testing.T) {
	var r recent
	large := &wire.Entry{Key: "k", Value: make([]byte, wire.MaxValue)}
	for i := range 3 * recentEvents {
		e := gossipstate.Event{Key: "k", New: gossipstate.Record{Entry: &wire.Entry{Key: "k"}}}
		if i%10 == 0 {
			e.New.Entry = large
		}
		r.add(recentEvent{event: e})
		require.LessOrEqual(t, len(r.events), recentEvents)
		require.LessOrEqual(t, r.bytes, recentBytes)
	}
	require.Greater(t, len(r.events), 500)
	f := newFeed[int]()
	require.True(t, f.put(1, 2*feedBytes), "one always fits")
	require.False(t, f.put(2, 1))
	f.take()
	for i := range 4 {
		require.Equal(t, i < 2, f.put(i, feedBytes/2))
	}
}

// Property: readers that break off and come back at random moments see what a reader sees that stays.
func TestReadersThatComeAndGoMissNothing(t *testing.T) {
	for seed := range max(1, *runs/20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 3))
			c := newCluster(t)
			c.start()
			c.start()
			c.connect(c.nodes[1], c.nodes[0])
			n := c.nodes[0]
			var stays, comes view
			var ended []chan struct{}
			follow := func(ctx context.Context, v *view, seq func(func(Event, error) bool)) {
				done := make(chan struct{})
				ended = append(ended, done)
				go func() {
					defer close(done)
					for e, err := range seq {
						if err != nil {
							return
						}
						if e.Kind == Synced {
							v.synced = 0 // once for each time it comes
						}
						v.take(t, e)
						if ctx.Err() != nil {
							return
						}
					}
				}()
			}
			follow(t.Context(), &stays, n.topic(t).Watch(t.Context(), "k/"))
			ctx, cancel := context.WithCancel(t.Context())
			follow(ctx, &comes, n.topic(t).Watch(ctx, "k/"))
			synctest.Wait()
			for step := range 300 {
				randomWrite(t, rng, c.nodes[rng.IntN(2)], step)
				if rng.IntN(8) == 0 {
					time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
				}
				if rng.IntN(5) == 0 {
					cancel()
					<-ended[len(ended)-1]
					for range rng.IntN(5) {
						randomWrite(t, rng, n, step)
					}
					ctx, cancel = context.WithCancel(t.Context())
					follow(ctx, &comes, n.topic(t).Resume(ctx, "k/", comes.seq))
				}
			}
			synctest.Wait()
			require.True(t, maps.Equal(stays.live, comes.live), "seed %d: %v, %v", seed, stays.live, comes.live)
			require.True(t, maps.Equal(stays.live, comes.list(t, n.topic(t), "k/")))
			require.Equal(t, stays.events, comes.events, "each once")
			require.Zero(t, comes.lagged)
			cancel()
			require.NoError(t, n.Close())
			for _, done := range ended {
				<-done
			}
		})
	}
}

// A reader that stalls while thousands of updates a second come costs a bounded queue, and nobody else notices.
func TestAStalledReaderDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, batch, rate, seconds = 500, 50, 5000, 10
		c := newCluster(t)
		n, other := c.start(), c.start()
		c.connect(other, n)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var quick, slow view
		resume := make(chan struct{})
		var ended [2]chan struct{}
		for i, v := range []*view{&quick, &slow} {
			ended[i] = make(chan struct{})
			go func() {
				defer close(ended[i])
				for e, err := range n.topic(t).Watch(ctx, "k/") {
					if err != nil {
						return
					}
					v.take(t, e)
					if v == &slow && v.events == 1 {
						<-resume
					}
				}
			}()
		}
		synctest.Wait()
		for i := 0; i < rate*seconds; i += batch {
			var writes []gossipstate.Mutation
			for j := range batch {
				writes = append(writes, gossipstate.Mutation{Key: fmt.Sprintf("k/%03d", (i+j)%keys), Value: fmt.Append(nil, i+j)})
			}
			_, err := n.topic(t).Write(t.Context(), writes...)
			require.NoError(t, err)
			time.Sleep(time.Second * batch / rate)
		}
		n.table(t, func(tb *table) {
			require.Len(t, tb.topics["main"].feeds, 2)
			for f := range tb.topics["main"].feeds {
				f.mu.Lock()
				waiting := len(f.queue)
				f.mu.Unlock()
				require.LessOrEqual(t, waiting, feedSize)
			}
			require.LessOrEqual(t, len(tb.topics["main"].recent.events), recentEvents)
		})
		within(t, 3*time.Second, "the other node has all", func() bool { return c.equal(n, other) })
		close(resume)
		synctest.Wait()
		require.Equal(t, 1, slow.lagged)
		require.EqualValues(t, rate*seconds, uint64(slow.events)+slow.missed, "every change was seen or counted")
		require.Zero(t, quick.lagged, "who reads does not lag")
		require.Equal(t, rate*seconds, quick.events)
		require.Len(t, slow.live, keys)
		require.True(t, maps.Equal(quick.live, slow.live))
		require.True(t, maps.Equal(slow.live, slow.list(t, n.topic(t), "k/")))
		cancel()
		for _, done := range ended {
			<-done
		}
	})
}

func TestAnEventTellsWhatBroughtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		time.Sleep(3 * time.Second) // in the mesh
		var seen []string
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for e, err := range b.topic(t).Watch(ctx, "") {
				if err != nil {
					return
				}
				seen = append(seen, strings.TrimSpace(fmt.Sprintf("%s %s remote=%v", strings.Join(told([]Event{e}), ""), e.Cause, e.Remote)))
			}
		}()
		synctest.Wait()
		_, err := a.topic(t).Set(t.Context(), "short", []byte("x"), WriteOptions{TTL: time.Second})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		b.set(t, "own", "y")
		synctest.Wait()
		cancel()
		<-ended
		require.Equal(t, []string{
			"synced  remote=false", "put short=x rumor remote=true", "deleted short expired remote=true", "put own=y write remote=false",
		}, seen)
	})
}
