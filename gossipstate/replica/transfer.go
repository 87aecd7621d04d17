package replica

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// sessionBytes is what one side sends in one session, as a rule: then others get their turn, and the rest comes with the
	// next one. A guess: 13 s at 10 Mbit/s, of the two minutes that a session may take.
	sessionBytes = 16 << 20
	// limitedBytes is sessionBytes on a limited connection: relays close those after 128 KiB each way, as a rule.
	limitedBytes = 96 << 10
	limitedFrame = 24 << 10 // largest update there but for single entries: so that little is lost with a frame that breaks off
)

// budgetOf is how many bytes a session on conn may send.
func (t *table) budgetOf(conn network.Conn) int {
	if conn.Stat().Limited {
		return limitedBytes
	}
	return t.sessionBytes
}

// frame is how large an update of this session may be.
func (s *session) frame() int {
	const room = 1 << 10 // for what surrounds an update in its frame
	if s.budget <= limitedBytes {
		return limitedFrame
	}
	return wire.MaxFrame - room
}

// mayGive says whether an update of n bytes is within the budget. One is always: else a large one never came.
func (s *session) mayGive(n int) bool { return s.given == 0 || s.framer.sent+n <= s.budget }

// staged is how far an update of owner in parts has come, for p to go on with.
func (t *table) staged(tt *topicTable, owner gossipstate.ID, p peer.ID) *wire.Cursor {
	from, err := OwnerOf(p)
	if err != nil {
		return nil
	}
	return tt.state.Staged(owner, from)
}

// wantOf is what to ask p for, to have what it has newer of owner.
func (t *table) wantOf(tt *topicTable, owner gossipstate.ID, p peer.ID) wire.Want {
	want := wire.Want{Owner: owner, Staged: t.staged(tt, owner, p)}
	if d, _, held := tt.state.Digest(owner); held {
		want.Generation, want.Version = d.Generation, d.Version
	}
	return want
}

// begun are the wants of the owners of whom parts have arrived that p can go on with, sorted by owner.
func (t *table) begun(tt *topicTable, p peer.ID) []wire.Want {
	var wants []wire.Want
	for _, owner := range tt.state.StagedOwners() {
		if want := t.wantOf(tt, owner, p); want.Staged != nil {
			wants = append(wants, want)
		}
	}
	return wants
}

// checkWants refuses wants that are not sorted by owner, or name one twice: each costs its answer.
func checkWants(wants []wire.Want) error {
	if len(wants) > wire.MaxOwners {
		return fmt.Errorf("%w: over %d wants", wire.ErrTooLarge, wire.MaxOwners)
	}
	for i := 1; i < len(wants); i++ {
		if wants[i-1].Owner.Compare(wants[i].Owner) >= 0 {
			return fmt.Errorf("%w: wants out of order", wire.ErrMalformed)
		}
	}
	return nil
}

func (s *session) sendWants(topic string, wants []wire.Want) error {
	for wants := range slices.Chunk(wants, wire.MaxFrameItems) {
		if err := s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topic, Wants: wants}}); err != nil {
			return err
		}
	}
	return nil
}

// pull asks for the owners in wants, at most wire.MaxFrameItems.
func (s *session) pull(ctx context.Context, topic string, wants []wire.Want) error {
	if err := s.sendWants(topic, wants); err != nil {
		return err
	}
	return s.takeUpdates(ctx, topic, nil)
}

// stalestFirst orders wants by how much their sender lacks: what it has begun to get, then the most versions.
func (tt *topicTable) stalestFirst(wants []wire.Want) {
	lag := func(w wire.Want) uint64 {
		d, _, _ := tt.state.Digest(w.Owner)
		switch {
		case w.Staged != nil:
			return math.MaxUint64
		case w.Version > d.Version:
			return uint64(d.Version)
		default:
			return uint64(d.Version - w.Version)
		}
	}
	slices.SortStableFunc(wants, func(a, b wire.Want) int { return cmp.Compare(lag(b), lag(a)) })
}

// sendUpdates answers wants, one owner at a time so that a large topic is never in memory twice, and then says done. It stops
// when the budget is used up, and says that too. With once it leaves out what another sync with the peer sends at this time.
func (s *session) sendUpdates(ctx context.Context, topic string, wants []wire.Want, once bool) error {
	if err := s.r.do(ctx, func(t *table) { t.topics[topic].stalestFirst(wants) }); err != nil {
		return err
	}
	cut := false
	for i := 0; i < len(wants) && !cut; i++ {
		var updates []gossipstate.Update
		f := wire.SyncUpdate{Topic: topic}
		if err := s.r.do(ctx, func(t *table) {
			state := t.topics[topic].state
			d, _, held := state.Digest(wants[i].Owner)
			if l := t.links[s.peer]; once && held && l != nil && !l.gives(topic, &d) {
				return
			}
			updates = state.Updates(wants[i], s.frame())
			f.Age, f.Beat = t.age(wants[i].Owner), t.newestBeat(topic, wants[i].Owner)
		}); err != nil {
			return err
		}
		for _, u := range updates {
			f.Update = u
			b := wire.MarshalSyncFrame(&wire.SyncFrame{Update: &f})
			if cut = !s.mayGive(len(b)); cut {
				break
			}
			s.given++
			if err := s.framer.write(b); err != nil {
				return err
			}
		}
	}
	s.cut = s.cut || cut
	return s.send(&wire.SyncFrame{Done: true, More: cut})
}
