package main

import (
	"math"
	"slices"
	"time"
)

// quantile is the value below which a share q of values lies, by nearest rank; NaN when there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// mean is NaN when there are no values.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// pair is who said it, of whom.
type pair struct{ observer, subject string }

// firsts is how long after start each of the observers first said it of subject, in seconds; observers that never did
// are not in it.
func firsts(seen []sighting, start time.Time, subject string, observers map[string]bool) map[string]float64 {
	out := map[string]float64{}
	for _, g := range seen {
		if _, have := out[g.observer]; have || g.subject != subject || !observers[g.observer] {
			continue
		}
		out[g.observer] = g.at.Sub(start).Seconds()
	}
	return out
}

// verdicts counts different pairs of seen, and different subjects in them, by whether the subject is one of faulty.
type verdicts struct{ healthyPairs, healthyNodes, faultyPairs, faultyNodes int }

func judge(seen []sighting, faulty map[string]bool) verdicts {
	pairs, nodes := map[pair]bool{}, map[string]bool{}
	var v verdicts
	for _, g := range seen {
		p := pair{g.observer, g.subject}
		if pairs[p] {
			continue
		}
		pairs[p] = true
		newNode := !nodes[g.subject]
		nodes[g.subject] = true
		if faulty[g.subject] {
			v.faultyPairs++
			v.faultyNodes += one(newNode)
		} else {
			v.healthyPairs++
			v.healthyNodes += one(newNode)
		}
	}
	return v
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
