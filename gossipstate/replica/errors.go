package replica

import (
	"errors"
	"fmt"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// What callers branch on. The errors of package gossipstate come through as they are.
var (
	// ErrNotFound: there is no such key.
	ErrNotFound = gossipstate.ErrNotFound
	// ErrReservedKey: the topic "members" is written by the replica alone.
	ErrReservedKey = errors.New("topic \"members\" is reserved: write to another topic")
	// ErrStopped: the replica is not running (any more).
	ErrStopped = errors.New("replica is not running")
	// ErrIdentityConflict: another process signs with this node's key; this one does not write any more.
	ErrIdentityConflict = errors.New("another process uses this identity: this node has stopped writing")
)

// ConflictError says that a conditional write found another clock.
type ConflictError struct {
	Key        string
	Have, Want gossipstate.Clock
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%q is at version %d, you asked for %d", e.Key, e.Have, e.Want)
}

// UnknownTopicError names a topic that this replica has not joined.
type UnknownTopicError struct{ Topic string }

func (e *UnknownTopicError) Error() string {
	return fmt.Sprintf("this node is not on topic %q", e.Topic)
}
