package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// app is an application with a host and a pubsub of its own.
func (c *cluster) app() *node {
	c.t.Helper()
	key := newKey(c.t)
	h, lose := c.newHost(key)
	ps, err := pubsub.NewGossipSub(c.t.Context(), h)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { h.Close() })
	return &node{t: c.t, host: h, key: key, pubsub: ps, lose: lose}
}

// hang lets the peer accept every stream and never answer.
func (p *rawPeer) hang(r *Replica) {
	forever := func(s network.Stream) {}
	p.host.SetStreamHandler(r.syncProtocol(), forever)
	p.host.SetStreamHandler(r.beatProtocol(), forever)
}

func TestCloseLeavesNothingOnTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		app := c.app()
		hung := c.raw()
		c.dial(app.host, hung.host)
		newReplica := func() *Replica {
			r, err := New(app.host, app.pubsub, DefaultConfig("test"))
			require.NoError(t, err)
			r.cfg.FirstSync = 0
			return r
		}
		hung.hang(newReplica())
		time.Sleep(time.Second) // identified
		protocols, before := app.host.Mux().Protocols(), goleak.IgnoreCurrent()
		for i := range 200 {
			r := newReplica()
			topic, err := r.Topic("main")
			require.NoError(t, err)
			ended := make(chan error, 1)
			run := func() { go func() { ended <- r.Run(context.Background()) }() }
			var start time.Time
			shut := func() {
				start = time.Now()
				require.NoError(t, r.Close())
			}
			switch i % 5 {
			case 0: // before Run
				shut()
				run()
				require.ErrorIs(t, <-ended, ErrStopped)
				ended <- nil
			case 1: // during the start
				run()
				shut()
			case 2: // with syncs and beats that wait for an answer
				run()
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				shut()
			case 3: // from inside a Watch loop
				run()
				<-r.Ready()
				for range topic.Watch(t.Context(), "") {
					shut()
				}
			case 4: // while others use it
				run()
				for range 4 {
					go topic.Set(context.Background(), fmt.Sprint("key", i), nil, WriteOptions{})
					go r.Leave(context.Background())
				}
				shut()
			}
			require.LessOrEqual(t, time.Since(start), closeTimeout)
			require.NoError(t, r.Close(), "Close is idempotent")
			if i%5 != 1 && i%5 != 4 {
				require.NoError(t, <-ended)
			} else if err := <-ended; err != nil {
				require.ErrorIs(t, err, ErrStopped) // Close may have been faster than Run
			}
			_, err = topic.Set(context.Background(), "k", nil, WriteOptions{})
			require.ErrorIs(t, err, ErrStopped)
			require.Empty(t, app.pubsub.GetTopics())
			require.ElementsMatch(t, protocols, app.host.Mux().Protocols())
		}
		time.Sleep(15 * time.Second) // handshakes that were cut off are given up
		synctest.Wait()
		require.NoError(t, goleak.Find(before))
		// The application goes on with its host and pubsub.
		own, err := app.pubsub.Join("an own topic")
		require.NoError(t, err)
		require.NoError(t, own.Publish(t.Context(), []byte("hello")))
		require.NoError(t, own.Close())
		require.Len(t, app.host.Network().Peers(), 1)
	})
}

func TestCloseIsNotHeldUpByAPeerThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		for i := range 20 {
			n.set(t, fmt.Sprintf("large/%d", i), strings.Repeat("x", 50_000))
		}
		slow := c.raw()
		c.dial(slow.host, n.host)
		for range 3 {
			s := slow.greeted(n)
			s.send(wantEverything(n)) // and reads nothing of it
		}
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(t, n.Close())
		require.Less(t, time.Since(start), time.Second)
	})
}

func TestCallsBeforeRunEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		app := c.app()
		r, err := New(app.host, app.pubsub, DefaultConfig("test"))
		require.NoError(t, err)
		topic, err := r.Topic("")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = topic.Set(ctx, "key", nil, WriteOptions{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = topic.Get(ctx, "key", "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = r.Members(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, lastError(topic.Watch(ctx, "")), context.DeadlineExceeded)
		require.NoError(t, r.Close())
		_, err = topic.Get(t.Context(), "key", "")
		require.ErrorIs(t, err, ErrStopped)
	})
}

func TestARunThatCannotJoinLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		app := c.app()
		taken, err := app.pubsub.Join(GossipTopic("test", "main"))
		require.NoError(t, err)
		for range 2 {
			r, err := New(app.host, app.pubsub, DefaultConfig("test"))
			require.NoError(t, err)
			require.ErrorContains(t, r.Run(t.Context()), "already exists")
			require.Equal(t, []string(nil), app.pubsub.GetTopics())
		}
		require.NoError(t, taken.Close())
		r, err := New(app.host, app.pubsub, DefaultConfig("test"))
		require.NoError(t, err)
		ended := make(chan error)
		go func() { ended <- r.Run(context.Background()) }()
		<-r.Ready()
		require.NoError(t, r.Close())
		require.NoError(t, <-ended)
	})
}

// A process may stop its replica and start another on the same host: its peers see both go and come.
func TestAReplicaThatReturnsOnTheSameHostIsSyncedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(withoutRumors()), c.start(withoutRumors())
		c.connect(b, a)
		within(t, 5*time.Second, "both know each other", func() bool { return c.equal(a, b) })
		require.NoError(t, b.Close())
		time.Sleep(30 * time.Second)
		failed := a.count(CountSync, "failed")
		time.Sleep(30 * time.Second)
		require.Equal(t, failed, a.count(CountSync, "failed"), "nobody asks a peer that has left the network")
		a.set(t, "color", "teal")
		again := c.start(onHostOf(b))
		within(t, 3*time.Second, "it has what it missed", func() bool { return again.get(t, "color") == "teal" })
	})
}
