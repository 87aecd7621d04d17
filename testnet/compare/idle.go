package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

// idleMeasure counts what nodes cost when nothing happens.
func idleMeasure(o options) measure {
	return measure{name: "idle", nodes: 128, needs: needsMeter, idle: true,
		what: fmt.Sprintf("for %v, %v after the start; bytes sent are those of each node's interface, with Ethernet's headers",
			o.idle, o.idleSettle),
		run: idle}
}

// sample is what a node has used so far.
type sample struct {
	usage
	sent uint64
}

func (cl *cluster) samples() ([]sample, error) {
	out := make([]sample, len(cl.members))
	for i, m := range cl.members {
		var err error
		if out[i].usage, err = processUsage(m.process().Pid); err != nil {
			return nil, err
		}
		if out[i].sent, err = cl.net.(meter).sent(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func idle(ctx context.Context, s *session, cl *cluster) ([]figure, error) {
	if err := pause(ctx, s.idleSettle); err != nil {
		return nil, err
	}
	before, err := cl.samples()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := pause(ctx, s.idle); err != nil {
		return nil, err
	}
	after, err := cl.samples()
	if err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	if err := cl.whole(ctx); err != nil {
		return nil, fmt.Errorf("after the measure: %w", err)
	}
	var bytes, cpu, rss, peers []float64
	for i := range after {
		bytes = append(bytes, float64(after[i].sent-before[i].sent)/took)
		cpu = append(cpu, 100*(after[i].cpu-before[i].cpu).Seconds()/took)
		rss = append(rss, float64(after[i].rss)/(1<<20))
		n, err := cl.members[i].peers(ctx)
		if err != nil {
			return nil, err
		}
		peers = append(peers, n)
	}
	if cl.c.name == reference {
		s.degree = int(math.Round(mean(peers)))
	}
	return []figure{
		{name: "sent", value: mean(bytes), unit: "B/s", ratio: true},
		{name: "sent, max", value: quantile(bytes, 1), unit: "B/s", ratio: true},
		{name: "cpu", value: mean(cpu), unit: "% of a core", digits: 3, ratio: true},
		{name: "rss", value: mean(rss), unit: "MiB", ratio: true},
		{name: "connections", value: mean(peers), digits: 1},
	}, nil
}
