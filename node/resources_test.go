package node

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

func TestConnectionsBeyondTheLimitAreRefusedAndCounted(t *testing.T) {
	const maxPeers = 20
	var refused refusals
	m, err := newResources(maxPeers, &refused)
	require.NoError(t, err)
	defer m.Close()
	addr := multiaddr.StringCast("/ip4/127.0.0.1/tcp/1")
	for range 2 * maxPeers {
		c, err := m.OpenConnection(network.DirInbound, false, addr)
		require.NoError(t, err, "all of them may be in their handshake")
		defer c.Done()
	}
	_, err = m.OpenConnection(network.DirInbound, false, addr)
	require.ErrorIs(t, err, network.ErrResourceLimitExceeded)
	c, err := m.OpenConnection(network.DirOutbound, false, addr)
	require.NoError(t, err, "a node that is full may dial")
	defer c.Done()

	var counted metrics
	counted.refused(&refused)
	for _, one := range counted {
		want := 0.0
		if strings.HasPrefix(one.Labels["reason"], "connection") {
			want = 1
		}
		require.Equal(t, want, one.Value, one.Labels)
	}
}
