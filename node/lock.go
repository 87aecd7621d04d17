package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// LockInfo is what the file LOCK of a data directory says of the process that holds it, or of the last one that did.
type LockInfo struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	API     string    `json:"api"` // where its API listens, unix:PATH or off
}

// ReadLock reads the LOCK file of a data directory. It does not say whether the lock is held: asking would take it for
// a moment, and a node that starts in that moment would find it taken. A directory that never was a node's is
// fs.ErrNotExist.
func ReadLock(dir string) (LockInfo, error) {
	text, err := os.ReadFile(filepath.Join(dir, lockFile))
	if err != nil {
		return LockInfo{}, err
	}
	var info LockInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return LockInfo{}, fmt.Errorf("%s: %w", filepath.Join(dir, lockFile), err)
	}
	return info, nil
}

// LockDir makes the data directory, mode 0700, when it is missing, takes its lock and writes info into it. Another
// holder is an *Error data-dir-locked. The lock ends with the process if release is not called.
func LockDir(dir string, info LockInfo) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, dirUnusable(dir, err)
	}
	file := filepath.Join(dir, lockFile)
	lock := flock.New(file, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
	switch taken, err := lock.TryLock(); {
	case err != nil:
		return nil, dirUnusable(dir, err)
	case !taken:
		return nil, dirLocked(dir)
	}
	text, err := json.Marshal(info)
	if err != nil {
		panic(fmt.Sprintf("node: encode lock: %v", err))
	}
	// Written in place: a rename would put another file where the lock is.
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return nil, errors.Join(dirUnusable(dir, err), lock.Unlock())
	}
	return lock.Unlock, nil
}

func dirLocked(dir string) error {
	holder := "another process"
	if info, err := ReadLock(dir); err == nil {
		holder = fmt.Sprintf("pid %d since %s", info.PID, info.Started.Local().Format("2006-01-02 15:04"))
	}
	return NewError(CodeDataDirLocked, nil, fmt.Sprintf("%s is in use by %s", dir, holder),
		"for a second node give --home another directory, or try 'p2pnode testnet up'")
}

func dirUnusable(dir string, cause error) error {
	switch {
	case errors.Is(cause, syscall.ENOSPC):
		return NewError(CodeDiskFull, cause, "no space left in "+dir, "")
	case errors.Is(cause, fs.ErrPermission), errors.Is(cause, syscall.EROFS), errors.Is(cause, syscall.ENOTDIR):
		return NewError(CodeStoreUnreadable, cause, fmt.Sprintf("the data directory %s can't be used: %v", dir, cause), "give another one with --home")
	default:
		return fmt.Errorf("data directory %s: %w", dir, cause)
	}
}
