package liveness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Who says "refused" asks for haste. Among nodes that trust each other three liars could so kill, for less than a beat interval each
// time, whoever is well. A node that hears the member itself does not let them.
func TestHasteNeedsThatThisNodeHearsNothingEither(t *testing.T) {
	besieged := func(t *testing.T) (*world, map[byte]*actor) {
		w, of := court(t, "abcd", trusting)
		w.neighbours(of['a'])
		w.beat(of['a'].id(), of['a'].beat())
		for _, liar := range []byte("bcd") {
			w.accuses(of[liar], w.said(of['a'], true))
		}
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		return w, of
	}
	t.Run("while its beats come in time", func(t *testing.T) {
		w, of := besieged(t)
		w.run(interval)
		require.Empty(t, w.story())
		w.beat(of['a'].id(), of['a'].beat())
		require.Equal(t, []string{"a suspect->alive"}, w.story())
	})
	t.Run("when one is late it is dead", func(t *testing.T) {
		w, _ := besieged(t)
		w.run(interval * 3 / 2)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
	})
	t.Run("when its port refuses this node, too, it is dead", func(t *testing.T) {
		w, of := besieged(t)
		w.down(of['a'].id(), ConnectionLost)
		w.down(of['a'].id(), RedialRefused)
		w.run(RefusedTimeout)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
	})
	t.Run("when only the connection is lost it is dead", func(t *testing.T) {
		w, of := besieged(t)
		w.down(of['a'].id(), ConnectionLost)
		w.run(RefusedTimeout)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
	})
	t.Run("who does not hear it believes the quorum", func(t *testing.T) {
		w, of := court(t, "abcd", trusting)
		for _, by := range []byte("bcd") {
			w.accuses(of[by], w.said(of['a'], true))
		}
		w.run(RefusedTimeout)
		require.Equal(t, []string{"a alive->suspect", "a suspect->dead"}, w.story())
	})
}
