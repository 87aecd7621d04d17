package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// past is what the node remembers of key: "2 teal", "3 deleted now".
func (n *node) past(t *testing.T, key string) (texts []string) {
	t.Helper()
	v, err := n.topic(t).History(t.Context(), key, "")
	require.NoError(t, err)
	for i, value := range v.Values {
		text := fmt.Sprintf("%d %s", value.Clock, value.Value)
		if value.Deleted {
			text = fmt.Sprintf("%d deleted", value.Clock)
		}
		if i == 0 && v.Current {
			text += " now"
		}
		texts = append(texts, text)
	}
	return texts
}

func TestEveryNodeRemembersWhatItSawAndBringsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		time.Sleep(3 * time.Second) // in the mesh
		all := func() {
			t.Helper()
			within(t, 3*time.Second, "both agree", func() bool { return c.equal(a, b) })
		}
		_, err := a.topic(t).Set(t.Context(), "color", []byte("teal"), WriteOptions{ContentType: "text/x-colour"})
		require.NoError(t, err)
		all()
		b.set(t, "color", "red")
		all()
		_, err = a.topic(t).Delete(t.Context(), "color", WriteOptions{})
		require.NoError(t, err)
		all()
		for _, n := range c.nodes {
			require.Equal(t, []string{"3 deleted now", "2 red", "1 teal"}, n.past(t, "color"))
		}
		_, err = b.topic(t).Revert(t.Context(), "color", 3, WriteOptions{})
		require.ErrorIs(t, err, ErrNotFound, "a deletion has no value")
		_, err = b.topic(t).Revert(t.Context(), "color", 7, WriteOptions{})
		require.ErrorIs(t, err, ErrNotFound)
		_, err = b.topic(t).Revert(t.Context(), "color", 1, WriteOptions{IfClock: new(gossipstate.Clock(2))})
		require.ErrorAs(t, err, new(*ConflictError))
		w, err := b.topic(t).Revert(t.Context(), "color", 1, WriteOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 4, w.Value.Clock)
		require.Equal(t, "text/x-colour", w.Value.ContentType)
		all()
		require.Equal(t, "teal", a.get(t, "color"))
		require.Equal(t, []string{"4 teal now", "2 red", "1 teal"}, a.past(t, "color"))

		a.set(t, "~/mine", "1")
		all()
		a.set(t, "~/mine", "2")
		all()
		require.Equal(t, []string{"2 2 now", "1 1"}, a.past(t, "~/mine"))
		_, err = b.topic(t).History(t.Context(), "~/mine", "")
		require.ErrorIs(t, err, ErrNotFound, "b's own")
		v, err := b.topic(t).History(t.Context(), "~/mine", a.host.ID())
		require.NoError(t, err)
		old, ok := v.At(1)
		require.True(t, ok)
		require.Equal(t, "1", string(old.Value), "it came in a rumor before the second")
		_, ok = v.At(9)
		require.False(t, ok)

		late := c.start()
		c.connect(late, a)
		within(t, 5*time.Second, "all agree", func() bool { return c.equal(a, late) })
		require.Equal(t, []string{"4 teal now"}, late.past(t, "color"), "who came later does not know what was before")
	})
}

func TestConditionsHoldForKeysOfOnesOwnToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		at := func(clock gossipstate.Clock) WriteOptions { return WriteOptions{IfClock: &clock} }
		_, err := n.topic(t).Set(t.Context(), "~/k", []byte("1"), at(0))
		require.NoError(t, err)
		before := n.digest(t, "main", n.self)
		_, err = n.topic(t).Set(t.Context(), "~/k", []byte("2"), at(0))
		require.ErrorAs(t, err, new(*ConflictError))
		_, err = n.topic(t).Delete(t.Context(), "~/k", at(7))
		require.ErrorAs(t, err, new(*ConflictError))
		require.Equal(t, before, n.digest(t, "main", n.self), "nothing has happened")
		_, err = n.topic(t).Delete(t.Context(), "~/k", at(1))
		require.NoError(t, err)
		w, err := n.topic(t).Set(t.Context(), "~/k", []byte("3"), at(0))
		require.NoError(t, err)
		require.EqualValues(t, 3, w.Value.Clock, "the clock goes on over a deletion")
	})
}
