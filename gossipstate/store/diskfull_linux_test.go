package store

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// TestAFullDisk runs itself again where it may mount a small file system: in a user and mount namespace of its own.
func TestAFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDiskEnv); dir != "" {
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
		onAFullDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+t.TempDir())
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
	require.Contains(t, out.String(), "--- PASS: TestAFullDisk")
}

func onAFullDisk(t *testing.T, dir string) {
	path, ballast := filepath.Join(dir, "state.db"), filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 300<<10), 0o600))
	s, damaged, err := Open(path, start)
	require.NoError(t, err)
	require.Nil(t, damaged)

	var before []Copy
	for v := wire.Version(1); err == nil; v++ {
		before = load(t, s, "main")
		err = s.Commit([]Write{put("main", owner(byte(v)), v, entry("a", strings.Repeat("v", 50_000), v))})
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotEmpty(t, before)
	require.Equal(t, before, load(t, s, "main"), "a commit that failed changes nothing")
	require.NoError(t, s.Close())

	s, damaged, err = Open(path, start)
	require.NoError(t, err)
	require.Nil(t, damaged)
	require.Equal(t, before, load(t, s, "main"))
	require.ErrorIs(t, s.Commit([]Write{put("main", owner(99), 1, entry("a", strings.Repeat("v", 60_000), 1))}), syscall.ENOSPC)

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, s.Commit([]Write{put("main", owner(99), 1, entry("a", "1", 1))}), "it goes on once there is space")
	require.Len(t, load(t, s, "main"), len(before)+1)
	require.NoError(t, s.Close())
	_, damaged, err = Open(path, start)
	require.NoError(t, err)
	require.Nil(t, damaged)

	fill(t, ballast)
	other := filepath.Join(dir, "other.db")
	_, damaged, err = Open(other, start)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Nil(t, damaged)
	require.NoError(t, os.Remove(ballast))
	_, damaged, err = Open(other, start)
	require.NoError(t, err)
	require.Nil(t, damaged, "half a new store is no damaged store")
}

// fill takes all space that is left.
func fill(t *testing.T, path string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}
