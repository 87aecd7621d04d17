package sim

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// started is a network of n nodes that know each other.
func started(b *testing.B, n int) *world {
	w := newWorld(b, DefaultConfig(1, n))
	w.start()
	w.run(5 * time.Second)
	w.ResetSpread()
	return w
}

// One write, to all nodes: hops of the last one, arrivals that were in vain for each that was not, in virtual time.
func BenchmarkSpread(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := started(b, n)
			before, writes := w.Total(), 0
			var total time.Duration
			b.ReportAllocs()
			for b.Loop() {
				value := fmt.Sprint(writes)
				w.set(writes%n, "key", value)
				total += w.within(5*time.Second, func() bool {
					for i := range n {
						if v, _ := w.Get(i, "key", 0); v != value {
							return false
						}
					}
					return true
				}, "the value on all nodes")
				writes++
			}
			spread, after := w.Spread(), w.Total()
			b.ReportMetric(float64(total.Milliseconds())/float64(writes), "virtual-ms/write")
			b.ReportMetric(float64(spread.MaxHops), "max-hops")
			b.ReportMetric(float64(spread.Hops)/float64(spread.First), "mean-hops")
			b.ReportMetric(float64(spread.Redundant)/float64(spread.First), "redundant/first")
			b.ReportMetric(float64(after.RumorBytes-before.RumorBytes)/float64(writes*n), "rumor-B/node")
		})
	}
}

// Two halves, a tenth of each has written while they were apart: what it takes to agree, from the healing on.
func BenchmarkHeal(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := started(b, n)
			var total time.Duration
			var bytes uint64
			heals := 0
			for b.Loop() {
				w.Partition(upTo(0, n/2))
				for i := 0; i < n; i += 10 {
					w.set(i, fmt.Sprint("key/", i), fmt.Sprint(heals))
				}
				w.run(10 * time.Second)
				before := w.Total()
				w.Heal()
				total += w.converge(2)
				after := w.Total()
				bytes += after.SyncBytes + after.RumorBytes - before.SyncBytes - before.RumorBytes
				heals++
				w.run(10 * time.Second)
			}
			b.ReportMetric(total.Seconds()/float64(heals), "virtual-s/heal")
			b.ReportMetric(total.Seconds()/float64(heals)/w.cfg.AntiEntropy.Seconds(), "rounds/heal")
			b.ReportMetric(float64(bytes)/float64(heals*n), "B/node")
		})
	}
}

// A network in which nothing happens, a virtual second at a time: the cost of the protocol, and of simulating it.
func BenchmarkIdleSecond(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := started(b, n)
			before, seconds := w.Total(), 0
			b.ReportAllocs()
			for b.Loop() {
				w.run(time.Second)
				seconds++
			}
			after := w.Total()
			per := float64(seconds * n)
			b.ReportMetric(float64(after.BeatBytes-before.BeatBytes)/per, "beat-B/s/node")
			b.ReportMetric(float64(after.SyncBytes-before.SyncBytes)/per, "sync-B/s/node")
			b.ReportMetric(float64(after.RumorBytes-before.RumorBytes)/per, "rumor-B/s/node")
		})
	}
}

// A network of n nodes that has just started, and one write: virtual time and bytes until all agree. From 1,000 nodes on 100
// are members and all others follow. Every event is checked as in the tests.
func BenchmarkNetwork(b *testing.B) {
	for _, n := range []int{128, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				runNetwork(b, n)
			}
		})
	}
}

func runNetwork(b *testing.B, n int) {
	cfg := DefaultConfig(1, n)
	cfg.BeatLength = 200
	if n >= 1000 {
		cfg.Followers = n - 100
	}
	w := newWorld(b, cfg)
	began := time.Now()
	joined := w.within(time.Minute, func() bool {
		return w.Published(0) && len(w.Members(0)) == w.members() && w.Converged()
	}, "all know all members")
	w.run(5 * time.Second)
	w.ResetSpread()
	before := w.Total()
	w.set(0, "color", "teal")
	spread := w.within(20*time.Second, w.Converged, "all have the write")
	after, rumor := w.Total(), w.Spread()
	if w.Now() < time.Minute {
		w.run(time.Minute - w.Now())
	}
	b.ReportMetric(joined.Seconds(), "virtual-s/join")
	b.ReportMetric(float64(before.Bytes())/float64(n), "join-B/node")
	b.ReportMetric(spread.Seconds()*1000, "virtual-ms/write")
	b.ReportMetric(spread.Seconds()/cfg.AntiEntropy.Seconds(), "rounds/write")
	b.ReportMetric(float64(after.Bytes()-before.Bytes())/float64(n), "write-B/node")
	b.ReportMetric(float64(rumor.Redundant)/float64(max(1, rumor.First)), "redundant/first")
	b.ReportMetric(float64(w.Events())/time.Since(began).Seconds(), "events/s")
}

// liveMB is what the heap holds that is in use.
func liveMB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// A minute of a network in which all n nodes are members, from its start: the most that can be simulated.
func BenchmarkMembers(b *testing.B) {
	for _, n := range []int{100, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				cfg := DefaultConfig(1, n)
				if n >= 1000 {
					cfg.Tick = 250 * time.Millisecond
				}
				w := newWorld(b, cfg)
				joined := w.within(time.Minute, func() bool { return w.Converged() && w.Count(0, liveness.Alive) == n }, "all know all members")
				live := liveMB()
				w.run(time.Minute - joined)
				for i := range n {
					require.Equal(b, n, w.Count(i, liveness.Alive), "node %d; %s", i, w.seed())
				}
				total := w.Total()
				b.ReportMetric(max(live, liveMB()), "live-MB")
				b.ReportMetric(joined.Seconds(), "virtual-s/join")
				b.ReportMetric(float64(total.Bytes())/float64(n)/60, "B/s/node")
				b.ReportMetric(float64(w.Events()), "events")
			}
		})
	}
}

// A joiner of 50 nodes that hold 10,000 keys, without rumors, over streams that break at every so many update frames.
func BenchmarkJoin(b *testing.B) {
	for _, every := range []int{0, 2, 3, 5} {
		b.Run(fmt.Sprint("break every ", every), func(b *testing.B) {
			var j joined
			for b.Loop() {
				j = join(b, 50, 10_000, every)
				requireSentOnce(b, every, 10_000, j)
			}
			b.ReportMetric(j.took.Seconds(), "virtual-s/join")
			b.ReportMetric(float64(j.breaks), "breaks")
			b.ReportMetric(float64(j.repeats)/float64(j.entries), "repeats/entry")
			b.ReportMetric(float64(j.twice), "sent-again")
			b.ReportMetric(float64(j.parts), "parts-again")
		})
	}
}

// Machines of which each is set up anew five times in ten minutes: see churn.
func BenchmarkChurn(b *testing.B) {
	for _, n := range []int{60, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				churn(b, n)
			}
		})
	}
}

// The failure detector under faults, a virtual minute at a time: -benchtime 60x is an hour, ns/op the time that a minute takes.
// Nobody who is well may die; the metrics say how many are suspected, and what it costs.
func BenchmarkLiveness(b *testing.B) {
	for _, n := range []int{128, 200, 1000} {
		for _, c := range []struct {
			name   string
			change func(*Config)
			faults func(*ordeal)
		}{
			{"quiet", asIs, nil},
			{"loss 5%", func(c *Config) { c.Loss = 0.05 }, nil},
			{"loss 20%", func(c *Config) { c.Loss = 0.2 }, nil},
			{"5 freeze", func(c *Config) { c.Loss = 0.05 }, func(o *ordeal) { o.freeze(5) }},
			{"all faults", func(c *Config) { c.Loss, c.Latency = 0.05, 200*time.Millisecond }, func(o *ordeal) {
				o.freeze(n / 20)
				o.restart()
			}},
		} {
			b.Run(fmt.Sprintf("%d, %s", n, c.name), func(b *testing.B) {
				w := healthy(b, n, func(cfg *Config) {
					cfg.BeatLength = 0xfff
					c.change(cfg)
				})
				o := &ordeal{sightings: w.sighted()}
				before, minutes := w.Total(), 0
				for b.Loop() {
					for range 6 {
						if c.faults != nil {
							c.faults(o)
						}
						o.watch(10 * time.Second)
					}
					o.requireHealthyLive()
					minutes++
				}
				after := w.Total()
				hours := float64(n*minutes) / 60
				b.ReportMetric(float64(o.episodes)/hours, "suspicions/node-h")
				b.ReportMetric(float64(o.views)/hours, "seen/node-h")
				b.ReportMetric(float64(len(o.dead)), "dead-that-froze")
				b.ReportMetric(float64(after.BeatBytes-before.BeatBytes)/hours/3600, "beat-B/s/node")
				b.ReportMetric(float64(after.RumorBytes-before.RumorBytes)/hours/3600, "rumor-B/s/node")
				b.ReportMetric(float64(after.Bytes()-before.Bytes())/hours/3600, "B/s/node")
			})
		}
	}
}

// ordeal is what happens to a network under test. The first nodes freeze, the last ones restart.
type ordeal struct {
	*sightings
	frozen   int // how many freeze, the first ones
	restarts int
	down     int // that is about to start again; 0: none
}

func (o *ordeal) requireHealthyLive() {
	for _, seen := range o.dead {
		require.Less(o.t, seen.Member, o.frozen, "%+v; %s", seen, o.seed())
	}
}

// freeze stops the first n nodes for 4 s.
func (o *ordeal) freeze(n int) {
	o.frozen = n
	for node := range n {
		o.Freeze(node, 4*time.Second)
	}
}

// restart kills one node after the other, every other time, and starts it again the time after.
func (o *ordeal) restart() {
	if o.down != 0 {
		o.Restart(o.down, o.restarts%2 == 0)
		o.ill[o.down], o.down = false, 0
		return
	}
	o.down = len(o.nodes) - 1 - o.restarts%(len(o.nodes)/2)
	o.restarts++
	o.ill[o.down] = true
	o.Kill(o.down)
}
