package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eventful is a run in which everything happens once.
func eventful(t *testing.T, change func(*Config)) *world {
	cfg := small(42, 12)
	cfg.Loss, cfg.Duplicate, cfg.Break, cfg.BeatLength = 0.1, 0.1, 0.01, 80
	change(&cfg)
	w := newWorld(t, cfg)
	w.run(7 * time.Second)
	for i := range 30 {
		w.set(i%12, fmt.Sprint("key/", i%5), fmt.Sprint(i))
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
		cfg := DefaultConfig(1, c.nodes)
		cfg.Degree = c.degree
		s := newWorld(t, cfg).Sim
		require.InDelta(t, c.links, len(s.edges), float64(c.links)/50, "%d nodes", c.nodes)
		for _, n := range s.nodes {
			require.LessOrEqual(t, len(n.edges), c.degree)
			require.True(t, s.reaches(s.nodes[0], n), "node %d of %d", n.index, c.nodes)
		}
	}
}

// reaches says whether the overlay joins a and b.
func (s *Sim) reaches(a, b *node) bool {
	reached := map[*node]bool{a: true}
	for next := []*node{a}; len(next) > 0; next = next[1:] {
		for _, e := range next[0].edges {
			if other := e.nodes[1-e.side(next[0])]; !reached[other] {
				reached[other] = true
				next = append(next, other)
			}
		}
	}
	return reached[b]
}
