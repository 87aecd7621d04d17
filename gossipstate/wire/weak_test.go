package wire_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestPointsOfSmallOrderAreWeakAndKeysAreNot(t *testing.T) {
	for _, encoded := range smallOrder {
		b, err := hex.DecodeString(encoded)
		require.NoError(t, err)
		require.True(t, wire.ID(b).Weak(), encoded)
		b[15] ^= 1
		require.False(t, wire.ID(b).Weak(), encoded)
	}
	require.Len(t, smallOrder, 14)
	require.False(t, alice.id.Weak())
	require.False(t, bob.id.Weak())
}
