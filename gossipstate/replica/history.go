package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// Versions is what is known to have stood under one key.
type Versions struct {
	// Values by falling Clock, then falling owner: what stands now, Deleted if it is a tombstone; other owners' values that
	// lost and are not withdrawn yet; and what was replaced, deleted or lost while this process looked on.
	Values []Value
	// Current says that the first of Values stands now; else the key is gone altogether.
	Current bool
	// Cut says that older ones were dropped for want of room.
	Cut bool
}

// At is the newest value of a version; of one that two owners wrote, the one that won. False when there is none.
func (v *Versions) At(version gossipstate.Clock) (Value, bool) {
	for _, value := range v.Values {
		if value.Clock == version {
			return value, true
		}
	}
	return Value{}, false
}

// History is what this replica remembers of the values of key: of a shared key whoever wrote them, else of owner's, "" meaning
// this node. It is kept in memory alone and begins anew with every process: the newest Config.History values of each key, at
// most 4 MiB in all. Keys of work are not remembered. Error: ErrNotFound when nothing is known of the key.
func (t *Reader) History(ctx context.Context, key string, owner peer.ID) (v Versions, err error) {
	id, err := t.r.ownerOrSelf(owner)
	if err != nil {
		return Versions{}, err
	}
	stopped := t.do(ctx, func(_ *table, tt *topicTable) {
		var records []gossipstate.Record
		if records, v.Cut = tt.state.Versions(tt.history, id, key); len(records) == 0 {
			err = fmt.Errorf("%w: %q", ErrNotFound, key)
		}
		now := tt.read(key, id)
		v.Current = now.Entry != nil && len(records) > 0 && records[0] == now
		for _, rec := range records {
			v.Values = append(v.Values, tt.value(rec))
		}
	})
	return v, errors.Join(stopped, err)
}

// Revert writes the value that key had at an earlier version as its newest; o as in Set, but the content type is the old
// one's. Errors as Set, and ErrNotFound when that version is not remembered or was a deletion.
func (t *Topic) Revert(ctx context.Context, key string, version gossipstate.Clock, o WriteOptions) (Written, error) {
	v, err := t.History(ctx, key, "")
	if err != nil {
		return Written{}, err
	}
	old, ok := v.At(version)
	if !ok || old.Deleted {
		return Written{}, fmt.Errorf("%w: version %d of %q", ErrNotFound, version, key)
	}
	o.ContentType = old.ContentType
	return t.Set(ctx, key, old.Value, o)
}
