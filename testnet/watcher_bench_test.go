package testnet

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

// BenchmarkStalledWatcher is the time from a set on one of four processes, over its API, until the API of two others told of it,
// while 5,000 changes a second come: with no other watcher, with one on the fourth that reads all, and with one there that reads
// nothing. A round is ten seconds of each.
func BenchmarkStalledWatcher(b *testing.B) {
	n := up(b, 4)
	load := n.newLoad()
	p := n.newProbe("n2", "n3", "n4")
	phases := []struct {
		name  string
		watch func() (stop func())
	}{
		{"none", func() func() { return func() {} }},
		{"reading", func() func() { return n.reader("n1") }},
		{"stalled", func() func() {
			w, _ := n.stall("n1")
			return func() {
				for w.one().Kind != api.EventGap { // it did miss some
				}
				w.stop()
			}
		}},
	}
	took := map[string][]time.Duration{}
	for round := 0; b.Loop(); round++ {
		for i := range phases {
			phase := phases[(i+round)%len(phases)] // each is the first one in turn
			stop := phase.watch()
			times := p.times(func() { load.write(n.within(soon), stallChanges) })
			took[phase.name] = append(took[phase.name], times...)
			stop()
			load.held(n.within(soon), n)
		}
	}
	median := map[string]float64{}
	for name, all := range took {
		slices.Sort(all)
		median[name] = float64(all[len(all)/2].Microseconds()) / 1000
		b.ReportMetric(median[name], "ms-"+name)
	}
	b.ReportMetric(median["stalled"]/median["none"], "stalled/none")
	b.ReportMetric(median["stalled"]/median["reading"], "stalled/reading")
	b.ReportMetric(0, "ns/op")
}

// probe is a key that is set on one node and watched on others.
type probe struct {
	n       testNet
	writer  *api.Client
	arrived chan string
	others  int
	written int
}

const probeKey = "probe"

func (n testNet) newProbe(writer string, others ...string) *probe {
	n.t.Helper()
	p := &probe{n: n, writer: n.client(writer), arrived: make(chan string, len(others)), others: len(others)}
	for _, name := range others {
		c := n.client(name)
		synced := make(chan struct{})
		go func() {
			for e, err := range c.WatchState(n.t.Context(), api.WatchOptions{Prefix: probeKey, Initial: true}) {
				switch {
				case err != nil:
					return
				case e.Kind == api.EventSynced:
					close(synced)
				case e.Kind == api.EventPut:
					p.arrived <- string(e.Value.Value)
				}
			}
		}()
		<-synced
	}
	return p
}

// times are how long the others took to hear of each of the probe's changes, one after the other, while f runs.
func (p *probe) times(f func()) (all []time.Duration) {
	p.n.t.Helper()
	ctx, cancel := context.WithCancel(p.n.t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			took, err := p.once()
			if err != nil {
				done <- err
				return
			}
			all = append(all, took)
		}
		done <- nil
	}()
	f()
	cancel()
	require.NoError(p.n.t, <-done)
	return all
}

func (p *probe) once() (time.Duration, error) {
	p.written++
	value := strconv.Itoa(p.written)
	began := time.Now()
	ctx, cancel := context.WithTimeout(p.n.t.Context(), soon)
	defer cancel()
	if _, err := p.writer.Set(ctx, probeKey, []byte(value), api.WriteOptions{}); err != nil {
		return 0, err
	}
	for seen := 0; seen < p.others; {
		select {
		case v := <-p.arrived:
			if v == value {
				seen++
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return time.Since(began), nil
}
