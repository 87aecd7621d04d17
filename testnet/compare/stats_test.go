package main

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

func TestQuantilesAreByNearestRank(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	require.Equal(t, 1.0, quantile(values, 0))
	require.Equal(t, 3.0, quantile(values, 0.5))
	require.Equal(t, 5.0, quantile(values, 0.9))
	require.Equal(t, 5.0, quantile(values, 1))
	require.Equal(t, []float64{5, 1, 4, 2, 3}, values, "the caller's order stays")
	require.Equal(t, 2.0, quantile([]float64{4, 3, 2, 1}, 0.5))
	require.True(t, math.IsNaN(quantile(nil, 0.5)))
	require.Equal(t, 3.0, mean(values))
	require.True(t, math.IsNaN(mean(nil)))
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func saw(after time.Duration, observer, subject string) sighting {
	return sighting{at: noon.Add(after), observer: observer, subject: subject, see: event.Dead}
}

func TestOnlyTheFirstSightingOfAnObserverCounts(t *testing.T) {
	seen := []sighting{
		saw(time.Second, "n1", "n3"), saw(2*time.Second, "n1", "n3"), saw(3*time.Second, "n2", "n3"),
		saw(time.Second, "n2", "n4"), saw(time.Second, "n9", "n3"),
	}
	require.Equal(t, map[string]float64{"n1": 1, "n2": 3}, firsts(seen, noon, "n3", map[string]bool{"n1": true, "n2": true, "n5": true}))
}

func TestDeathsAreCountedByPairAndByNode(t *testing.T) {
	seen := []sighting{
		saw(0, "n1", "n3"), saw(1, "n1", "n3"), saw(2, "n2", "n3"), // the frozen one, by two
		saw(3, "n1", "n4"), saw(4, "n1", "n5"), saw(5, "n2", "n5"),
	}
	require.Equal(t, verdicts{healthyPairs: 3, healthyNodes: 2, faultyPairs: 2, faultyNodes: 1}, judge(seen, map[string]bool{"n3": true}))
	require.Equal(t, verdicts{healthyPairs: 5, healthyNodes: 3}, judge(seen, nil))
}

func TestOneFaultThatNotAllHaveSeenHasNoLastObserver(t *testing.T) {
	every, last := enter(nil, nil, map[string]float64{"n1": 1, "n2": 3}, 2)
	require.ElementsMatch(t, []float64{1, 3}, every)
	require.Equal(t, []float64{3}, last)
	every, last = enter(every, last, map[string]float64{"n1": 2}, 2)
	require.ElementsMatch(t, []float64{1, 3, 2}, every)
	require.Equal(t, []float64{3}, last)
}

func TestSightingsKnowWhoIsSeenAliveNow(t *testing.T) {
	s := newSightings()
	s.add("n1", event.Event{See: event.Alive, Node: "n1"})
	s.add("n1", event.Event{See: event.Alive, Node: "n2"})
	s.add("n1", event.Event{See: event.Suspect, Node: "n2"})
	require.Equal(t, 2, s.alive("n1"), "who is only suspected is alive")
	s.add("n1", event.Event{See: event.Dead, Node: "n2"})
	require.Equal(t, 1, s.alive("n1"))
	require.Zero(t, s.alive("n2"))
	require.Len(t, s.since(time.Time{}, event.Dead), 1)
	require.Empty(t, s.since(time.Now().Add(time.Hour), event.Dead))
	s.forget("n1")
	require.Zero(t, s.alive("n1"), "it starts anew")
	require.Len(t, s.since(time.Time{}, event.Dead), 1, "but what it said stands")
}
