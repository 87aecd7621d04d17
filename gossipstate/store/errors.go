package store

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var (
	// ErrInUse: another process, or another Store of this one, has the file open.
	ErrInUse = errors.New("state store is in use")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("state store is closed")
	// ErrGenerationExhausted: there is no generation above the one that must be exceeded.
	ErrGenerationExhausted = errors.New("no larger generation is left")
)

// CorruptError says that the file is damaged and what became of it.
type CorruptError struct {
	Path       string   // of the store
	Quarantine string   // where Open moved the damaged file; "" when it stayed in place
	Pruned     []string // files moved aside earlier that Open removed, oldest first: the newest three stay
	Err        error    // what is wrong with it
}

func (e *CorruptError) Error() string {
	if e.Quarantine == "" {
		return fmt.Sprintf("state store %s is damaged: %v", e.Path, e.Err)
	}
	text := fmt.Sprintf("state store %s is damaged: %v; it was moved to %s", e.Path, e.Err, e.Quarantine)
	if len(e.Pruned) > 0 {
		text += fmt.Sprintf(", and of those moved aside earlier %s went", strings.Join(e.Pruned, ", "))
	}
	return text
}

// Unwrap returns Err.
func (e *CorruptError) Unwrap() error { return e.Err }

// FormatError says that the file has a layout which this version does not read. The file was not touched.
type FormatError struct {
	Path       string
	Have, Want uint32
}

func (e *FormatError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("state store %s has data format %d, written by a newer version; this one reads %d", e.Path, e.Have, e.Want)
	}
	return fmt.Sprintf("state store %s has data format %d; this version reads %d", e.Path, e.Have, e.Want)
}

// RecordError names one record that was read back damaged.
type RecordError struct {
	Topic string
	Owner wire.ID
	Key   string // "": the owner's digest
	Err   error  // of wire, when it is the decoder that refused the record
}

func (e *RecordError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("digest of %s on %s: %v", e.Owner, e.Topic, e.Err)
	}
	return fmt.Sprintf("entry %q of %s on %s: %v", e.Key, e.Owner, e.Topic, e.Err)
}

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

var (
	errChecksum = errors.New("checksum mismatch")
	errNoDigest = errors.New("missing, but entries are there")
)

// errDamaged marks what is wrong with the file itself, as opposed to reading it.
var errDamaged = errors.New("damaged")

// damage is a reason to move the file aside.
type damage string

func (d damage) Error() string        { return string(d) }
func (d damage) Is(target error) bool { return target == errDamaged }

func damagef(format string, args ...any) error { return damage(fmt.Sprintf(format, args...)) }

// explain turns bbolt's errors into this package's and says what was being done.
func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	case errors.Is(err, berrors.ErrTimeout):
		return ErrInUse
	case !errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		err = fmt.Errorf("%w (%w)", err, syscall.ENOSPC) // bbolt formats some causes by %s, which hides them
	}
	return fmt.Errorf("state store: %s: %w", what, err)
}
