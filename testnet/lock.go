package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/p2pnode/p2pnode/node"
)

const (
	lockWait = 10 * time.Second // for another command of the same testnet to end
	lockPoll = 20 * time.Millisecond
)

// lock takes the lock file, alone among all processes, and makes its directory when needed. Release removes the file, and the
// directory if nothing else is in it. what says what its holder does, for the error when the wait is too long.
func lock(ctx context.Context, file, what string) (release func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, errBusy)
	defer cancel()
	for {
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err != nil && !errors.Is(err, os.ErrExist) { // it exists: it did, but was removed before it was looked at
			return nil, err
		}
		f := flock.New(file, flock.SetPermissions(0o600))
		_, err = f.TryLockContext(ctx, lockPoll)
		switch {
		case err != nil && errors.Is(context.Cause(ctx), errBusy):
			return nil, node.NewError(node.CodeTestnetRuns, errBusy, "another p2pnode command "+what,
				"wait until it has ended, or stop that command")
		case errors.Is(err, os.ErrNotExist):
			continue // the last holder removed the directory with the file
		case err != nil:
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		// Who held it before may have removed it meanwhile; then this is a lock on nothing.
		if sameFile(f, file) {
			return func() {
				_ = os.Remove(file)
				_ = f.Unlock()
				_ = os.Remove(filepath.Dir(file)) // fails while anything else is there
			}, nil
		}
		_ = f.Unlock()
	}
}

var errBusy = errors.New("the lock is taken")

func sameFile(f *flock.Flock, file string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(file)
	return err == nil && os.SameFile(held, named)
}
