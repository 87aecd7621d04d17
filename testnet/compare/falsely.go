package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// frozenShare is the share of nodes that are stopped: the one for which figures have been published.
const frozenShare = 0.1

// freezeMeasure stops a tenth of the nodes for a while and counts who was declared dead by whom, until some time after.
func freezeMeasure(o options) measure {
	return measure{name: "freeze", nodes: 32, needs: needsNothing,
		what: fmt.Sprintf("SIGSTOP of %.0f %% for %v, and %v after it; deaths are counted by observer and node",
			frozenShare*100, o.freeze, o.after),
		run: freeze}
}

func freeze(ctx context.Context, s *session, cl *cluster) ([]figure, error) {
	if err := pause(ctx, s.settle); err != nil {
		return nil, err
	}
	n := len(cl.members)
	chosen := s.choose("freeze").Perm(n)[:max(1, int(frozenShare*float64(n)+0.5))]
	frozen := map[string]bool{}
	from := time.Now()
	for _, i := range chosen {
		frozen[nodeName(i)] = true
		if err := cl.members[i].process().Signal(syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	err := pause(ctx, s.freeze)
	for _, i := range chosen {
		if wakeErr := cl.members[i].process().Signal(syscall.SIGCONT); err == nil {
			err = wakeErr
		}
	}
	if err == nil {
		err = pause(ctx, s.after)
	}
	if err == nil {
		err = cl.anyEnded()
	}
	if err != nil {
		return nil, err
	}
	v := judge(cl.log.since(from, event.Dead), frozen)
	suspected := judge(cl.log.since(from, event.Suspect), frozen)
	return []figure{
		{name: "deaths of healthy", value: float64(v.healthyPairs)},
		{name: "healthy nodes hit", value: float64(v.healthyNodes)},
		{name: "deaths of frozen", value: float64(v.faultyPairs)},
		{name: "frozen nodes hit", value: float64(v.faultyNodes)},
		{name: "frozen", value: float64(len(chosen))},
		{name: "suspicions of healthy", value: float64(suspected.healthyPairs)},
	}, nil
}

// lossMeasure drops packets everywhere for a while and counts who was declared dead by whom: all are healthy.
func lossMeasure(o options) measure {
	return measure{name: "loss", nodes: 64, needs: needsBreaker,
		what: fmt.Sprintf("%v %% of all packets dropped for %v; deaths are counted by observer and node, all are healthy",
			o.loss, o.lossFor),
		run: lose}
}

func lose(ctx context.Context, s *session, cl *cluster) ([]figure, error) {
	if err := pause(ctx, s.settle); err != nil {
		return nil, err
	}
	net := cl.net.(breaker)
	from := time.Now()
	if err := net.lose(s.loss); err != nil {
		return nil, err
	}
	if err := pause(ctx, s.lossFor); err != nil {
		return nil, err
	}
	v := judge(cl.log.since(from, event.Dead), nil)
	suspected := judge(cl.log.since(from, event.Suspect), nil)
	began := time.Now()
	if err := net.lose(0); err != nil {
		return nil, err
	}
	healing, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := cl.whole(healing); err != nil {
		return nil, fmt.Errorf("after the loss: %w", err)
	}
	return []figure{
		{name: "healthy nodes declared dead", value: float64(v.healthyNodes)},
		{name: "deaths", value: float64(v.healthyPairs)},
		{name: "suspicions", value: float64(suspected.healthyPairs)},
		{name: "healthy nodes suspected", value: float64(suspected.healthyNodes)},
		{name: "whole after", value: time.Since(began).Seconds(), unit: "s", digits: 1},
	}, nil
}
