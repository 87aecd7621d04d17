package testnet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// helperEnv makes this test binary play another program: one of the helpers below.
const helperEnv = "TESTNET_HELPER"

var helpers = map[string]func(args []string) int{
	"wait":     helpWait,
	"stubborn": helpStubborn,
	"fail":     helpFail,
	"node":     helpNode,
	"exec":     helpExec,
	"up":       helpUp,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		os.Exit(helpers[name](os.Args[1:]))
	}
	code := m.Run()
	if built := builtDir; built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// helpWait lives until SIGTERM.
func helpWait([]string) int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("waiting")
	<-c
	return 0
}

// helpStubborn lives until SIGKILL.
func helpStubborn([]string) int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("waiting")
	select {}
}

// helpFail is a node that ends at once.
func helpFail([]string) int {
	fmt.Fprintln(os.Stderr, "p2pnode: error: the moon is in the wrong phase")
	return node.ExitConflict
}

// helpNode is a node as far as its API tells: it agrees with all others, but that the one named by FAKE_ODD holds another
// state, and FAKE_BLIND sees nobody else. FAKE_MEMBERS is how many it says are alive.
func helpNode(args []string) int {
	value := func(flag string) string { return args[slices.Index(args, flag)+1] }
	name := value("--name")
	status := api.Status{Node: api.StatusNode{ID: "12D3KooWFake" + name, Name: name}}
	fmt.Sscan(os.Getenv("FAKE_MEMBERS"), &status.Members.Alive)
	if os.Getenv("FAKE_BLIND") == name {
		status.Members.Alive = 1
	}
	digest := strings.Repeat("ab", 32)
	if os.Getenv("FAKE_ODD") == name {
		digest = strings.Repeat("cd", 32)
	}
	status.Topics = []api.TopicStatus{{Topic: "members", Digest: strings.Repeat("01", 32)}, {Topic: "main", Digest: digest}}
	paths, err := node.HomePaths(value("--home"))
	if err != nil {
		panic(err)
	}
	os.Remove(paths.Socket) // of the life before
	listener, err := net.Listen("unix", paths.Socket)
	if err != nil {
		panic(err)
	}
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	http.Handle("/readyz", answer(api.Health{Status: "ok", Checks: []api.Check{}}))
	http.Handle("/v1/status", answer(status))
	go http.Serve(listener, nil)
	fmt.Println(name, "bootstraps:", strings.Count(strings.Join(args, " "), "--bootstrap"))
	fmt.Println("configured by:", slices.DeleteFunc(os.Environ(), func(e string) bool { return !strings.HasPrefix(e, "P2PNODE_") }))
	return helpWait(nil)
}

// helpExec is `testnet exec` of the testnet in P2PNODE_TESTNET_DIR.
func helpExec(args []string) int {
	os.Unsetenv(helperEnv)
	err := Exec(Options{}, args[0], args[1:])
	fmt.Fprintln(os.Stderr, err)
	return node.ExitCode(err)
}

// helpUp is `testnet up` of as many nodes as its argument says, by the program in TESTNET_BINARY.
func helpUp(args []string) int {
	os.Setenv(helperEnv, "node")
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var n int
	fmt.Sscan(args[0], &n)
	if _, err := Up(ctx, Options{}, n); err != nil {
		return node.ExitCode(err)
	}
	fmt.Println("up")
	return 0
}

// fake are options for a testnet of helpers in a directory of its own, which is gone with all processes at the end of t.
func fake(t *testing.T, helper string) Options {
	t.Helper()
	t.Setenv(helperEnv, helper)
	self, err := os.Executable()
	require.NoError(t, err)
	return atEnd(t, Options{Dir: t.TempDir(), Binary: self})
}

func atEnd(t testing.TB, o Options) Options {
	t.Cleanup(func() {
		_, _, err := Down(context.Background(), o)
		require.NoError(t, err)
		requireNoProcess(t, o)
	})
	return o
}

// requireNoProcess looks in /proc, not in the testnet's own files.
func requireNoProcess(t testing.TB, o Options) {
	t.Helper()
	l, err := o.layout()
	require.NoError(t, err)
	ps, err := strays(l.dir)
	require.NoError(t, err)
	require.Empty(t, ps, "processes of %s are left", l.dir)
}

// helperCommand is a helper, not yet started.
func helperCommand(t *testing.T, helper string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+helper)
	return cmd
}

// startHelper runs a helper, and returns when it has said its first line.
func startHelper(t *testing.T, helper string, args ...string) process {
	t.Helper()
	cmd := helperCommand(t, helper, args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	p, err := identify(cmd.Process.Pid)
	require.NoError(t, err)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-waited
	})
	return p
}

var builtDir string

// built is p2pnode, compiled once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "p2pnode-testnet-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	binary := filepath.Join(dir, "p2pnode")
	out, err := exec.Command("go", "build", "-o", binary, "../cmd/p2pnode").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

// real are options for a testnet of p2pnode in a directory of its own, which is gone with all processes at the end of t.
func real(t testing.TB) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes of p2pnode")
	}
	binary, err := built()
	require.NoError(t, err)
	// Long enough for a machine that runs all other packages' tests at the same time.
	return atEnd(t, Options{Dir: t.TempDir(), Binary: binary, Deadline: time.Minute})
}

// command is a program that is interrupted when ctx ends.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// exitCode is that of a program that ran; -1 when a signal ended it.
func exitCode(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *exec.ExitError
	require.ErrorAs(t, err, &e)
	return e.ExitCode()
}
