package testnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// These benchmarks are of whole processes. The README says how to run them and what they showed.

// BenchmarkUp is the time from `testnet up` until all nodes hold the same state.
func BenchmarkUp(b *testing.B) {
	for _, n := range []int{5, 20} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			o := real(b)
			var took []time.Duration
			for b.Loop() {
				r, err := Up(b.Context(), o, n)
				require.NoError(b, err)
				took = append(took, r.Took)
				_, _, err = Down(b.Context(), o)
				require.NoError(b, err)
			}
			reportMedian(b, took)
		})
	}
}

// BenchmarkChangeVisible is the time from a set on n1, over its API, until watchers on all of five nodes were told of it.
func BenchmarkChangeVisible(b *testing.B) {
	const nodes = 5
	tn := up(b, nodes)
	arrived := make(chan string, nodes)
	for i := range nodes {
		c := tn.client(fmt.Sprintf("n%d", i+1))
		synced := make(chan struct{})
		go follow(b.Context(), c, synced, arrived)
		<-synced
	}
	writer := tn.client("n1")
	var took []time.Duration
	for b.Loop() {
		value := strconv.Itoa(len(took))
		began := time.Now()
		_, err := writer.Set(b.Context(), "bench", []byte(value), api.WriteOptions{})
		require.NoError(b, err)
		for seen := 0; seen < nodes; {
			select {
			case v := <-arrived:
				if v == value {
					seen++
				}
			case <-time.After(time.Minute):
				b.Fatalf("only %d of %d nodes saw change %s", seen, nodes, value)
			}
		}
		took = append(took, time.Since(began))
	}
	reportMedian(b, took)
}

// follow sends the value of every change that a node tells of.
func follow(ctx context.Context, c *api.Client, synced chan<- struct{}, arrived chan<- string) {
	for e, err := range c.WatchState(ctx, api.WatchOptions{Initial: true}) {
		switch {
		case err != nil:
			return
		case e.Kind == api.EventSynced:
			close(synced)
		case e.Kind == api.EventPut:
			arrived <- string(e.Value.Value)
		}
	}
}

// BenchmarkStart is the time from exec of a new node until it listens and its API answers.
func BenchmarkStart(b *testing.B) {
	binary, err := built()
	require.NoError(b, err)
	var took []time.Duration
	for b.Loop() {
		took = append(took, startOnce(b, binary))
	}
	reportMedian(b, took)
}

func startOnce(b *testing.B, binary string) time.Duration {
	home := b.TempDir()
	paths, err := node.HomePaths(home)
	require.NoError(b, err)
	c, err := api.NewClient("unix:" + paths.Socket)
	require.NoError(b, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	cmd := command(ctx, binary, "run", "--home", home, "--profile", "local", "--network", "bench")
	defer cmd.Wait()
	defer cancel()
	began := time.Now()
	require.NoError(b, cmd.Start())
	for _, err = c.Livez(ctx); err != nil; _, err = c.Livez(ctx) { // as a script that waits for the node would
		require.NoError(b, ctx.Err())
		runtime.Gosched()
	}
	return time.Since(began)
}

// BenchmarkHelp is the time of a command that talks to nobody.
func BenchmarkHelp(b *testing.B) {
	binary, err := built()
	require.NoError(b, err)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		require.NoError(b, exec.Command(binary, "--help").Run())
		took = append(took, time.Since(began))
	}
	reportMedian(b, took)
}

// idleFor is how long BenchmarkIdle looks at nodes that have nothing to do.
const idleFor = 30 * time.Second

// BenchmarkIdle is what one of five idle nodes costs: resident memory, of the largest, and processor time.
func BenchmarkIdle(b *testing.B) {
	tn := up(b, 5)
	r, err := Status(b.Context(), tn.o)
	require.NoError(b, err)
	for b.Loop() {
		before := cpuTime(b, r.Nodes)
		<-time.After(idleFor)
		used := cpuTime(b, r.Nodes) - before
		var rss []int
		for _, n := range r.Nodes {
			rss = append(rss, residentKiB(b, n.PID))
		}
		b.ReportMetric(float64(slices.Max(rss))/1024, "MiB-rss")
		b.ReportMetric(100*used.Seconds()/idleFor.Seconds()/float64(len(r.Nodes)), "%-core")
	}
	b.ReportMetric(0, "ns/op")
}

// reportMedian reports what was measured in place of the mean, which one slow moment of the machine spoils.
func reportMedian(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-median")
	b.ReportMetric(ms(took[len(took)-1]), "ms-max")
	b.ReportMetric(0, "ns/op")
}

// clockTick is the unit of processor time in /proc on Linux.
const clockTick = time.Second / 100

// cpuTime is the processor time that the nodes have used so far.
func cpuTime(b *testing.B, nodes []Node) time.Duration {
	b.Helper()
	var total time.Duration
	for _, n := range nodes {
		text := readProc(b, n.PID, "stat")
		// The second field, in brackets, may hold spaces; user and system time are fields 14 and 15.
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		for _, f := range fields[11:13] {
			ticks, err := strconv.Atoi(f)
			require.NoError(b, err)
			total += time.Duration(ticks) * clockTick
		}
	}
	return total
}

func residentKiB(b testing.TB, pid int) int {
	b.Helper()
	_, rest, found := strings.Cut(readProc(b, pid, "status"), "VmRSS:")
	require.True(b, found)
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(b, err)
	return kib
}

func readProc(b testing.TB, pid int, file string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	require.NoError(b, err)
	return string(text)
}
