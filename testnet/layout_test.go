package testnet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

func requireCode(t *testing.T, err error, code string, exit int) {
	t.Helper()
	var e *node.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, err)
	require.Equal(t, exit, node.ExitCode(err))
}

func TestBadNamesAreUsageErrors(t *testing.T) {
	for _, name := range []string{"A", "a_b", "a b", "../x", "a/b", ".", "ü", "a\n", strings.Repeat("a", 25)} {
		o := Options{Name: name, Dir: t.TempDir(), Binary: os.Args[0]}
		_, err := Up(t.Context(), o, 1)
		requireCode(t, err, node.CodeBadUsage, node.ExitUsage)
		require.ErrorContains(t, err, "is no name of a testnet")
		_, _, err = Down(t.Context(), o)
		requireCode(t, err, node.CodeBadUsage, node.ExitUsage)
		_, err = Status(t.Context(), o)
		requireCode(t, err, node.CodeBadUsage, node.ExitUsage)
	}
	for _, name := range []string{"a", "0", "-", strings.Repeat("a", 24)} {
		_, err := Options{Name: name, Dir: t.TempDir()}.layout()
		require.NoError(t, err)
	}
}

func TestBadSizesAreUsageErrors(t *testing.T) {
	for _, n := range []int{-1, 0, MaxNodes + 1} {
		_, err := Up(t.Context(), Options{Dir: t.TempDir(), Binary: os.Args[0]}, n)
		requireCode(t, err, node.CodeBadUsage, node.ExitUsage)
	}
}

func TestDirectoryOfAllTestnets(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("P2PNODE_TESTNET_DIR", "")
	l, err := Options{}.layout()
	require.NoError(t, err)
	require.Equal(t, "/home/x/.p2pnode-testnet/default", l.dir)

	t.Setenv("P2PNODE_TESTNET_DIR", "/var/tmp/nets")
	l, err = Options{Name: "b"}.layout()
	require.NoError(t, err)
	require.Equal(t, "/var/tmp/nets/b", l.dir)
	require.Equal(t, "testnet-b", l.network())

	l, err = Options{Dir: "here"}.layout()
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(l.dir))
}

func TestEnvironmentConfiguresNoNode(t *testing.T) {
	t.Setenv("P2PNODE_NETWORK_NAME", "production")
	t.Setenv("P2PNODE_HOME", "/precious")
	t.Setenv("OTHER", "kept")
	env := environment("P2PNODE_HOME=/mine")
	require.Contains(t, env, "OTHER=kept")
	var ours []string
	for _, e := range env {
		if strings.HasPrefix(e, "P2PNODE_") {
			ours = append(ours, e)
		}
	}
	require.Equal(t, []string{"P2PNODE_HOME=/mine"}, ours)
}

func TestUnknownTestnetsAndNodes(t *testing.T) {
	o := Options{Dir: t.TempDir(), Binary: os.Args[0]}
	l, err := o.layout()
	require.NoError(t, err)
	_, err = Status(t.Context(), o)
	requireCode(t, err, node.CodeUnknownTestnet, node.ExitNotFound)

	require.NoError(t, os.MkdirAll(l.home("n1"), 0o700))
	require.NoError(t, l.save(plan{Nodes: []planned{{Name: "n1", Port: 20001}}}))
	for _, name := range []string{"n2", "", "..", "N1"} {
		_, err = Kill(t.Context(), o, name)
		requireCode(t, err, node.CodeUnknownTestnet, node.ExitNotFound)
		_, err = Restart(t.Context(), o, name)
		requireCode(t, err, node.CodeUnknownTestnet, node.ExitNotFound)
		require.Error(t, Logs(t.Context(), o, name, nil))
		requireCode(t, Exec(o, name, []string{"true"}), node.CodeUnknownTestnet, node.ExitNotFound)
	}
	requireCode(t, Exec(o, "n1", nil), node.CodeBadUsage, node.ExitUsage)
	requireCode(t, Exec(o, "n1", []string{"no-such-program"}), node.CodeNotFound, node.ExitNotFound)
}

func TestLocate(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	for _, name := range []string{DefaultName, "b"} {
		l, err := Options{Name: name, Dir: o.Dir}.layout()
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(l.dir, 0o700))
		require.NoError(t, l.save(plan{Nodes: []planned{{Name: "n1"}}}))
	}
	home, api, err := Locate(o, "n1")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(o.Dir, "default", "n1"), home)
	require.Equal(t, "unix:"+filepath.Join(home, "api.sock"), api)
	home, _, err = Locate(o, "b/n1")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(o.Dir, "b", "n1"), home)
	for _, ref := range []string{"n2", "c/n1", "b/", "/n1", "../b/n1"} {
		_, _, err = Locate(o, ref)
		require.Error(t, err, ref)
	}
}

func TestPortsOfOtherTestnetsAreTaken(t *testing.T) {
	root := t.TempDir()
	for name, port := range map[string]int{"a": 20001, "b": 20002} {
		l := layout{root: root, dir: filepath.Join(root, name)}
		require.NoError(t, os.MkdirAll(l.dir, 0o700))
		require.NoError(t, l.save(plan{Nodes: []planned{{Name: "n1", Port: port}}}))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(root, "broken"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "broken", "testnet.json"), []byte("{"), 0o600))
	taken, err := layout{root: root, dir: filepath.Join(root, "a")}.takenPorts()
	require.NoError(t, err)
	require.Equal(t, map[int]bool{20002: true}, taken)
}
