package gossipstate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	stageIdle      = 10 * time.Minute // an incomplete update is kept this long after its last part
	stageBytes     = 8 << 20          // of entries staged in all; beyond it the longest idle goes first
	stagePeerBytes = 2 << 20          // of entries staged from one peer; likewise
	stageEntry     = 128              // counted for each entry beside its Size, so that small ones do not take many times that
	maxStages      = 256              // incomplete updates in all; likewise. Their cursors fit one frame of wants
	maxApart       = 1024             // owners whose parts are not mixed any more; guess
)

// ErrMixedParts is the ErrRootMismatch of an update whose parts came from several peers: one of them may have made its part
// up, nobody knows which. The owner's parts of each peer are then kept apart, and what was staged is dropped.
var ErrMixedParts = fmt.Errorf("%w: of parts from several peers", ErrRootMismatch)

// stages keeps the parts of updates that came in several frames until the last one is there: for each owner and each peer
// apart, since a part is only known to be its owner's once the root matches. A peer may go on where another one stopped:
// then it has a fork of what the other one sent.
type stages struct {
	open  map[stageKey]*stage
	bytes int         // sum over open: a fork counts as a whole, since it outlives what it was forked from
	apart map[ID]bool // owners of which a mixed update did not match: until one is applied, nobody goes on for another
}

type stageKey struct{ owner, from ID }

// stage is the part of an update that has arrived: entries in (version, key) order.
type stage struct {
	generation Generation
	previous   Version
	floor      Version // of the first part's digest
	newest     Version // of the parts' digests
	entries    []Entry // a fork shares the beginning
	hashes     []wire.EntryHash
	bytes      int // of the entries, with stageEntry for each
	touched    time.Time
	mixed      bool // parts of several peers are in it
}

func newStages() stages { return stages{open: map[stageKey]*stage{}, apart: map[ID]bool{}} }

// cursor is where st stands.
func (st *stage) cursor() *wire.Cursor {
	last := &st.entries[len(st.entries)-1]
	return &wire.Cursor{
		Generation: st.generation, Previous: st.previous, Floor: st.floor, Version: last.Version, Key: last.Key, Newest: st.newest,
	}
}

// goesOn says whether the update from previous to d can go on behind c: the answer's entries are then those that follow.
// The owner may have moved on since, within its generation: keys that changed come again later in the order. It must not
// have moved back, nor dropped tombstones that were still to come.
func goesOn(c *wire.Cursor, previous Version, d *Digest) bool {
	return c.Generation == d.Generation && c.Previous == previous && c.Newest <= d.Version && d.Floor <= max(c.Floor, c.Version)
}

// behind says whether e comes behind c in the order of an update.
func behind(c *wire.Cursor, e *Entry) bool {
	return cmp.Or(cmp.Compare(e.Version, c.Version), cmp.Compare(e.Key, c.Key)) > 0
}

func (st *stage) continues(u *Update) bool {
	c := st.cursor()
	return goesOn(c, u.Previous, &u.Digest) && (len(u.Entries) == 0 || behind(c, &u.Entries[0]))
}

// extends says whether st is other and more.
func (st *stage) extends(other *stage) bool {
	n := len(other.hashes)
	return st.generation == other.generation && st.previous == other.previous && st.floor == other.floor &&
		len(st.hashes) > n && st.hashes[n-1] == other.hashes[n-1]
}

// best is the stage with which a peer goes on: its own, or that of another peer which goes further; nil when there is none.
func (s *stages) best(owner, from ID, fits func(*stage) bool) *stage {
	if len(s.open) == 0 {
		return nil
	}
	best := s.open[stageKey{owner, from}]
	if best != nil && !fits(best) {
		best = nil
	}
	if s.apart[owner] {
		return best
	}
	var other *stage
	for _, key := range s.keys(owner) {
		st := s.open[key]
		if fits(st) && (other == nil || st.beyond(other)) {
			other = st
		}
	}
	if best == nil || other.extends(best) {
		return other
	}
	return best
}

// beyond orders stages of one owner by how far they have come.
func (st *stage) beyond(other *stage) bool {
	return cmp.Or(cmp.Compare(st.generation, other.generation), cmp.Compare(len(st.entries), len(other.entries))) > 0
}

// keys are those of the stages of owner, sorted.
func (s *stages) keys(owner ID) []stageKey {
	var keys []stageKey
	for key := range s.open {
		if key.owner == owner {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, stageKey.compare)
	return keys
}

// of is the stage which u, a last part from a peer, belongs to; nil when it is an update of its own.
func (s *stages) of(u *Update, from ID) *stage {
	return s.best(u.Digest.Owner, from, func(st *stage) bool { return st.continues(u) })
}

// add takes in one part. With the last one the stage holds the whole update, and is not open any more. A part that continues
// nothing that is staged starts over.
func (s *stages) add(v *wire.Verified, from ID, now time.Time) (st *stage, complete bool) {
	u := v.Update()
	key := stageKey{u.Digest.Owner, from}
	st = s.next(u, key)
	st.touched = now
	st.newest = u.Digest.Version
	st.entries = append(st.entries, u.Entries...)
	st.hashes = append(st.hashes, v.Hashes()...)
	for i := range u.Entries {
		st.bytes += u.Entries[i].Size() + stageEntry
	}
	s.drop(key)
	if !u.More {
		return st, true
	}
	// An owner's copy over its own limit can never match a digest.
	if st.bytes <= 2*(wire.MaxBytes+wire.MaxEntries*stageEntry) && len(st.entries) <= 2*wire.MaxEntries {
		s.open[key] = st
		s.bytes += st.bytes
	}
	s.expire(from, now)
	return st, false
}

// next is a copy of the stage that u goes on with, for the peer of key.
func (s *stages) next(u *Update, key stageKey) *stage {
	own := s.open[key]
	st := s.of(u, key.from)
	if st == nil {
		if own != nil && goesOn(own.cursor(), u.Previous, &u.Digest) {
			s.keepApart(key.owner) // it went back: what another peer sent led it astray
		}
		return &stage{generation: u.Digest.Generation, previous: u.Previous, floor: u.Digest.Floor}
	}
	next := *st
	if st != own {
		next.mixed = true
		next.entries, next.hashes = slices.Clip(st.entries), slices.Clip(st.hashes)
	}
	return &next
}

func (s *stages) keepApart(owner ID) {
	if len(s.apart) < maxApart {
		s.apart[owner] = true
	}
}

// mismatched follows a root mismatch of a whole update that was staged as st.
func (s *stages) mismatched(owner ID, st *stage, err error) error {
	if !st.mixed {
		return err
	}
	s.dropOwner(owner)
	s.keepApart(owner)
	return fmt.Errorf("%w: %w", ErrMixedParts, err)
}

func (s *stages) drop(key stageKey) {
	if st := s.open[key]; st != nil {
		s.bytes -= st.bytes
		delete(s.open, key)
	}
}

// dropOwner drops what is staged of owner, whoever sent it.
func (s *stages) dropOwner(owner ID) {
	for _, key := range s.keys(owner) {
		s.drop(key)
	}
	delete(s.apart, owner)
}

// expire drops what was not continued for stageIdle, and the longest idle while there is too much of one peer or in all.
func (s *stages) expire(from ID, now time.Time) {
	ofPeer := 0
	for key, st := range s.open {
		if now.Sub(st.touched) > stageIdle {
			s.drop(key)
		} else if key.from == from {
			ofPeer += st.bytes
		}
	}
	for ofPeer > stagePeerBytes {
		key := s.idlest(func(key stageKey) bool { return key.from == from })
		ofPeer -= s.open[key].bytes
		s.drop(key)
	}
	for s.bytes > stageBytes || len(s.open) > maxStages {
		s.drop(s.idlest(func(stageKey) bool { return true }))
	}
}

// idlest is the key of the stage among those that fit, at least one, which was not continued for longest.
func (s *stages) idlest(fits func(stageKey) bool) stageKey {
	var idlest stageKey
	var oldest *stage
	for key, st := range s.open {
		earlier := oldest == nil || st.touched.Before(oldest.touched) || st.touched.Equal(oldest.touched) && key.compare(idlest) < 0
		if fits(key) && earlier {
			idlest, oldest = key, st
		}
	}
	return idlest
}

func (k stageKey) compare(other stageKey) int {
	return cmp.Or(k.owner.Compare(other.owner), k.from.Compare(other.from))
}

// Staged is how far an update of owner in parts has come that peer from can go on with; nil when nothing of one has arrived.
func (s *State) Staged(owner, from ID) *wire.Cursor {
	st := s.stages.best(owner, from, func(*stage) bool { return true })
	if st == nil {
		return nil
	}
	return st.cursor()
}

// StagedOwners are the owners of whom parts of an update have arrived, sorted.
func (s *State) StagedOwners() []ID {
	var owners []ID
	for key := range s.stages.open {
		owners = append(owners, key.owner)
	}
	slices.SortFunc(owners, ID.Compare)
	return slices.Compact(owners)
}
