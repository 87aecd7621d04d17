package testnet

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

// The nodes of these tests are helpers: what is tested is the testnet's own part, and what it does when nodes misbehave.

func TestLifeOfATestnet(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "3")
	t.Setenv("P2PNODE_NETWORK_NAME", "production")
	o := fake(t, "node")
	up, err := Up(t.Context(), o, 3)
	require.NoError(t, err)
	require.Positive(t, up.Took)
	require.Len(t, up.Nodes, 3)
	for i, n := range up.Nodes {
		require.Equal(t, "n"+strconv.Itoa(i+1), n.Name)
		require.Equal(t, StateUp, n.State)
		require.Equal(t, "12D3KooWFake"+n.Name, n.ID)
		require.Equal(t, 3, n.MembersAlive)
		require.Equal(t, 3, n.Agrees)
		require.NotZero(t, n.PID)
		session, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(n.PID), 0, 0)
		require.Zero(t, errno)
		require.EqualValues(t, n.PID, session, "Ctrl-C at the terminal must not reach it")

		var log bytes.Buffer
		require.NoError(t, Logs(t.Context(), o, n.Name, &log))
		require.Contains(t, log.String(), n.Name+" bootstraps: "+strconv.Itoa(min(i, 1)))
		require.Contains(t, log.String(), "configured by: []\n")
	}

	_, err = Up(t.Context(), o, 3)
	requireCode(t, err, node.CodeTestnetRuns, node.ExitConflict)
	require.ErrorContains(t, err, `testnet "default" runs already`)

	killed, err := Kill(t.Context(), o, "n1")
	require.NoError(t, err)
	require.Equal(t, StateKilled, killed.State)
	_, err = Kill(t.Context(), o, "n1")
	require.NoError(t, err, "killing the dead is no error")
	r, err := Status(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, StateKilled, r.Nodes[0].State)
	require.Zero(t, r.Nodes[0].PID)
	require.Equal(t, 2, r.Nodes[1].Agrees)

	again, err := Restart(t.Context(), o, "n1")
	require.NoError(t, err)
	require.Equal(t, StateUp, again.State)
	require.Equal(t, up.Nodes[0].Address, again.Address)
	var log bytes.Buffer
	require.NoError(t, Logs(t.Context(), o, "n1", &log))
	require.Contains(t, log.String(), "n1 bootstraps: 2", "it joins through others that run")
	_, err = Restart(t.Context(), o, "n2")
	require.NoError(t, err, "a node that runs is stopped first")

	stopped, existed, err := Down(t.Context(), o)
	require.NoError(t, err)
	require.True(t, existed)
	require.Equal(t, 3, stopped)
	requireNoProcess(t, o)
	require.NoDirExists(t, o.Dir)
	stopped, existed, err = Down(t.Context(), o)
	require.NoError(t, err, "there is nothing to do")
	require.False(t, existed)
	require.Zero(t, stopped)
	require.NoDirExists(t, o.Dir)
}

func TestUpFailures(t *testing.T) {
	for name, c := range map[string]struct {
		helper string
		want   []string
	}{
		"a node that ends is named with its last words": {"fail", []string{"n1 ended (exit status 8)", "the moon is in the wrong phase"}},
		"a node that never answers is named":            {"wait", []string{"n1 is not ready in time: no node answers at "}},
	} {
		t.Run(name, func(t *testing.T) {
			o := fake(t, c.helper)
			o.Deadline = time.Second
			_, err := Up(t.Context(), o, 3)
			requireCode(t, err, node.CodeTestnetFailed, node.ExitCheck)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			requireNoProcess(t, o)
			require.NoError(t, Logs(t.Context(), o, "n1", io.Discard), "the logs stay")

			t.Setenv(helperEnv, "node")
			t.Setenv("FAKE_MEMBERS", "3")
			o.Deadline = 0
			_, err = Up(t.Context(), o, 3)
			require.NoError(t, err, "what failed is no obstacle to the next try")
		})
	}
}

func TestNodeThatDiffersIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ env, want string }{
		"another state": {"FAKE_ODD", "n2 holds another state than n1"},
		"lonely":        {"FAKE_BLIND", "n2 sees 1 of 3 members alive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FAKE_MEMBERS", "3")
			t.Setenv(c.env, "n2")
			o := fake(t, "node")
			l, err := o.layout()
			require.NoError(t, err)
			p, err := l.prepare(t.Context(), 3)
			require.NoError(t, err)
			children, err := l.start(t.Context(), p)
			require.NoError(t, err)

			ctx, cancel := Options{Deadline: time.Millisecond}.withDeadline(t.Context())
			defer cancel()
			_, err = l.converge(ctx, p, children)
			requireCode(t, err, node.CodeTestnetFailed, node.ExitCheck)
			require.ErrorContains(t, err, `testnet "default" did not agree in time`)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "n2 bootstraps: 1", "its log")
			require.NotContains(t, err.Error(), "n3")
		})
	}
}

func TestNodeThatEndsWhileTheOthersWaitIsNamed(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "0") // they never agree
	o := fake(t, "node")
	l, err := o.layout()
	require.NoError(t, err)
	p, err := l.prepare(t.Context(), 2)
	require.NoError(t, err)
	children, err := l.start(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, kill(children[1].proc))
	_, err = l.converge(t.Context(), p, children)
	requireCode(t, err, node.CodeTestnetFailed, node.ExitCheck)
	require.ErrorContains(t, err, "n2 ended (signal: killed)")
}

func TestProgramThatIsNone(t *testing.T) {
	o := atEnd(t, Options{Dir: t.TempDir(), Binary: "/no/such/program"})
	_, err := Up(t.Context(), o, 2)
	requireCode(t, err, node.CodeTestnetFailed, node.ExitCheck)
	require.ErrorContains(t, err, "start n1: ")
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "0") // they never agree
	o := fake(t, "node")
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	go func() { // the interrupt comes when a node runs
		defer close(began)
		l, _ := o.layout()
		for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
			if ps, err := l.processes(); err != nil || len(ps) > 0 {
				break
			}
		}
		cancel()
	}()
	_, err := Up(ctx, o, 3)
	require.ErrorIs(t, err, context.Canceled)
	<-began
	requireNoProcess(t, o)
	require.NoDirExists(t, o.Dir)
}

func TestNodesOutliveTheCommandAndDownFindsThem(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "2")
	o := fake(t, "node")
	t.Setenv("P2PNODE_TESTNET_DIR", o.Dir)
	cmd := helperCommand(t, "up", "2")
	out, err := cmd.CombinedOutput() // returns only since no node holds the pipe open
	require.NoError(t, err, string(out))
	require.Equal(t, "up\n", string(out))

	r, err := Status(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 2, r.Nodes[0].Agrees)
	stopped, _, err := Down(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 2, stopped)
}

func TestDownAfterUpWasKilled(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "0") // they never agree
	o := fake(t, "node")
	t.Setenv("P2PNODE_TESTNET_DIR", o.Dir)
	l, err := o.layout()
	require.NoError(t, err)
	cmd := helperCommand(t, "up", "2")
	require.NoError(t, cmd.Start())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(mustProcesses(t, l)) < 2 {
		require.NoError(t, ctx.Err())
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, os.Remove(l.pid("n1"))) // as if it was killed before it could write this

	_, err = Up(t.Context(), o, 2)
	requireCode(t, err, node.CodeTestnetRuns, node.ExitConflict)
	stopped, existed, err := Down(t.Context(), o)
	require.NoError(t, err)
	require.True(t, existed)
	require.Equal(t, 2, stopped)
}

func mustProcesses(t *testing.T, l layout) []process {
	t.Helper()
	ps, err := l.processes()
	require.NoError(t, err)
	return ps
}

func TestForeignProcessInAPIDFileIsLeftAlone(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "1")
	o := fake(t, "node")
	l, err := o.layout()
	require.NoError(t, err)
	_, err = Up(t.Context(), o, 1)
	require.NoError(t, err)
	_, err = Kill(t.Context(), o, "n1")
	require.NoError(t, err)

	foreign := startHelper(t, "wait")
	old, err := readPID(l.pid("n1"))
	require.NoError(t, err)
	old.pid = foreign.pid // the pid came round
	require.NoError(t, writePID(l.pid("n1"), old))

	r, err := Status(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, StateKilled, r.Nodes[0].State)
	_, err = Kill(t.Context(), o, "n1")
	require.NoError(t, err)
	_, err = Restart(t.Context(), o, "n1")
	require.NoError(t, err)
	require.NoError(t, writePID(l.pid("n1"), old))
	stopped, _, err := Down(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, 1, stopped, "the node itself is found without its pid file")
	require.True(t, foreign.alive())
}

func TestTwoTestnetsSideBySide(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "2")
	a := fake(t, "node")
	b := atEnd(t, Options{Name: "b", Dir: a.Dir, Binary: a.Binary})
	ra, err := Up(t.Context(), a, 2)
	require.NoError(t, err)
	rb, err := Up(t.Context(), b, 2)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, n := range append(ra.Nodes, rb.Nodes...) {
		require.False(t, seen[n.Address], n.Address)
		seen[n.Address] = true
	}
	_, _, err = Down(t.Context(), a)
	require.NoError(t, err)
	r, err := Status(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 2, r.Nodes[1].Agrees)
}

func TestExecPassesStdinAndExitCode(t *testing.T) {
	t.Setenv("FAKE_MEMBERS", "1")
	o := fake(t, "node")
	_, err := Up(t.Context(), o, 1)
	require.NoError(t, err)
	t.Setenv("P2PNODE_TESTNET_DIR", o.Dir)
	t.Setenv("P2PNODE_TOPIC", "other")

	cmd := helperCommand(t, "exec", "n1", "sh", "-c", `cat; env | grep ^P2PNODE_ | sort; echo "$PATH"; exit 7`)
	cmd.Stdin = strings.NewReader("from stdin\n")
	out, err := cmd.Output()
	require.Equal(t, 7, exitCode(t, err))
	home := filepath.Join(o.Dir, "default", "n1")
	require.Equal(t, "from stdin\nP2PNODE_API=unix:"+home+"/api.sock\nP2PNODE_HOME="+home+"\nP2PNODE_TESTNET_DIR="+o.Dir+"\n"+
		filepath.Dir(o.Binary)+":"+os.Getenv("PATH")+"\n", string(out))

	// The program beside the testnet's own comes first, whatever else is in PATH.
	_, err = helperCommand(t, "exec", "n1", filepath.Base(o.Binary), "-test.list", "^TestExec").Output()
	require.NoError(t, err)

	_, err = helperCommand(t, "exec", "n1", "sh", "-c", "kill -9 $$").Output()
	require.Equal(t, -1, exitCode(t, err), "a signal is passed on, too")
}
