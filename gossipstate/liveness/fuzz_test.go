package liveness

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// FuzzBeat feeds arbitrary beats, genuine ones among them, from a few sources to a table with two owners and a stranger
// under the name of one of them. Ten bytes are one beat: source, owner, index, whether that is a huge one, milliseconds passed, and
// what is flipped in the preimage. The first 64 count.
func FuzzBeat(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 0, 0, 2, 0, 0, 0, 100, 0, 0})
	f.Add([]byte{1, 1, 1, 40, 0, 0, 0, 0, 0, 0, 1, 1, 1, 41, 0, 0, 0, 0, 7, 1})
	f.Add([]byte{2, 2, 0, 9, 255, 0, 255, 255, 0, 0, 2, 3, 0, 7, 0, 0, 1, 0, 0, 0})
	owners := []*actor{newActor('a', 1), newActor('b', 1), newActor('u', 1)}
	owners = append(owners, namesake('f', owners[0]))
	owners[3].digest.BeatLength = 350
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 640)]
		w := newWorld(t)
		for _, a := range owners[:2] {
			w.table.NeighbourUp(a.id(), w.now)
			w.digest(a)
		}
		w.digest(owners[3])
		for ; len(data) >= 10; data = data[10:] {
			a := owners[data[1]%4]
			b := wire.Beat{Anchor: a.digest.BeatAnchor.Name(), Index: uint32(binary.BigEndian.Uint16(data[2:])) % 400}
			if data[4] == 255 {
				b.Index = ^b.Index
			}
			genuine := b.Index >= 1 && b.Index <= a.chain.Length() && data[9] == 0
			if b.Index >= 1 && b.Index <= a.chain.Length() {
				b.Preimage = a.chain.Beat(b.Index).Preimage
			}
			b.Preimage[data[8]%16] ^= data[9]
			genuine = genuine && a != owners[3] // nobody knows the chain of its anchor
			w.now = w.now.Add(time.Duration(binary.BigEndian.Uint16(data[6:])) * time.Millisecond)
			before := w.proofs()
			outcome, _, err := w.table.Beat(id("abr"[data[0]%3]), b, w.now)
			require.True(t, err == nil && outcome != 0 || errors.Is(err, ErrForged) && outcome == 0)
			after := w.proofs()
			for i := range before {
				fresh := outcome == Fresh && i == int(data[1]%4)
				require.Equal(t, fresh, before[i] != after[i], "only a fresh beat changes a proof, and that of its owner")
				require.GreaterOrEqual(t, after[i].Compare(before[i]), 0)
			}
			if genuine {
				require.NoError(t, err)
			} else {
				require.NotEqual(t, Fresh, outcome)
			}
			w.table.Tick(w.now)
			for _, relayed := range w.table.RelayTo(id('a'), w.now) {
				require.NotZero(t, relayed.Index)
			}
		}
		earned := uint64(w.now.Sub(epoch)/time.Millisecond)*HashRate/1000 + HashRate
		require.LessOrEqual(t, w.table.Counters().Hashes, 3*earned)
	})
}

// proofs of the owners a, b, the unknown u and the stranger f.
func (w *world) proofs() (all [4]Proof) {
	for i, name := range []byte("abuf") {
		all[i], _ = w.table.Proof(id(name))
	}
	return all
}
