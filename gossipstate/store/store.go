package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Store is an open store. All its methods may be called concurrently: writes wait for one another, reads wait for none.
// The file must not be changed by others while it is open.
type Store struct {
	path   string
	file   *os.File // db's own
	db     *bbolt.DB
	broken atomic.Pointer[CorruptError] // set once bbolt met a page it can't read: nothing works from then on
	closed atomic.Bool
}

// connect opens the file that prepare left.
func connect(path string, o options) (*Store, error) {
	s := &Store{path: path}
	err := s.guard("open", func() (err error) {
		s.db, err = bbolt.Open(path, fileMode, &bbolt.Options{
			Timeout:      o.lockWait,
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			NoSync:       o.noSync,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				s.file, err = os.OpenFile(name, flag, mode)
				return s.file, err
			},
		})
		return err
	})
	if err == nil {
		return s, nil
	}
	if s.broken.Load() != nil && s.file != nil {
		err = errors.Join(err, s.abandon()) // bbolt panicked and closed nothing
	}
	if errors.Is(err, ErrInUse) {
		err = fmt.Errorf("%w: %s", ErrInUse, path)
	}
	return nil, err
}

// Close ends the use of the file once running calls have returned. Later calls return ErrClosed, a second Close nil.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.broken.Load() != nil {
		return explain("close", s.abandon())
	}
	return explain("close", s.db.Close())
}

// abandon lets go of the file without bbolt, whose own locks may be held by the call that broke. Its mapping stays.
func (s *Store) abandon() error { return errors.Join(unlock(s.file), s.file.Close()) }

// guard runs do, which uses bbolt. On a page that changed under it since Open looked, bbolt panics or touches memory beyond
// the file: both become a CorruptError, which every later call returns too.
func (s *Store) guard(what string, do func() error) (err error) {
	if s.closed.Load() {
		return ErrClosed
	}
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			s.broken.CompareAndSwap(nil, &CorruptError{Path: s.path, Err: fmt.Errorf("%s: %v", what, r)})
			err = s.broken.Load()
		}
	}()
	return explain(what, do())
}

func (s *Store) view(what string, do func(*bbolt.Tx) error) error {
	return s.guard(what, func() error { return s.db.View(do) })
}

func (s *Store) update(what string, do func(*bbolt.Tx) error) error {
	return s.guard(what, func() error { return s.db.Update(do) })
}

// NextGeneration returns a generation for this process: larger than any that this store gave out, and max(last + 1, seconds
// of now since 1970 * 2^16 + rnd), so that it also exceeds what a lost store gave out, unless the clock went back. It is on
// disk before NextGeneration returns. ErrGenerationExhausted when the last one is the largest there is.
func (s *Store) NextGeneration(now time.Time, rnd uint16) (wire.Generation, error) {
	var clock uint64
	if seconds := now.Unix(); seconds >= 0 && seconds < 1<<48 {
		clock = uint64(seconds)<<16 | uint64(rnd)
	}
	return s.raise(0, clock)
}

// NextGenerationAbove is NextGeneration for a node that met a digest of its own of a newer generation, made from a copy of
// its store: the result is larger than above and than any that this store gave out.
func (s *Store) NextGenerationAbove(above wire.Generation) (wire.Generation, error) {
	return s.raise(uint64(above), 0)
}

// raise gives out max(last + 1, above + 1, clock).
func (s *Store) raise(above, clock uint64) (wire.Generation, error) {
	var next uint64
	err := s.update("next generation", func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		last, err := lastGeneration(meta)
		if err != nil {
			return err
		}
		if last = max(last, above); last+1 == 0 {
			return ErrGenerationExhausted
		}
		next = max(last+1, clock)
		return putGeneration(meta, next)
	})
	if err != nil {
		return 0, err
	}
	// A second commit fills the other header page as well: a store that loses either of them still has the generation.
	err = s.update("next generation", func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		last, err := lastGeneration(meta)
		if err != nil {
			return err
		}
		return putGeneration(meta, last)
	})
	if err != nil {
		return 0, err
	}
	return wire.Generation(next), nil
}

func lastGeneration(meta *bbolt.Bucket) (uint64, error) {
	record := meta.Get(generationKey)
	if record == nil {
		return 0, nil
	}
	b, err := unseal(metaBucket, generationKey, record)
	if err != nil || len(b) != 8 {
		return 0, fmt.Errorf("stored generation: %w", errChecksum)
	}
	return binary.BigEndian.Uint64(b), nil
}

func putGeneration(meta *bbolt.Bucket, g uint64) error {
	return meta.Put(generationKey, seal(metaBucket, generationKey, binary.BigEndian.AppendUint64(nil, g)))
}
