package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

const (
	fileMode = 0o600

	// lockWait is how long Open waits for another process to let go of the file: a predecessor that is just stopping.
	// A guess.
	lockWait  = time.Second
	lockRetry = 20 * time.Millisecond

	// maxQuarantines bounds the search for a free name for files damaged within one second.
	maxQuarantines = 100
)

// Open opens the store at path, whose directory must exist, and makes it, with mode 0600, when there is none. now only names
// a file that is moved aside.
//
// A damaged file costs no start: it is moved to <path>.corrupt-<UTC time>, never over an earlier one, and a fresh store
// takes its place; damaged then says so beside the store. Of the files moved aside the newest three are kept, and damaged
// names those that were removed. It also says so, with Quarantine "", when one of the two header pages was lost: the file
// stays, but its last commit may be missing. damaged is nil when all is well.
//
// Errors: ErrInUse after a wait of some seconds, *FormatError, and those of the file system; the file is then left as it is.
func Open(path string, now time.Time) (s *Store, damaged *CorruptError, err error) {
	return open(path, now, options{lockWait: lockWait})
}

// options are what tests change.
type options struct {
	lockWait time.Duration
	noSync   bool
}

func open(path string, now time.Time, o options) (*Store, *CorruptError, error) {
	damaged, err := prepare(path, now, o)
	if err == nil && damaged != nil && damaged.Quarantine != "" {
		_, err = prepare(path, now, o) // path is free
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := connect(path, o)
	if err != nil {
		return nil, nil, err
	}
	return s, damaged, nil
}

// prepare leaves a sound file at path, or none when it moved a damaged one aside, all under the lock that bbolt takes too.
// bbolt takes it again afterwards: whoever comes between leaves the file as sound as it was.
func prepare(path string, now time.Time, o options) (*CorruptError, error) {
	lock, err := lockFile(path, o.lockWait)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	empty, lost, err := checkPath(path)
	switch {
	case errors.Is(err, errDamaged):
		to, moveErr := moveAside(path, now)
		if moveErr != nil {
			return nil, fmt.Errorf("%w; it can't be moved aside: %w", &CorruptError{Path: path, Err: err}, moveErr)
		}
		return &CorruptError{Path: path, Quarantine: to, Pruned: pruneQuarantines(path, to), Err: err}, nil
	case err != nil:
		return nil, err
	case empty:
		return nil, explain("create", create(path, o))
	case lost != nil:
		return &CorruptError{Path: path, Err: lost}, nil
	}
	return nil, nil
}

// create puts a new store in the place of the empty file at path, whole or not at all.
func create(path string, o options) (err error) {
	temp := path + ".new"
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(temp, fileMode, &bbolt.Options{NoSync: o.noSync})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(formatKey, seal(metaBucket, formatKey, binary.BigEndian.AppendUint32(nil, formatVersion)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(path)
}

// lockFile locks the file that is at path once it has the lock, making an empty one when there is none.
func lockFile(path string, wait time.Duration) (*flock.Flock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("state store %s is not a regular file", path)
		}
		lock := flock.New(path, flock.SetPermissions(fileMode))
		if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
			lock.Close()
			if errors.Is(err, context.DeadlineExceeded) {
				return nil, fmt.Errorf("%w: %s", ErrInUse, path)
			}
			return nil, explain("lock", err)
		}
		held, err1 := lock.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, there) {
			return lock, nil
		}
		lock.Close() // it was moved aside while we waited
	}
}

// checkPath checks the pages and the layout of the file at path. An empty file is what lockFile made.
func checkPath(path string) (empty bool, lost, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, nil, explain("open", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, nil, explain("open", err)
	}
	if info.Size() == 0 {
		return true, nil, nil
	}
	var seen layout
	if lost, err = check(f, info.Size(), seen.visit); err == nil {
		err = seen.err(path)
	}
	var format *FormatError
	switch {
	case errors.Is(err, errDamaged), errors.As(err, &format):
		return false, nil, err
	case err != nil:
		return false, nil, explain("check", err)
	case info.Mode().Perm() != fileMode:
		err = explain("restrict", f.Chmod(fileMode))
	}
	return false, lost, err
}

// layout is what a walk over a file saw of this package's own layout.
type layout struct {
	format uint32 // 0: none
}

func (l *layout) visit(bucket, key, value []byte) error {
	if bucket == nil {
		return checkBucketName(key)
	}
	if !bytes.Equal(bucket, metaBucket) {
		return nil // each record is checked when it is loaded
	}
	b, err := unseal(bucket, key, value)
	switch {
	case err != nil:
		return damagef("meta %q: %v", key, err)
	case bytes.Equal(key, formatKey) && len(b) == 4:
		l.format = binary.BigEndian.Uint32(b)
	case bytes.Equal(key, formatKey), bytes.Equal(key, generationKey) && len(b) != 8:
		return damagef("meta %q of %d bytes", key, len(b))
	}
	return nil
}

func (l *layout) err(path string) error {
	switch {
	case l.format == formatVersion:
		return nil
	case l.format == 0:
		return damage("no data format: not a state store")
	}
	return &FormatError{Path: path, Have: l.format, Want: formatVersion}
}

// moveAside renames path to a name that nothing has and returns it.
func moveAside(path string, now time.Time) (string, error) {
	stamp := now.UTC().Format("20060102T150405Z")
	base, first := path+".corrupt-"+stamp, 1
	for _, q := range quarantines(path) {
		if q.when == stamp {
			first = q.number + 1 // what was pruned leaves a gap that is not filled: numbers tell the order
		}
	}
	for i := first; i < first+maxQuarantines; i++ {
		to := base
		if i > 1 {
			to = fmt.Sprintf("%s-%d", base, i)
		}
		placeholder, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		placeholder.Close()
		if err := os.Rename(path, to); err != nil {
			os.Remove(to)
			return "", err
		}
		return to, syncDir(path)
	}
	return "", fmt.Errorf("%d files named %s-*: %w", maxQuarantines, base, fs.ErrExist)
}

// syncDir makes what happened to the name path durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
