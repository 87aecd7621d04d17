package testnet

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLockIsOnesAloneAndLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	file := filepath.Join(dir, "x.lock")
	var inside, most int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				release, err := lock(t.Context(), file, "tests")
				if !assertNoError(t, err) {
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				// File and directory go and come back while others wait for them: none may get in by that.
				mu.Lock()
				inside--
				mu.Unlock()
				release()
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, most)
	require.NoDirExists(t, dir)
}

func assertNoError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestLockWaitEndsWithTheContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.lock")
	release, err := lock(t.Context(), file, "tests")
	require.NoError(t, err)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = lock(ctx, file, "tests")
	require.ErrorIs(t, err, context.Canceled)
}
