package testnet

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How soon 32 processes agree about one of them. The README says how to run these benchmarks and what they showed.

const aliveNodes = 32

// healthy is how long a node that was slow at its start, or silent itself, is more patient with others than it need be: its ill
// health wanes in three steps of 10 s.
const healthy = 30 * time.Second

// victim is another node in each round; the first one, through which all joined, is none.
func victim(round int) string { return fmt.Sprintf("n%d", 2+round%(aliveNodes-1)) }

// report reports the median and the largest of all observers' times of all rounds.
func report(b *testing.B, what string, all []time.Duration) {
	b.Helper()
	require.NotEmpty(b, all, what)
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
	unit := "ms-" + strings.ReplaceAll(what, " ", "-")
	b.ReportMetric(ms(all[len(all)/2]), unit+"-median")
	b.ReportMetric(ms(all[len(all)-1]), unit+"-max")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCrash is the time from kill -9 of a process on loopback until each of the others sees it dead.
func BenchmarkCrash(b *testing.B) {
	o := real(b)
	o.Deadline = 3 * time.Minute
	n := upWith(b, o, aliveNodes)
	var dead []time.Duration
	for round := 0; b.Loop(); round++ {
		name := victim(round)
		killed := n.signal(name, syscall.SIGKILL)
		seen := n.everywhere(n.within(soon), n.names(name), name, "dead", has("dead", killed))
		dead = append(dead, seen.delays("dead", killed)...)
		_, err := Restart(b.Context(), n.o, name)
		require.NoError(b, err)
		n.agree(n.within(soon))
	}
	report(b, "dead", dead)
}

// BenchmarkSilence is the time from when the network drops all packets from and to a host until each of the others suspects it,
// and until each sees it dead.
func BenchmarkSilence(b *testing.B) {
	n := upLAN(b, aliveNodes)
	var suspect, dead []time.Duration
	for round := 0; b.Loop(); round++ {
		<-time.After(healthy)
		name := victim(round)
		host := slices.Index(n.names(), name)
		silent := time.Now()
		require.NoError(b, n.lan.Silence(host))
		seen := n.everywhere(n.within(soon), n.names(name), name, "dead", has("dead", silent))
		suspect = append(suspect, seen.delays("suspect", silent)...)
		dead = append(dead, seen.delays("dead", silent)...)
		require.NoError(b, n.lan.Restore(host))
		n.agree(n.within(soon))
	}
	report(b, "suspect", suspect)
	report(b, "dead", dead)
}

// BenchmarkFreeze is for how many a process is dead that does not run for some seconds, and after which time it is alive to each
// of the others when it runs again. It counts those that it suspects itself then.
func BenchmarkFreeze(b *testing.B) {
	for _, d := range []time.Duration{4 * time.Second, 10 * time.Second} {
		b.Run(d.String(), func(b *testing.B) {
			o := real(b)
			o.Deadline = 3 * time.Minute
			n := upWith(b, o, aliveNodes)
			var back []time.Duration
			var round, dead, accused int
			for ; b.Loop(); round++ {
				name := victim(round)
				froze, woke := n.freeze(name, d)
				seen := n.wakes(n.names(name), name, woke)
				dead += len(seen.delays("dead", froze))
				back = append(back, seen.delays("alive", woke)...)
				accused += len(n.tellsOfOthers(n.within(soon), name).delays("suspect", froze))
				n.agree(n.within(soon))
			}
			report(b, "alive", back)
			b.ReportMetric(float64(dead)/float64(round), "saw-it-dead")
			b.ReportMetric(float64(accused), "accused-by-it")
		})
	}
}
