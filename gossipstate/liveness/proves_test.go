package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestABeatProvesTheChainOfItsDigestAndNoOther(t *testing.T) {
	a, b := newActor('a', 1), newActor('b', 1)
	for _, k := range []uint32{1, 7, 300} {
		require.True(t, Proves(&a.digest, a.chain.Beat(k)))
		require.False(t, Proves(&b.digest, a.chain.Beat(k)))
	}
	moved := a.chain.Beat(7)
	moved.Index = 8
	require.False(t, Proves(&a.digest, moved))
	renamed := a.chain.Beat(7)
	renamed.Anchor++
	require.False(t, Proves(&a.digest, renamed), "it is a beat of another chain, as it says itself")
	later := *a
	later.digest.Generation++
	require.False(t, Proves(&later.digest, a.chain.Beat(7)), "a chain is bound to its generation")
	require.False(t, Proves(&wire.Digest{Owner: a.id()}, wire.Beat{}), "who does not beat proves nothing")
	beyond := wire.Beat{Anchor: a.digest.BeatAnchor.Name(), Index: 301}
	require.False(t, Proves(&a.digest, beyond))
}

func TestTheNewestBeatIsTheOneToPassOn(t *testing.T) {
	table := newTable(t)
	a := newActor('a', 1)
	_, known := table.NewestBeat(a.id())
	require.False(t, known, "not a member")
	_, err := table.Digest(a.digest, epoch, epoch)
	require.NoError(t, err)
	_, known = table.NewestBeat(a.id())
	require.False(t, known, "no beat yet")
	for _, k := range []uint32{5, 3, 9} {
		_, _, err := table.Beat(a.id(), a.chain.Beat(k), epoch.Add(time.Second))
		require.NoError(t, err)
	}
	newest, known := table.NewestBeat(a.id())
	require.True(t, known)
	require.Equal(t, a.chain.Beat(9), newest)
	require.True(t, Proves(&a.digest, newest))
}
