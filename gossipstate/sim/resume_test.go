package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// A joiner fetches everything over streams that break at one frame after the other. What it has taken it is not sent again, be
// it an owner's whole copy or the parts of a large one.
func TestAJoinerIsSentEverythingOnceHoweverItsStreamsBreak(t *testing.T) {
	const nodes, keys = 10, 1000
	whole := join(t, nodes, keys, 0)
	for _, every := range []int{2, 3, 5} {
		broken := join(t, nodes, keys, every)
		require.Positive(t, broken.breaks, "no stream broke")
		require.Equal(t, whole.entries, broken.entries)
		// A break may overtake the one update sent just before it, which then has to come again.
		require.LessOrEqual(t, broken.twice, broken.breaks, "broken every %d frames: %+v", every, broken)
	}
}

// joined is what it took to join.
type joined struct {
	entries int // that came
	twice   int // updates with one that was sent in a session which began after it should have come
	breaks  int
	took    time.Duration
}

// join has a node join a network that holds keys, and an owner of several frames, without rumors; every so many update frames
// that come to it its stream breaks, 0: none.
func join(t *testing.T, nodes, keys, every int) joined {
	cfg := small(1, nodes+1)
	cfg.NoRumors, cfg.BeatLength, cfg.Resets = true, 200, true
	w := newWorld(t, cfg)
	w.start()
	joiner := nodes
	w.Kill(joiner)
	for i := range nodes {
		var mutations []gossipstate.Mutation
		for k := range keys / nodes {
			mutations = append(mutations, gossipstate.Mutation{Key: fmt.Sprint("key/", i, "/", k), Value: []byte("a value of some bytes")})
		}
		if i == 0 {
			for k := range 12 {
				mutations = append(mutations, gossipstate.Mutation{Key: fmt.Sprint("large/", k), Value: []byte(strings.Repeat("x", wire.MaxValue))})
			}
		}
		require.NoError(t, w.Write(i, mutations...))
	}
	w.within(3*cfg.AntiEntropy, w.Converged, "the others agree")

	var j joined
	frames, seen, began := 0, map[string]time.Duration{}, map[*stream]time.Duration{}
	w.breaks = func(st *stream, side int) bool {
		f, ok := st.ends[side].waiting[0].frame.(*wire.SyncFrame)
		if ok && f.Hello != nil {
			began[st] = max(began[st], w.Now())
		}
		if !ok || f.Update == nil || st.conn.edge.nodes[1-side].index != joiner || f.Update.Topic != Main {
			return false
		}
		if frames++; every > 0 && frames%every == 0 {
			j.breaks++
			return true
		}
		again := false
		for _, e := range f.Update.Update.Entries {
			key := fmt.Sprint(f.Update.Update.Digest.Owner, e.Key, e.Version)
			if at, came := seen[key]; !came {
				seen[key] = w.Now() + 2*(cfg.Latency+cfg.Jitter)
			} else if at < began[st] {
				again = true
			}
		}
		if again {
			j.twice++
		}
		return false
	}
	w.Restart(joiner, true)
	started := w.Now()
	w.within(time.Minute, func() bool { return w.Converged() }, "the joiner holds what all hold")
	j.took, j.entries = w.Now()-started, len(seen)
	require.NoError(t, w.CheckConverged())
	return j
}
