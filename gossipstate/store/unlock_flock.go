//go:build unix && !aix && !android && !solaris

package store

import (
	"os"
	"syscall"
)

// unlock gives up bbolt's lock on f. It is an flock, which outlives f.Close while f is still mapped.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
