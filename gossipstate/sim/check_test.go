package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Each invariant must see what it is there for.
func TestViolationsAreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(w *world)
		want   string
	}{
		"a copy other than the one signed": {func(w *world) {
			w.set(1, "color", "teal")
			for _, said := range w.nodes[1].said.said {
				said.sum = [32]byte{}
			}
		}, "the copy of node 1 on main at generation"},
		"a copy that goes back": {func(w *world) {
			for _, n := range w.nodes[1:] {
				n.proc.topic[mainTopic].heldOf(w.nodes[0]).item = &wire.Item{Generation: w.Generation(0) + 1}
			}
			w.set(0, "color", "teal")
		}, "the copy of node 0 went back"},
		"a key that was not written": {func(w *world) {
			p := w.nodes[2].proc
			t := p.topic[mainTopic]
			pending, err := t.state.Prepare(p.selfOn(t), []gossipstate.Mutation{{Key: "x"}}, p.node.sign, w.now(), 0)
			require.NoError(w.t, err)
			t.state.Install(pending)
			*t.heldOf(p.node) = moment{}
			_ = w.Set(2, "y", "")
		}, `node 2 signs "x"`},
		"a key that was lost": {func(w *world) {
			w.nodes[2].said.model[mainTopic]["lost"] = wantEntry{}
			_ = w.Set(2, "y", "")
		}, "node 2 lost 1 of its own keys"},
		"a death of who lives": {func(w *world) {
			w.run(time.Minute)
			w.nodes[3].proc.sawTransition(&liveness.Transition{Owner: w.nodes[1].id, To: liveness.Dead, Reason: "a bug"})
		}, "node 3 calls node 1 dead (a bug), which runs and is connected"},
		"equal nodes that differ": {func(w *world) {
			w.nodes[3].proc.topic[members].state.Drop(w.nodes[1].id)
			require.ErrorContains(w.t, w.CheckConverged(), "hold different copies on members")
		}, "hold different copies on members"},
		"an update changed nothing": {func(w *world) {
			t := w.nodes[0].proc.topic[members]
			_, signed, _ := t.state.Digest(w.nodes[1].id)
			d, err := wire.UnmarshalDigest(signed.Digest)
			require.NoError(w.t, err)
			v, err := w.verify(t, &wire.Update{Signed: signed, Digest: d, Previous: d.Version})
			require.NoError(w.t, err)
			t.state.Drop(w.nodes[1].id)
			w.nodes[0].proc.checkApplied(t, v, &gossipstate.Result{Outcome: gossipstate.Stale}, nil)
		}, "changed its copy although the outcome was stale"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, small(5, 4))
			w.start()
			c.breaks(w)
			err := w.RunFor(time.Second)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "seed 5 at ")
			require.Equal(t, err, w.RunFor(time.Hour), "nothing happens any more")
		})
	}
}
