package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Captured rumors and updates that come again, whoever sends them, change nothing and cost their owner nothing.
func TestReplayedUpdatesChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rumors = 200
		c := newCluster(t)
		a, b := c.start(forgetfulPubsub()), c.start(forgetfulPubsub())
		c.connect(b, a)
		owner := c.raw()
		c.dial(owner.host, a.host)
		owner.join(a)
		var captured []*pubsubpb.Message
		var updates []wire.Update
		for i := range rumors {
			owner.set(t, fmt.Sprint("k", i%10), fmt.Sprint(i))
			u, _ := owner.states["main"].Rumor(owner.id, wire.Version(i))
			m := owner.message("test", "main", wire.MarshalUpdate(&u))
			owner.gossip(a, m)
			captured, updates = append(captured, m), append(updates, u)
			time.Sleep(60 * time.Millisecond)
		}
		within(t, 5*time.Second, "all is there", func() bool {
			return a.get(t, "k9") == fmt.Sprint(rumors-1) && c.equal(a, b)
		})
		var v view
		go func() {
			for e, err := range a.topic(t).Watch(t.Context(), "") {
				if err != nil {
					return
				}
				v.take(t, e)
			}
		}()
		time.Sleep(time.Minute + 3*time.Second) // pubsub looks once a minute what to forget
		digest, stale, sent := a.digest(t, "main", owner.id), a.count(CountDropped, "stale"), b.count(CountDropped, "stale")

		thief := c.raw()
		c.dial(thief.host, a.host)
		for i, u := range updates {
			thief.gossip(a, captured[i])
			thief.publish(a, "test", "main", wire.MarshalUpdate(&u)) // under a name of its own
			time.Sleep(5 * time.Millisecond)
		}
		thief.push(a, "main", updates...)
		within(t, 5*time.Second, "all were taken for what they are", func() bool {
			return a.count(CountDropped, "stale") >= stale+2*rumors && a.count(CountDropped, "malformed") == rumors
		})
		synctest.Wait()
		require.Equal(t, digest, a.digest(t, "main", owner.id))
		require.Zero(t, v.events)
		require.Zero(t, a.count(CountDropped, "over_rate"))
		require.Equal(t, sent, b.count(CountDropped, "stale"), "none was passed on")

		owner.set(t, "k0", "news") // and the owner is still heard
		u, _ := owner.states["main"].Rumor(owner.id, rumors)
		owner.publish(a, "test", "main", wire.MarshalUpdate(&u))
		within(t, time.Second, "the news is there", func() bool { return b.get(t, "k0") == "news" })
		require.NoError(t, a.Close())
	})
}
