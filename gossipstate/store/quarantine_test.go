package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// breakAt puts a file that is no store at path, opens it at now and returns what was said about it.
func breakAt(t *testing.T, path string, now time.Time) *CorruptError {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("no store"), 0o600))
	s, damaged, err := Open(path, now)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NotNil(t, damaged)
	require.FileExists(t, damaged.Quarantine)
	return damaged
}

func TestTheNewestThreeDamagedFilesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	var moved []string
	for i := range 12 {
		damaged := breakAt(t, path, start.Add(time.Duration(i/11)*time.Hour)) // eleven within one second: -10 comes after -2
		moved = append(moved, damaged.Quarantine)
		if i < keptQuarantines {
			require.Empty(t, damaged.Pruned)
			require.NotContains(t, damaged.Error(), "went")
			continue
		}
		gone := moved[i-keptQuarantines]
		require.Equal(t, []string{gone}, damaged.Pruned)
		require.Contains(t, damaged.Error(), gone)
	}
	left, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	require.ElementsMatch(t, moved[9:], left)
}

func TestTheFileMovedJustNowIsKeptWhateverTheClockSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for i := range keptQuarantines {
		breakAt(t, path, start.Add(time.Duration(i)*time.Hour))
	}
	damaged := breakAt(t, path, start.Add(-24*time.Hour))
	require.Len(t, damaged.Pruned, 1)
	require.NotEqual(t, damaged.Quarantine, damaged.Pruned[0])
}

func TestOnlyFilesThatWereMovedAsideArePruned(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	var others []string
	for _, name := range []string{
		"state.db.corrupt-20200101T000000Z.bak", "state.db.corrupt-", "state.db.bak", "state.db.corrupt-yesterday",
		"other.db.corrupt-20200101T000000Z", "state.db.corrupt-20200101T000000Z-",
	} {
		others = append(others, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(others[len(others)-1], nil, 0o600))
	}
	sub := filepath.Join(dir, "state.db.corrupt-20200101T000000Z")
	require.NoError(t, os.Mkdir(sub, 0o700))
	for i := range 2 * keptQuarantines {
		breakAt(t, path, start.Add(time.Duration(i)*time.Hour))
	}
	for _, name := range others {
		require.FileExists(t, name)
	}
	require.DirExists(t, sub)
	require.Len(t, quarantines(path), keptQuarantines)
}

func TestWhatWasMovedAsideIsSaid(t *testing.T) {
	e := &CorruptError{Path: "p", Quarantine: "q", Pruned: []string{"r", "s"}, Err: errors.New("bits")}
	require.Equal(t, "state store p is damaged: bits; it was moved to q, and of those moved aside earlier r, s went", fmt.Sprint(e))
}
