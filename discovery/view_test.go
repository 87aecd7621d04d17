package discovery

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func seats(n int) []seat {
	all := make([]seat, n)
	for i := range all {
		all[i] = seat{peer.ID(fmt.Sprintf("p-%d", i)), fmt.Sprintf("10.%d.0.0/16", i%7)}
	}
	return all
}

func TestASamplerThatLostItsPeerTakesWhomItWouldHaveTakenWithoutIt(t *testing.T) {
	v := newView(rand.New(rand.NewPCG(1, 2)))
	all := seats(60)
	for _, s := range all {
		v.observe(s)
	}
	require.True(t, v.drop(v.samplers[0].seat.id))
	gone := 0
	for i := range v.samplers {
		if !v.samplers[i].held {
			gone++
		}
	}
	require.NotZero(t, gone)
	require.Less(t, gone, sampleCount)
	v.refill(all)
	for i := range v.samplers {
		fresh := sampler{key: v.samplers[i].key}
		for _, s := range all {
			fresh.observe(s)
		}
		require.Equal(t, fresh, v.samplers[i])
	}
}

func TestARoundWithTooManyPushesTakesNoneAndCountsThem(t *testing.T) {
	v := newView(rand.New(rand.NewPCG(1, 2)))
	old := seats(viewSize)
	for _, s := range old {
		v.seat(s)
	}
	for i := range maxPushes {
		v.push(seat{peer.ID(fmt.Sprintf("a-%d", i)), fmt.Sprint(i)})
	}
	v.turn()
	require.Zero(t, v.blocked)
	taken := 0
	for i := range maxPushes {
		if v.has(peer.ID(fmt.Sprintf("a-%d", i))) {
			taken++
		}
	}
	require.Equal(t, pushShare, taken)

	v = newView(rand.New(rand.NewPCG(1, 2)))
	for _, s := range old {
		v.seat(s)
	}
	for i := range maxPushes + 1 {
		v.push(seat{peer.ID(fmt.Sprintf("a-%d", i)), fmt.Sprint(i)})
	}
	v.turn()
	require.Equal(t, uint64(maxPushes+1), v.blocked)
	require.ElementsMatch(t, old, v.members)
	v.turn()
	require.Equal(t, uint64(maxPushes+1), v.blocked, "each round for itself")
}
