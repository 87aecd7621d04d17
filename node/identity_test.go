package node

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"
)

func TestIdentityIsMadeOnceAndPrivate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "identity.key")
	_, err := LoadIdentity(file)
	require.ErrorIs(t, err, fs.ErrNotExist)

	made, err := MakeIdentity(file)
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Dir(file))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())

	loaded, err := LoadIdentity(file)
	require.NoError(t, err)
	require.True(t, made.Equals(loaded))

	_, err = MakeIdentity(file)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, ExitConflict, ExitCode(err))
	again, err := LoadIdentity(file)
	require.NoError(t, err)
	require.True(t, made.Equals(again), "a refused second key left the first alone")

	left, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")
}

func TestLoadIdentityRefuses(t *testing.T) {
	secp, _, err := crypto.GenerateSecp256k1Key(rand.Reader)
	require.NoError(t, err)
	other, err := crypto.MarshalPrivateKey(secp)
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		text []byte
		mode fs.FileMode
		code string
	}{
		{"a file that others can read", []byte("x"), 0o644, CodeKeyPermissions},
		{"a file that the group can write", []byte("x"), 0o620, CodeKeyPermissions},
		{"an empty file", nil, 0o600, CodeKeyCorrupt},
		{"a file of something else", []byte("ssh-ed25519 AAAA"), 0o600, CodeKeyCorrupt},
		{"a key of another type", other, 0o600, CodeKeyCorrupt},
		{"an endless file", make([]byte, 1<<20), 0o600, CodeKeyCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "identity.key")
			require.NoError(t, os.WriteFile(file, c.text, 0o600))
			require.NoError(t, os.Chmod(file, c.mode))
			_, err := LoadIdentity(file)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.code, e.Code)
			require.Contains(t, e.Detail, file)
			require.NotEmpty(t, e.Hint)
		})
	}
}

func TestLockDirAdmitsOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	info := LockInfo{PID: 4101, Started: time.Date(2026, 11, 22, 4, 12, 0, 0, time.UTC), API: "unix:/run/x.sock"}
	release, err := LockDir(dir, info)
	require.NoError(t, err)

	_, err = LockDir(dir, LockInfo{PID: 1})
	require.Equal(t, ExitConflict, ExitCode(err))
	require.ErrorContains(t, err, dir+" is in use by pid 4101 since ")
	got, err := ReadLock(dir)
	require.NoError(t, err)
	require.Equal(t, info, got, "who was refused wrote nothing")

	require.NoError(t, release())
	release, err = LockDir(dir, LockInfo{PID: 2})
	require.NoError(t, err)
	got, err = ReadLock(dir)
	require.NoError(t, err)
	require.Equal(t, 2, got.PID)
	require.NoError(t, release())
}

func TestLockDirNeedsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := LockDir(file, LockInfo{})
	require.Equal(t, ExitResource, ExitCode(err))
	_, err = ReadLock(t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestPathsFollowTheEnvironment(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_DATA_HOME", "relative/is/ignored")
	t.Setenv("XDG_RUNTIME_DIR", "")
	p, err := UserPaths()
	require.NoError(t, err)
	require.Equal(t, Paths{
		Config: "/home/me/.config/p2pnode/config.toml",
		Data:   "/home/me/.local/share/p2pnode",
		Socket: "/home/me/.local/share/p2pnode/api.sock",
	}, p)

	t.Setenv("XDG_CONFIG_HOME", "/c")
	t.Setenv("XDG_DATA_HOME", "/d")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	p, err = UserPaths()
	require.NoError(t, err)
	require.Equal(t, Paths{Config: "/c/p2pnode/config.toml", Data: "/d/p2pnode", Socket: "/run/user/1000/p2pnode/api.sock"}, p)

	p, err = HomePaths("/x/n1")
	require.NoError(t, err)
	require.Equal(t, Paths{Config: "/x/n1/config.toml", Data: "/x/n1", Socket: "/x/n1/api.sock"}, p)
}

func TestLongHomeGetsAShortSocket(t *testing.T) {
	long := "/" + strings.Repeat("x", 120)
	t.Setenv("XDG_RUNTIME_DIR", "")
	a, err := HomePaths(long)
	require.NoError(t, err)
	require.LessOrEqual(t, len(a.Socket), maxSocketPath)
	b, err := HomePaths(long + "y")
	require.NoError(t, err)
	require.NotEqual(t, a.Socket, b.Socket, "two homes do not share a socket")

	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	c, err := HomePaths(long)
	require.NoError(t, err)
	require.Equal(t, "/run/user/1000/p2pnode", filepath.Dir(c.Socket))
}

func TestSocketInASharedPlaceMustBeTheUsersOwn(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	own, err := HomePaths(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, own.CheckSocket(), "in the data directory")
	t.Setenv("TMPDIR", t.TempDir())

	long, err := HomePaths("/" + strings.Repeat("x", 120))
	require.NoError(t, err)
	require.NoError(t, long.CheckSocket())
	info, err := os.Stat(filepath.Dir(long.Socket))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())

	require.NoError(t, os.Chmod(filepath.Dir(long.Socket), 0o777))
	require.ErrorContains(t, long.CheckSocket(), "is not this user's alone")
}
