package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// The nodes of these tests are real p2pnode processes.

// testNet is a testnet that is up.
type testNet struct {
	t testing.TB
	o Options
	l layout
}

func up(t testing.TB, n int) testNet { return upWith(t, real(t), n) }

func upWith(t testing.TB, o Options, n int) testNet {
	t.Helper()
	l, err := o.layout()
	require.NoError(t, err)
	r, err := Up(t.Context(), o, n)
	require.NoError(t, err)
	require.Len(t, r.Nodes, n)
	tn := testNet{t, o, l}
	t.Cleanup(func() {
		if t.Failed() {
			tn.dump()
		}
	})
	return tn
}

// dump shows the logs of a test that failed.
func (n testNet) dump() {
	p, err := n.l.load()
	if err != nil {
		return
	}
	for _, pn := range p.Nodes {
		var log bytes.Buffer
		_ = Logs(context.Background(), n.o, pn.Name, &log)
		n.t.Logf("log of %s:\n%s", pn.Name, log.String())
	}
}

// within is a context that ends after d of a slow machine's time.
func (n testNet) within(d time.Duration) context.Context {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), d)
	n.t.Cleanup(cancel)
	return ctx
}

func (n testNet) client(name string) *api.Client {
	n.t.Helper()
	_, addr, err := Locate(n.o, name)
	require.NoError(n.t, err)
	c, err := api.NewClient(addr)
	require.NoError(n.t, err)
	n.t.Cleanup(c.Close)
	return c
}

// run is `p2pnode ARGS` at a node; it returns standard output and exit code.
func (n testNet) run(name, stdin string, args ...string) (string, int) {
	n.t.Helper()
	argv := append([]string{"testnet", "exec", "--name", n.l.name, name, "--", "p2pnode"}, args...)
	cmd := command(n.t.Context(), n.l.binary, argv...)
	cmd.Env = environment("P2PNODE_TESTNET_DIR=" + n.l.root)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	return string(out), exitCode(n.t, err)
}

// agree returns when all nodes of the testnet see each other alive and hold the same.
func (n testNet) agree(ctx context.Context) {
	n.t.Helper()
	p, err := n.l.load()
	require.NoError(n.t, err)
	_, err = n.l.converge(ctx, p, nil)
	require.NoError(n.t, err)
}

// sees returns when node name holds key = value.
func (n testNet) sees(ctx context.Context, name, key, value string) {
	n.t.Helper()
	var last string
	for e, err := range n.client(name).WatchState(ctx, api.WatchOptions{Prefix: key, Initial: true}) {
		require.NoError(n.t, err)
		if e.Kind == api.EventPut && e.Value.Key == key {
			if last = string(e.Value.Value); last == value {
				return
			}
		}
	}
	n.t.Fatalf("%s holds %s = %q, not %q", name, key, last, value)
}

// becomes returns when node name sees the member with this status.
func (n testNet) becomes(ctx context.Context, name, member, status string) {
	n.t.Helper()
	c := n.client(name)
	n.poll(ctx, fmt.Sprintf("%s to see %s %s", name, member, status), func() (any, bool) {
		m, err := c.Member(ctx, member)
		return m, err == nil && m.Status == status
	})
}

// poll returns when ok; what it waits for and saw last is for the failure.
func (n testNet) poll(ctx context.Context, what string, ok func() (saw any, done bool)) {
	n.t.Helper()
	tick := time.NewTicker(pollAgreement)
	defer tick.Stop()
	for {
		saw, done := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			n.t.Fatalf("waited for %s in vain; last: %+v", what, saw)
		}
	}
}

// record collects what node name sees the member become, until stop returns it.
func (n testNet) record(name, member string) (stop func() []string) {
	n.t.Helper()
	c := n.client(name)
	ctx, cancel := context.WithCancel(n.t.Context())
	var seen []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tr, err := range c.WatchMembers(ctx) {
			if err != nil {
				seen = append(seen, err.Error())
			} else if tr.Name == member {
				seen = append(seen, tr.To)
			}
		}
	}()
	return func() []string {
		cancel()
		<-done
		return seen
	}
}

func (n testNet) set(name, key, value string) {
	n.t.Helper()
	_, err := n.client(name).Set(n.within(10*time.Second), key, []byte(value), api.WriteOptions{})
	require.NoError(n.t, err)
}

func TestKeySetOnOneNodeIsReadOnAnother(t *testing.T) {
	n := up(t, 3)
	out, code := n.run("n1", "", "state", "set", "app/color", "teal")
	require.Zero(t, code, out)
	n.sees(n.within(10*time.Second), "n3", "app/color", "teal")
	out, code = n.run("n3", "", "state", "get", "app/color")
	require.Zero(t, code)
	require.Equal(t, "teal\n", out)

	_, code = n.run("n2", "", "state", "get", "app/absent")
	require.Equal(t, node.ExitNotFound, code)
	out, code = n.run("n2", "from stdin", "state", "set", "app/in", "-", "--wait", "all")
	require.Zero(t, code, out)
	for _, name := range []string{"n1", "n3"} {
		out, code = n.run(name, "", "state", "get", "app/in")
		require.Zero(t, code)
		require.Equal(t, "from stdin\n", out, "after --wait all everybody has it")
	}
}

func TestTwentyNodes(t *testing.T) {
	o := real(t)
	o.Deadline = 3 * time.Minute
	n := upWith(t, o, 20)
	n.set("n20", "app/color", "teal")
	n.agree(n.within(time.Minute))
	n.sees(n.within(10*time.Second), "n2", "app/color", "teal")
}

// A node that was killed is noticed, and is itself again when it returns.
func TestKilledNodeIsNoticedAndComesBack(t *testing.T) {
	n := up(t, 3)
	before, err := Status(t.Context(), n.o)
	require.NoError(t, err)
	n.set("n3", "app/of-n3", "1")
	n.sees(n.within(10*time.Second), "n1", "app/of-n3", "1")

	seen := n.record("n1", "n3")
	_, err = Kill(t.Context(), n.o, "n3")
	require.NoError(t, err)
	for _, name := range []string{"n1", "n2"} {
		n.becomes(n.within(time.Minute), name, "n3", "dead")
	}
	require.NotContains(t, seen(), "left")
	n.set("n1", "app/meanwhile", "2")

	after, err := Restart(t.Context(), n.o, "n3")
	require.NoError(t, err)
	require.Equal(t, before.Nodes[2].ID, after.ID)
	require.Equal(t, before.Nodes[2].Address, after.Address)
	n.agree(n.within(20 * time.Second))
	n.sees(n.within(5*time.Second), "n3", "app/meanwhile", "2")
	n.sees(n.within(5*time.Second), "n2", "app/of-n3", "1")
}

func TestSecondTestnetBesideTheFirst(t *testing.T) {
	a := up(t, 2)
	other := a.o
	other.Name = "b"
	b := upWith(t, atEnd(t, other), 2)
	a.set("n1", "app/x", "of a")
	b.set("n1", "app/x", "of b")
	a.sees(a.within(10*time.Second), "n2", "app/x", "of a")
	b.sees(b.within(10*time.Second), "n2", "app/x", "of b")
	_, _, err := Down(t.Context(), a.o)
	require.NoError(t, err)
	requireNoProcess(t, a.o)
	b.agree(b.within(10 * time.Second))
}

// A node that bootstraps with a node of another network hears and tells nothing.
func TestBridgedNetworksExchangeNothing(t *testing.T) {
	a := up(t, 2)
	other := a.o
	other.Name = "b"
	b := upWith(t, atEnd(t, other), 1)
	a.set("n1", "app/secret", "of a")
	b.set("n1", "app/secret", "of b")
	a.sees(a.within(10*time.Second), "n2", "app/secret", "of a")

	pa, err := a.l.load()
	require.NoError(t, err)
	pb, err := b.l.load()
	require.NoError(t, err)
	_, err = Kill(t.Context(), b.o, "n1")
	require.NoError(t, err)
	bridge := pa.Nodes[0].dialAddress()
	c, err := b.l.spawn(pb.Nodes[0], []string{bridge})
	require.NoError(t, err)
	b.counts(b.within(30*time.Second), "n1", "p2pnode_peers_refused_total", "network_mismatch")
	require.False(t, c.ended())

	for _, n := range []testNet{a, b} {
		values, err := n.client("n1").List(n.within(10*time.Second), api.ListOptions{Tombstones: true})
		require.NoError(t, err)
		require.Len(t, values, 1)
		members, err := n.client("n1").Members(n.within(10*time.Second), api.MemberFilter{})
		require.NoError(t, err)
		require.Len(t, members, map[string]int{"default": 2, "b": 1}[n.l.name])
	}
}

// counts returns when the node has counted something with this reason.
func (n testNet) counts(ctx context.Context, name, metric, reason string) {
	n.t.Helper()
	n.until(ctx, name, metric+" for "+reason, func(s api.Status) bool {
		return slices.ContainsFunc(s.Counters, func(m api.Metric) bool {
			return m.Name == metric && m.Labels["reason"] == reason && m.Value > 0
		})
	})
}

// until returns when the node's status is as wanted.
func (n testNet) until(ctx context.Context, name, what string, ok func(api.Status) bool) {
	n.t.Helper()
	c := n.client(name)
	n.poll(ctx, name+": "+what, func() (any, bool) {
		status, err := c.Status(ctx)
		return status, err == nil && ok(status)
	})
}

// All four ways in which a node can come back with the same key.
func TestRestartedNodeIsAccepted(t *testing.T) {
	n := up(t, 3)
	for i, c := range []struct {
		name      string
		leaves    bool // the others saw it leave; else it crashed
		losesFile bool // its store is gone
	}{
		{"crash, store kept", false, false},
		{"leave, store kept", true, false},
		{"crash, store lost", false, true},
		{"leave, store lost", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := testNet{t, n.o, n.l}
			key := fmt.Sprintf("app/key-%d", i)
			n.set("n2", key, "old")
			n.sees(n.within(10*time.Second), "n1", key, "old")
			n.sees(n.within(10*time.Second), "n3", key, "old")
			before := n.generation("n1", "n2")

			if c.leaves {
				n.terminate("n2")
			} else {
				_, err := Kill(t.Context(), n.o, "n2")
				require.NoError(t, err)
			}
			if c.losesFile {
				require.NoError(t, os.Remove(filepath.Join(n.l.home("n2"), "state.db")))
			}
			began := time.Now()
			_, err := Restart(t.Context(), n.o, "n2")
			require.NoError(t, err)
			n.everywhere(n.within(20*time.Second), []string{"n1", "n3"}, "n2", "accepted", func(m api.MemberStory) bool {
				return m.Status == "alive" && uint64(m.Generation) > before
			})
			t.Logf("accepted after %v", time.Since(began))
			n.agree(n.within(20 * time.Second))

			for _, name := range []string{"n1", "n3"} {
				require.Greater(t, n.generation(name, "n2"), before)
			}
			n.sees(n.within(5*time.Second), "n2", key, "old")
			n.set("n2", key, "new")
			n.sees(n.within(10*time.Second), "n1", key, "new")
			n.sees(n.within(10*time.Second), "n3", key, "new")
		})
	}
}

// generation is that of the one live incarnation of member as node name sees it.
func (n testNet) generation(name, member string) uint64 {
	n.t.Helper()
	members, err := n.client(name).Members(n.within(10*time.Second), api.MemberFilter{})
	require.NoError(n.t, err)
	members = slices.DeleteFunc(members, func(m api.Member) bool { return m.Name != member })
	require.Len(n.t, members, 1)
	require.Equal(n.t, "alive", members[0].Status)
	return uint64(members[0].Generation)
}

// terminate ends a node by SIGTERM and returns when its process is gone.
func (n testNet) terminate(name string) {
	n.t.Helper()
	p, err := readPID(n.l.pid(name))
	require.NoError(n.t, err)
	require.NoError(n.t, p.signal(syscall.SIGTERM))
	require.NoError(n.t, p.gone(n.within(20*time.Second)))
}

func TestNodeThatIsToldToEndHasLeft(t *testing.T) {
	n := up(t, 5)
	others := []string{"n1", "n2", "n4", "n5"}
	var seen []func() []string
	for _, name := range others {
		seen = append(seen, n.record(name, "n3"))
	}
	told := time.Now()
	n.terminate("n3")
	n.measured("left", n.everywhere(n.within(20*time.Second), others, "n3", "left", is("left")).delays("left", told))
	for i, name := range others {
		require.NotContains(t, seen[i](), "dead", "as %s saw it", name)
	}
}

// A rolling restart is nobody's death.
func TestRollingRestartKillsNobody(t *testing.T) {
	n := up(t, 5)
	for i := 1; i <= 5; i++ {
		name, observer := fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i%5+1)
		seen := n.record(observer, name)
		_, err := Restart(t.Context(), n.o, name)
		require.NoError(t, err)
		n.agree(n.within(time.Minute))
		require.NotContains(t, seen(), "dead", "%s as %s saw it", name, observer)
	}
}

func TestNodeJoinsWhenItsBootstrapAppears(t *testing.T) {
	n := up(t, 2)
	p, err := n.l.load()
	require.NoError(t, err)
	for _, name := range []string{"n1", "n2"} {
		_, err := Kill(t.Context(), n.o, name)
		require.NoError(t, err)
	}
	alone, err := n.l.spawn(p.Nodes[1], []string{p.Nodes[0].dialAddress()})
	require.NoError(t, err)
	n.until(n.within(30*time.Second), "n2", "failure to dial", func(s api.Status) bool { return len(s.Bootstrap.Failures) > 0 })
	require.False(t, alone.ended())
	n.set("n2", "app/alone", "yes") // a write never fails for want of peers

	_, err = n.l.spawn(p.Nodes[0], nil)
	require.NoError(t, err)
	n.agree(n.within(40 * time.Second))
	n.sees(n.within(5*time.Second), "n1", "app/alone", "yes")
}

func TestCommandsOfTheCommandLine(t *testing.T) {
	o := real(t)
	p2pnode := func(args ...string) (string, string, int) {
		cmd := command(t.Context(), o.Binary, append([]string{"testnet"}, args...)...)
		cmd.Env = environment("P2PNODE_TESTNET_DIR=" + o.Dir)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		return out.String(), errs.String(), exitCode(t, err)
	}
	out, errs, code := p2pnode("up", "-n", "2", "--json")
	require.Zero(t, code, errs)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	for _, line := range lines {
		var n Node
		require.NoError(t, json.Unmarshal([]byte(line), &n))
		require.Equal(t, 2, n.Agrees)
	}
	_, errs, code = p2pnode("up", "-n", "2")
	require.Equal(t, node.ExitConflict, code)
	require.Contains(t, errs, "p2pnode testnet down")
	_, _, code = p2pnode("up", "-n", "2", "--name", "No!")
	require.Equal(t, node.ExitUsage, code)
	_, _, code = p2pnode("kill", "n9")
	require.Equal(t, node.ExitNotFound, code)
	_, errs, code = p2pnode("kill", "n2")
	require.Zero(t, code, errs)
	out, errs, code = p2pnode("status")
	require.Zero(t, code, errs)
	require.Contains(t, out, "1 of 2 nodes up")
	_, errs, code = p2pnode("restart", "n2")
	require.Zero(t, code, errs)
	out, _, code = p2pnode("logs", "n2")
	require.Zero(t, code)
	require.Contains(t, out, "ready")
	_, _, code = p2pnode("exec", "n1", "--", "sh", "-c", "exit 11")
	require.Equal(t, 11, code)
	_, errs, code = p2pnode("down")
	require.Zero(t, code, errs)
	requireNoProcess(t, o)
	_, errs, code = p2pnode("down")
	require.Zero(t, code, errs)
	_, _, code = p2pnode("status")
	require.Equal(t, node.ExitNotFound, code)
}
