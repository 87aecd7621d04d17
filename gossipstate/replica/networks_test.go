package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// A host that is on two networks, as a shared bootstrap node may be, is no bridge between them.
func TestTwoNetworksOnOneHostExchangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		red := c.start(withNetwork("red"))
		blue := c.start(withNetwork("blue"))
		bridgeRed := c.start(withNetwork("red"))
		bridgeBlue := c.start(withNetwork("blue"), onHostOf(bridgeRed))
		c.connect(red, bridgeRed)
		c.connect(blue, bridgeRed)
		c.connect(red, blue)
		red.set(t, "color", "red")
		blue.set(t, "color", "blue")
		within(t, 5*time.Second, "each network agrees", func() bool {
			return bridgeRed.get(t, "color") == "red" && bridgeBlue.get(t, "color") == "blue" &&
				c.equal(red, bridgeRed) && c.equal(blue, bridgeBlue)
		})
		time.Sleep(30 * time.Second)
		for _, n := range c.nodes {
			members, err := n.Members(t.Context())
			require.NoError(t, err)
			require.Len(t, members, 2)
			values, err := n.topic(t).List(t.Context(), ListOptions{Tombstones: true})
			require.NoError(t, err)
			require.Len(t, values, 1)
			require.Equal(t, n.cfg.Network, string(values[0].Value))
		}
		require.Zero(t, red.status(t, blue))
		require.Zero(t, blue.status(t, red))
	})
}

func TestAnUpdateOfAnotherNetworkIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withNetwork("blue"))
		p := c.raw()
		p.on = "blue"
		p.author = authorOf(t, p.key, "red") // signs for the network "red", speaks the protocols of "blue"
		p.set(t, "color", "red")
		c.dial(p.host, n.host)
		for i, topic := range []string{"members", "main"} {
			p.push(n, topic, p.update(topic)).isReset(5 * time.Second)
			require.EqualValues(t, 2*i+1, n.count(CountDropped, "bad_signature"))
			p.publish(n, "blue", topic, wire.MarshalUpdate(new(p.update(topic))))
			within(t, time.Second, "the rumor is refused", func() bool { return n.count(CountDropped, "bad_signature") == uint64(2*i+2) })
		}
		s := p.beats(n)
		s.sendBytes(wire.MarshalBeatFrame(&wire.BeatFrame{Hello: &wire.BeatHello{}, Digest: new(p.update("members").Signed)}))
		s.isReset(5 * time.Second)
		require.EqualValues(t, 5, n.count(CountDropped, "bad_signature"))
		require.Zero(t, n.digest(t, "members", p.id))
		require.Zero(t, n.digest(t, "main", p.id))
	})
}

func TestAnUpdateOfAnotherTopicIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withConfig(func(cfg *Config) { cfg.Topics = []string{"main", "other"} }))
		p := c.raw()
		p.set(t, "color", "teal")
		c.dial(p.host, n.host)
		p.push(n, "other", p.update("main")).isReset(5 * time.Second)
		require.EqualValues(t, 1, n.count(CountDropped, "bad_signature"))
		p.publish(n, "test", "other", wire.MarshalUpdate(new(p.update("main"))))
		within(t, time.Second, "the rumor is refused", func() bool { return n.count(CountDropped, "bad_signature") == 2 })
		p.push(n, "main", p.update("members")).isReset(5 * time.Second)
		require.EqualValues(t, 1, n.count(CountDropped, "malformed"), "beats stand on members alone")
	})
}
