package gossipstate

import (
	"errors"
	"fmt"
)

// What Apply and Prepare refuse. ErrMalformed, ErrTooLarge and ErrBadSignature of package wire come before them.
var (
	// ErrRootMismatch: the update does not lead from what is held to the root that its digest signs.
	ErrRootMismatch = errors.New("root does not match the digest")
	// ErrLimit: this replica holds as many owners or bytes as it may.
	ErrLimit = errors.New("replica is full")
	// ErrClockExhausted: the key's clock is at its largest value; it cannot be written any more.
	ErrClockExhausted = errors.New("clock of the key is exhausted")
	// ErrVersionExhausted: the owner's version is at its largest value.
	ErrVersionExhausted = errors.New("version of the owner is exhausted")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("no such key")
)

// KeyError says why a key cannot be written.
type KeyError struct {
	Key    string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %.80q: %s", e.Key, e.Reason) }

// ValueTooLargeError says that a value is over the limit that every node enforces.
type ValueTooLargeError struct {
	Key         string
	Size, Limit int // bytes
}

func (e *ValueTooLargeError) Error() string {
	return fmt.Sprintf("value of key %.80q is %d bytes, the limit is %d", e.Key, e.Size, e.Limit)
}

// QuotaError says that a write would take the owner over what every node accepts of one owner.
type QuotaError struct {
	What        string // "entries" or "bytes"
	Size, Limit int
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("this node would hold %d %s of its own on the topic, the limit is %d", e.Size, e.What, e.Limit)
}
