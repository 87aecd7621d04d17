package testnet

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// What the child of TestANodeOnAFullDisk runs, and where.
const (
	fullDiskEnv     = "P2PNODE_TEST_FULL_DISK"
	fullDiskHomeEnv = "P2PNODE_TEST_FULL_DISK_HOME"
)

// TestANodeOnAFullDisk runs itself again where it may mount a small file system: in a user and mount namespace of its own.
func TestANodeOnAFullDisk(t *testing.T) {
	if binary := os.Getenv(fullDiskEnv); binary != "" {
		onAFullDisk(t, binary)
		return
	}
	o := real(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestANodeOnAFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+o.Binary, fullDiskHomeEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespace to mount a small file system in: %v", err)
	}
	require.NoError(t, cmd.Wait(), "%s", &out)
	require.Contains(t, out.String(), "--- PASS: TestANodeOnAFullDisk")
}

// A write that finds no room fails before anybody sees it, and works once there is room.
func onAFullDisk(t *testing.T, binary string) {
	l := newListener(t, "fulldisk")
	s := newSubjectOf(t, l, binary, os.Getenv(fullDiskHomeEnv))
	require.NoError(t, syscall.Mount("tmpfs", s.home, "tmpfs", 0, "size=3m"))
	s.ready()
	_, err := s.client.Set(t.Context(), "app/color", []byte("teal"), api.WriteOptions{Wait: "all"})
	require.NoError(t, err)
	ballast := filepath.Join(s.home, "ballast")
	fillDisk(t, ballast)

	// bbolt has some pages of its own to fill first.
	value := bytes.Repeat([]byte("v"), 60_000)
	var refused *api.Error
	for n := byte('a'); refused == nil; n++ {
		_, err := s.client.Set(t.Context(), "app/large-"+string(n), value, api.WriteOptions{})
		if err != nil {
			require.ErrorAs(t, err, &refused)
		}
	}
	require.Equal(t, node.CodeDiskFull, refused.Code)
	require.Equal(t, 503, refused.Status)
	require.True(t, saysDiskFull(t, s))
	h, err := s.client.Readyz(t.Context())
	require.ErrorContains(t, err, "storage: no space left in "+s.home)
	require.Equal(t, node.CheckFail, h.Status)
	_, err = s.client.Livez(t.Context())
	require.NoError(t, err, "a restart would not help")
	out, code := runOn(t, s, "health")
	require.Equal(t, node.ExitCheck, code, out)
	require.Contains(t, out, "FAIL  storage      no space left in "+s.home)
	before := s.export()
	_, err = s.client.Set(t.Context(), "app/color", value, api.WriteOptions{})
	require.ErrorAs(t, err, &refused)
	require.Equal(t, node.CodeDiskFull, refused.Code)
	v, err := s.client.Get(t.Context(), "app/color", "")
	require.NoError(t, err)
	require.Equal(t, "teal", string(v.Value), "what could not be stored is not shown")
	require.Equal(t, signed(t, s, before), signed(t, s, s.export()), "nor signed")
	out, code = runOn(t, s, "state", "set", "app/color", string(value))
	require.Equal(t, node.ExitResource, code, out)
	require.Contains(t, out, "no space left")

	require.NoError(t, os.Remove(ballast))
	_, err = s.client.Set(t.Context(), "app/color", []byte("red"), api.WriteOptions{Wait: "all"})
	require.NoError(t, err)
	require.False(t, saysDiskFull(t, s))
	_, err = s.client.Readyz(t.Context())
	require.NoError(t, err)
	s.kill()
	s.ready()
	s.has(map[string]string{"app/color": "red"})
	_, faults := l.heard(s.id())
	require.Empty(t, faults, "nothing was signed twice")
}

// saysDiskFull is whether the subject's status has that problem.
func saysDiskFull(t *testing.T, s *subject) bool {
	t.Helper()
	st, err := s.client.Status(t.Context())
	require.NoError(t, err)
	return slices.ContainsFunc(st.Problems, func(p api.Problem) bool { return p.Code == node.CodeDiskFull })
}

// fillDisk takes all space that is left.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

// signed is the subject's own digest on main among what it exports.
func signed(t *testing.T, s *subject, all []*replica.Snapshot) (d gossipstate.Digest) {
	t.Helper()
	self := s.id()
	for _, snapshot := range all {
		if snapshot.Owner() == self && snapshot.Topic() == "main" {
			d = snapshot.Digest()
		}
	}
	require.NotZero(t, d.Version)
	return d
}

// runOn is `p2pnode ARGS` at the subject; it returns all output and the exit code.
func runOn(t *testing.T, s *subject, args ...string) (string, int) {
	t.Helper()
	cmd := command(t.Context(), s.binary, append(args, "--home", s.home)...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	return string(out), exitCode(t, err)
}
