package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/discovery"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

func TestWhatMakesANodeQuietIsAllowedAndKeepsWhatIsSlowerStill(t *testing.T) {
	cfg := replica.DefaultConfig("test")
	quieten(&cfg)
	require.NoError(t, cfg.Validate())
	require.Greater(t, cfg.Liveness.BeatInterval, replica.DefaultConfig("test").Liveness.BeatInterval)
	require.Less(t, cfg.Neighbours, replica.DefaultConfig("test").Neighbours)

	cfg.Liveness.BeatInterval, cfg.AntiEntropy = 10*time.Second, 10*time.Minute
	quieten(&cfg)
	require.Equal(t, 10*time.Second, cfg.Liveness.BeatInterval)
	require.Equal(t, 10*time.Minute, cfg.AntiEntropy)

	found := discovery.DefaultConfig()
	found.Network, found.AdvertiseInterval, found.LookupInterval = "test", quietAdvertise, quietLookup
	found.ExchangeInterval = quietExchange
	require.NoError(t, found.Validate())
	require.Equal(t, quietHeartbeat, meshParams(6, true).HeartbeatInterval)
	require.Less(t, meshParams(6, false).HeartbeatInterval, quietHeartbeat)
}
