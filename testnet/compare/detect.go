package main

import (
	"context"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// detection gathers how long the observers of several faults took.
type detection struct {
	dead, suspect       []float64 // seconds, of every observer of every fault
	deadAll, suspectAll []float64 // seconds, of the last observer of every fault that all saw
	missing             int       // observers that did not see a death in time
}

// crashMeasure kills nodes one after the other.
func crashMeasure(o options) measure {
	return measure{name: "crash", nodes: 32, needs: needsNothing,
		what: fmt.Sprintf("%d times kill -9 of one, until each of the others reports it dead", o.faults),
		run: func(ctx context.Context, s *session, cl *cluster) ([]figure, error) {
			d, err := s.detect(ctx, cl, "crash", s.settle, cl.kill, cl.start)
			return d.figures(), err
		}}
}

// silentMeasure cuts nodes off one after the other.
func silentMeasure(o options) measure {
	return measure{name: "silent", nodes: 32, needs: needsBreaker,
		what: fmt.Sprintf("%d times all packets of one dropped, until each of the others reports it dead", o.faults),
		run: func(ctx context.Context, s *session, cl *cluster) ([]figure, error) {
			net := cl.net.(breaker)
			silence := func(i int) (time.Time, error) {
				at := time.Now()
				return at, net.silence(i)
			}
			d, err := s.detect(ctx, cl, "silent", s.recovery, silence, func(_ context.Context, i int) error { return net.heal(i) })
			return d.figures(), err
		}}
}

// detect breaks one node after the other, settle after all were well, and mends it again when all others have seen it dead,
// or had the time to.
func (s *session) detect(ctx context.Context, cl *cluster, what string, settle time.Duration,
	fail func(int) (time.Time, error), mend func(context.Context, int) error,
) (detection, error) {
	var d detection
	random := s.choose(what)
	for k := range s.faults {
		if err := pause(ctx, settle); err != nil {
			return d, err
		}
		i := random.IntN(len(cl.members))
		at, err := fail(i)
		if err != nil {
			return d, err
		}
		if err := d.await(ctx, cl, at, i, s.patience); err != nil {
			return d, err
		}
		s.say("%s: %s: %d of %d, %s: seen by %d of %d, the last after %.2f s", what, cl.c.name, k+1, s.faults, nodeName(i),
			len(cl.members)-1-d.missing, len(cl.members)-1, quantile(d.dead[max(0, len(d.dead)-len(cl.members)+1):], 1))
		if err := cl.anyEnded(); err != nil {
			return d, err
		}
		if k == s.faults-1 {
			break
		}
		mending, cancel := context.WithTimeout(ctx, startWait)
		err = mend(mending, i)
		if err == nil {
			err = cl.whole(mending)
		}
		cancel()
		if err != nil {
			return d, fmt.Errorf("after fault %d: %w", k+1, err)
		}
	}
	return d, nil
}

// await enters what the others say of node i, which failed at that time, when all have seen it dead or patience is over.
func (d *detection) await(ctx context.Context, cl *cluster, at time.Time, i int, patience time.Duration) error {
	observers := cl.others(i)
	var dead map[string]float64
	for end := at.Add(patience); ; {
		dead = firsts(cl.log.since(at, event.Dead), at, nodeName(i), observers)
		if len(dead) == len(observers) || time.Now().After(end) {
			break
		}
		if err := pause(ctx, pollCluster); err != nil {
			return err
		}
	}
	d.missing += len(observers) - len(dead)
	d.dead, d.deadAll = enter(d.dead, d.deadAll, dead, len(observers))
	suspect := firsts(cl.log.since(at, event.Suspect), at, nodeName(i), observers)
	d.suspect, d.suspectAll = enter(d.suspect, d.suspectAll, suspect, len(observers))
	return nil
}

// enter adds the times of one fault.
func enter(every, last []float64, times map[string]float64, observers int) (newEvery, newLast []float64) {
	slowest := 0.0
	for _, t := range times {
		every = append(every, t)
		slowest = max(slowest, t)
	}
	if len(times) == observers {
		last = append(last, slowest)
	}
	return every, last
}

func (d detection) figures() []figure {
	seconds := func(name string, v float64, ratio bool) figure {
		return figure{name: name, value: v, unit: "s", digits: 2, ratio: ratio}
	}
	return []figure{
		seconds("dead, median", quantile(d.dead, 0.5), true),
		seconds("dead by all, median", quantile(d.deadAll, 0.5), true),
		seconds("dead, max", quantile(d.dead, 1), true),
		{name: "not seen", value: float64(d.missing)},
		seconds("suspect, median", quantile(d.suspect, 0.5), false),
		seconds("suspect, max", quantile(d.suspect, 1), false),
	}
}
