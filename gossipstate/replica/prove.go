package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// Prove is the proof of the entry that Get would read, or of the tombstone in its place: who has it needs only the names of
// network and topic to check that the owner signed it. ErrNotFound when there is neither.
func (t *Reader) Prove(ctx context.Context, key string, owner peer.ID) (p gossipstate.Proof, err error) {
	id, err := t.r.ownerOrSelf(owner)
	if err != nil {
		return gossipstate.Proof{}, err
	}
	stopped := t.do(ctx, func(_ *table, tt *topicTable) {
		if owner == "" {
			if rec := tt.read(key, id); rec.Entry != nil {
				id = rec.Owner
			}
		}
		var ok bool
		if p, ok = tt.state.Prove(id, key); !ok {
			err = fmt.Errorf("%w: %q", ErrNotFound, key)
		}
	})
	return p, errors.Join(stopped, err)
}
