package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/bootstrap"
)

// fixed gives cfg a port that it has again after a restart.
func fixed(t *testing.T, cfg Config) Config {
	cfg.Network.Listen = []string{"/ip4/127.0.0.1/tcp/" + freePort(t)}
	return cfg
}

func TestNodesFindEachOtherAgainWithoutTheirBootstrap(t *testing.T) {
	hub := start(t, localConfig(t, "hub"))
	a, b := fixed(t, localConfig(t, "a")), fixed(t, localConfig(t, "b"))
	a.Network.Bootstrap = []string{hub.address()}
	b.Network.Bootstrap = []string{hub.address()}
	first, second := start(t, a), start(t, b)
	first.awaitStatus(t, second.Info().ID, "alive")
	require.Eventually(t, func() bool {
		return len(first.discovery.Remembered(context.Background())) >= 2 && len(second.discovery.Remembered(context.Background())) >= 2
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, hub.stop())
	require.NoError(t, first.stop())
	require.NoError(t, second.stop())

	peers, err := bootstrap.ReadPeers(filepath.Join(a.DataDir, peersFile), time.Now())
	require.NoError(t, err)
	require.Len(t, peers, 2)
	a.Network.Bootstrap, b.Network.Bootstrap = nil, nil // as good as gone
	again, other := start(t, a), start(t, b)
	again.awaitStatus(t, other.Info().ID, "alive")
}

func TestDamagedRememberedPeersCostNoStart(t *testing.T) {
	cfg := localConfig(t, "a")
	require.NoError(t, os.MkdirAll(cfg.DataDir, 0o700))
	path := filepath.Join(cfg.DataDir, peersFile)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	n := start(t, cfg)
	require.FileExists(t, path+".damaged")
	require.NoFileExists(t, path)
	require.NoError(t, n.stop())
	require.NoFileExists(t, path, "it met nobody")
}

func TestTheAgeOfTheLastAdvertisementIsExported(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{a.address()}
	b := start(t, cfg)
	exported := func() bool {
		for _, m := range b.Metrics() {
			if strings.HasSuffix(m.Name, "_last_advertise_age_seconds") {
				return m.Value >= 0 && m.Value < 60
			}
		}
		return false
	}
	require.Eventually(t, exported, time.Minute, 20*time.Millisecond)
}
