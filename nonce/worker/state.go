package worker

import (
	"context"
	"iter"

	"github.com/p2pnode/p2pnode/nonce"
)

// State is the replicated state that jobs live in. Both methods are called concurrently.
type State interface {
	// Put writes this node's own keys in one commit: all of them become visible together or none. Deleting a key that is
	// not there is no error. It returns when the commit is safe here; others may see it later.
	Put(ctx context.Context, writes ...Write) error
	// Watch gives every owner's keys that start with prefix, then a Change with Synced set, then each change in the order
	// of its owner. It ends with ctx, or with an error when changes were missed; the Pool then calls it again and takes
	// the new snapshot as the whole truth.
	Watch(ctx context.Context, prefix string) iter.Seq2[Change, error]
}

// Write is one key to set or delete.
type Write struct {
	Key         string
	Value       []byte // nil with Delete
	Delete      bool
	ContentType string // "" with Delete
}

// Change is one key of one owner as a State gives it.
type Change struct {
	Owner   nonce.ID
	Key     string
	Value   []byte // nil with Deleted
	Deleted bool
	Synced  bool // the snapshot is complete; nothing else is set
}
