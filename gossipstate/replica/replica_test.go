package replica

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAValueSetOnOneNodeIsReadOnAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		a.set(t, "color", "teal")
		within(t, 3*time.Second, "b reads the value", func() bool { return b.get(t, "color") == "teal" })
		within(t, 5*time.Second, "both hold the same", func() bool { return c.equal(a, b) })
	})
}

func TestAValueReachesNodesWithoutRumors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for i := range 4 {
			c.start(withoutRumors())
			if i > 0 {
				c.connect(c.nodes[i], c.nodes[i-1])
			}
		}
		for i := range 50 {
			c.nodes[0].set(t, fmt.Sprintf("key/%d", i), "value")
		}
		within(t, 15*time.Second, "the end of the line has every key", func() bool {
			return c.nodes[3].get(t, "key/49") == "value" && c.equal(c.nodes...)
		})
	})
}

func TestADeletedKeyIsGoneEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		a.set(t, "color", "teal")
		within(t, 3*time.Second, "b reads the value", func() bool { return b.get(t, "color") == "teal" })
		_, err := b.topic(t).Delete(context.Background(), "color", WriteOptions{})
		require.NoError(t, err)
		within(t, 3*time.Second, "a sees it gone", func() bool { return a.get(t, "color") == "" })
		within(t, 5*time.Second, "both hold the same", func() bool { return c.equal(a, b) })
	})
}

func TestAKilledNodeIsDeadAndALeavingOneHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, d := c.start(), c.start(), c.start()
		c.connect(b, a)
		c.connect(d, a)
		c.connect(d, b)
		within(t, 5*time.Second, "all alive", func() bool {
			return a.status(t, b) == "alive" && a.status(t, d) == "alive" && b.status(t, d) == "alive"
		})
		time.Sleep(2 * time.Second) // beats have come
		require.NoError(t, d.Leave(context.Background()))
		d.kill()
		within(t, time.Second, "d has left", func() bool { return a.status(t, d) == "left" && b.status(t, d) == "left" })
		b.kill()
		within(t, 10*time.Second, "b is dead", func() bool { return a.status(t, b) == "dead" })
	})
}
