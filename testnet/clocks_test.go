package testnet

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// clocksEnv has TestWrongClocks run: it compiles all of p2pnode with another package time.
const clocksEnv = "P2PNODE_TEST_CLOCKS"

const year = 365 * 24 * time.Hour

// wrongClocks is p2pnode compiled with a wall clock that is as wrong as the file "clock" in its working directory says, a number
// of seconds. Timers and all that is measured go by the monotonic clock, which is right, as on a machine whose clock is set.
func wrongClocks(t *testing.T) (binary string) {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	require.NoError(t, err)
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	require.Equal(t, 1, strings.Count(string(text), now), "this Go reads the clock in another way")
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, data, 0o600))
		return file
	}
	wrong, err := os.ReadFile(filepath.Join("testdata", "wallclock.go"))
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(source, "time.go"):      write("time.go", []byte(strings.Replace(string(text), now, now+"\tsec += wallAhead.Load()\n", 1))),
		filepath.Join(source, "wallclock.go"): write("wallclock.go", wrong),
	}})
	require.NoError(t, err)
	binary = filepath.Join(dir, "p2pnode")
	out, err := exec.Command("go", "build", "-overlay", write("overlay.json", overlay), "-o", binary, "../cmd/p2pnode").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// clockNet is a testnet of nodes with clocks that can be set.
type clockNet struct{ testNet }

// upClocks starts a node of this program for each of ahead, by so much its clock is ahead, and returns when all agree.
func upClocks(t *testing.T, binary string, ahead ...time.Duration) clockNet {
	t.Helper()
	o := real(t)
	o.Binary = binary
	l, err := o.layout()
	require.NoError(t, err)
	p, err := l.prepare(t.Context(), len(ahead))
	require.NoError(t, err)
	n := clockNet{testNet{t, o, l}}
	t.Cleanup(func() {
		if t.Failed() {
			n.dump()
		}
	})
	for i, d := range ahead {
		n.setClock(p.Nodes[i].Name, d)
	}
	_, err = l.bringUp(n.within(soon), p)
	require.NoError(t, err)
	return n
}

// setClock sets the clock of a node, which sees it within milliseconds.
func (n clockNet) setClock(name string, ahead time.Duration) {
	n.t.Helper()
	seconds := strconv.Itoa(int(ahead.Seconds()))
	require.NoError(n.t, writeFile(filepath.Join(n.l.home(name), "clock"), []byte(seconds)))
}

// write has every node write a key of its own and one that all write, one after the other, each when it has seen the value of
// the one before it; and returns when all hold all of it.
func (n clockNet) write(round string) {
	n.t.Helper()
	for _, name := range n.names() {
		value := round + " of " + name
		n.set(name, "app/of-"+name, value)
		n.set(name, "app/of-all", value)
		for _, other := range n.names() {
			n.sees(n.within(soon), other, "app/of-"+name, value)
			n.sees(n.within(soon), other, "app/of-all", value)
		}
	}
	n.agree(n.within(soon))
}

// ahead is how far a node says that its clock is ahead of the others', in seconds, and the status of its check of that.
func (n clockNet) ahead(name string) (seconds float64, status string) {
	n.t.Helper()
	c := n.client(name)
	s, err := c.Status(n.within(10 * time.Second))
	require.NoError(n.t, err)
	seconds = math.NaN()
	for _, m := range s.Counters {
		if m.Name == "p2pnode_clock_offset_seconds" {
			seconds = m.Value
		}
	}
	h, err := c.Health(n.within(10 * time.Second))
	require.NoError(n.t, err)
	for _, check := range h.Checks {
		if check.Name == "clock" {
			status = check.Status
		}
	}
	return seconds, status
}

// becomes returns when a node says that its clock is so far ahead.
func (n clockNet) becomes(name string, want time.Duration, status string) {
	n.t.Helper()
	n.poll(n.within(soon), fmt.Sprintf("%s to say that its clock is %v ahead", name, want), func() (any, bool) {
		seconds, is := n.ahead(name)
		return []any{seconds, is}, math.Abs(seconds-want.Seconds()) < 5 && is == status
	})
}

// refused are the reasons for which updates of others may be dropped here; none is a time.
var refused = []string{"stale", "gap", "over_rate", "queue_full"}

// Clocks that are hours and years wrong decide nothing: what is written last is what all hold, whoever wrote it. People are told.
func TestWrongClocks(t *testing.T) {
	if os.Getenv(clocksEnv) == "" {
		t.Skipf("compiles all of p2pnode with another package time, which takes minutes: %s=1 go test -v -run '^%s$' ./testnet", clocksEnv, t.Name())
	}
	binary := wrongClocks(t)

	t.Run("two nodes that are two hours apart", func(t *testing.T) {
		for _, ahead := range [][]time.Duration{{-time.Hour, time.Hour}, {time.Hour, -time.Hour}} {
			n := upClocks(t, binary, ahead...)
			n.write("apart")
			n.becomes("n1", ahead[0]-ahead[1], node.CheckWarn)
			n.becomes("n2", ahead[1]-ahead[0], node.CheckWarn)
		}
	})

	t.Run("hours apart, and one that is set while it runs", func(t *testing.T) {
		n := upClocks(t, binary, 0, -time.Hour, time.Hour, 0, 0, 0)
		n.write("spread")
		n.becomes("n1", 0, node.CheckOK)
		n.becomes("n2", -time.Hour, node.CheckWarn)
		n.becomes("n3", time.Hour, node.CheckWarn)
		n.seen("n1", "n2", -time.Hour)
		n.seen("n1", "n3", time.Hour)

		n.setClock("n4", year)
		n.becomes("n4", year, node.CheckWarn)
		n.write("a year ahead")
		n.restart("n5", year) // it signs, and shows its certificate, as of then
		n.becomes("n5", year, node.CheckWarn)
		n.seen("n1", "n5", year)
		n.write("a year ahead, and started so")

		n.setClock("n4", 0)
		n.setClock("n5", 0)
		n.becomes("n4", 0, node.CheckOK)
		n.becomes("n5", 0, node.CheckOK)
		n.write("back")
		n.restart("n5", 0) // its generation goes on from where it was
		n.write("back, and started again")
		n.requireNoneRefused()
	})
}

// restart sets the clock of a node while it does not run.
func (n clockNet) restart(name string, ahead time.Duration) {
	n.t.Helper()
	n.terminate(name)
	n.setClock(name, ahead)
	_, err := Restart(n.t.Context(), n.o, name)
	require.NoError(n.t, err)
	n.agree(n.within(soon))
}

// seen returns when a node tells, in its members and its metrics, that another's clock is so far ahead of its own, and warns.
func (n clockNet) seen(name, member string, want time.Duration) {
	n.t.Helper()
	c := n.client(name)
	near := func(seconds float64) bool { return math.Abs(seconds-want.Seconds()) < 5 }
	n.poll(n.within(soon), fmt.Sprintf("%s to see the clock of %s %v ahead", name, member, want), func() (any, bool) {
		m, err := c.Member(n.t.Context(), member)
		if err != nil || m.ClockOffset == nil || !near(*m.ClockOffset) || !m.ClockSkewed {
			return m, false
		}
		s, err := c.Status(n.t.Context())
		return s, err == nil && slices.ContainsFunc(s.Counters, func(c api.Metric) bool {
			return c.Name == "p2pnode_member_clock_offset_seconds" && c.Labels["member"] == m.ID && near(c.Value)
		}) && slices.ContainsFunc(s.Problems, func(p api.Problem) bool {
			return p.Code == node.CodeClockSkew && strings.Contains(p.Detail, member)
		})
	})
}

func (n clockNet) requireNoneRefused() {
	n.t.Helper()
	for _, name := range n.names() {
		s, err := n.client(name).Status(n.within(10 * time.Second))
		require.NoError(n.t, err)
		for _, m := range s.Counters {
			if m.Name == "p2pnode_state_dropped_total" && m.Value > 0 {
				require.Contains(n.t, refused, m.Labels["reason"], name)
			}
		}
	}
}
