package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eventful is a run in which everything happens once.
func eventful(t *testing.T, change func(*Config)) *world {
	cfg := small(42, 8)
	cfg.Loss, cfg.Duplicate, cfg.Break, cfg.BeatLength = 0.1, 0.1, 0.01, 80
	change(&cfg)
	w := newWorld(t, cfg)
	w.run(7 * time.Second)
	for i := range 30 {
		w.set(i%8, fmt.Sprint("key/", i%5), fmt.Sprint(i))
		w.run(40 * time.Millisecond)
	}
	w.Partition([]int{1, 2, 3})
	w.Kill(4)
	w.Freeze(5, 3*time.Second)
	w.Leave(6)
	w.run(8 * time.Second)
	w.Heal()
	w.Restart(4, true)
	w.Restart(6, false)
	w.run(15 * time.Second)
	return w
}

func TestOneSeedIsOneRun(t *testing.T) {
	a, b := eventful(t, func(*Config) {}), eventful(t, func(*Config) {})
	require.Equal(t, a.Trace(), b.Trace())
	require.Equal(t, a.Events(), b.Events())
	require.Equal(t, a.Total(), b.Total())
	require.Equal(t, a.Fingerprints(), b.Fingerprints())
	require.Equal(t, a.Transitions(), b.Transitions())
	other := eventful(t, func(c *Config) { c.Seed++ })
	require.NotEqual(t, a.Trace(), other.Trace())
}

func TestVerifyingOnceChangesNothing(t *testing.T) {
	once, each := eventful(t, func(*Config) {}), eventful(t, func(c *Config) { c.VerifyOnce = false })
	require.Equal(t, once.Trace(), each.Trace())
	require.Equal(t, once.Total(), each.Total())
}

func TestTheConfigurationIsChecked(t *testing.T) {
	cfg := DefaultConfig(1, 0)
	cfg.Loss, cfg.Degree, cfg.BeatLength = 1, 1, 65
	_, err := New(cfg)
	for _, part := range []string{
		"Nodes is 0: want 1 to 16384", "Loss is 1: want 0 to 0.9", "Degree is 1: want 2 to 64", "BeatLength is 65: want 66 to 4096",
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestTheOverlayIsRegularAndConnected(t *testing.T) {
	for _, c := range []struct{ nodes, degree, links int }{
		{1, 8, 0}, {2, 8, 1}, {5, 8, 10}, {9, 8, 36}, {10, 3, 15}, {50, 8, 200}, {1000, 8, 4000},
	} {
		pairs := overlay(c.nodes, c.degree, rand.New(rand.NewPCG(1, 1)))
		require.InDelta(t, c.links, len(pairs), float64(c.links)/50, "%d nodes", c.nodes)
		peers := make([][]int, c.nodes)
		for _, pair := range pairs {
			require.NotEqual(t, pair[0], pair[1])
			peers[pair[0]], peers[pair[1]] = append(peers[pair[0]], pair[1]), append(peers[pair[1]], pair[0])
		}
		reached := map[int]bool{0: true}
		for next := []int{0}; len(next) > 0; next = next[1:] {
			require.LessOrEqual(t, len(peers[next[0]]), c.degree)
			for _, peer := range peers[next[0]] {
				if !reached[peer] {
					reached[peer] = true
					next = append(next, peer)
				}
			}
		}
		require.Len(t, reached, c.nodes, "all are joined")
	}
}
