package gossipstate

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	stageIdle  = 10 * time.Minute // an incomplete update is kept this long after its last part
	stageBytes = 8 << 20          // of entries staged in all; beyond it the longest idle goes first
)

// stages keeps the parts of updates that came in several frames until the last one is there.
type stages struct {
	open  map[ID]*stage
	bytes int
}

// stage is the part of an update that has arrived: entries in (version, key) order.
type stage struct {
	generation Generation
	previous   Version
	floor      Version // of the first part's digest
	entries    []Entry
	hashes     []wire.EntryHash
	bytes      int
	touched    time.Time
}

// holds says whether u, a last part, belongs to what is staged of its owner.
func (s *stages) holds(u *Update) bool {
	st := s.open[u.Digest.Owner]
	return st != nil && st.continues(u)
}

// continues says whether u goes on where st stands. The owner may have moved on meanwhile, within its generation: keys that
// changed come again later in the order.
func (st *stage) continues(u *Update) bool {
	last := &st.entries[len(st.entries)-1]
	floorHolds := u.Digest.Floor <= max(st.floor, last.Version) // else tombstones may be gone that were still to come
	return st.generation == u.Digest.Generation && st.previous == u.Previous && floorHolds &&
		(len(u.Entries) == 0 || last.Compare(&u.Entries[0]) < 0)
}

// add takes in one part. complete is true for the last one: entries and hashes are then those of the whole update. A part
// that does not continue what is staged starts it over.
func (s *stages) add(v *wire.Verified, now time.Time) (entries []Entry, hashes []wire.EntryHash, complete bool) {
	u := v.Update()
	owner := u.Digest.Owner
	st := s.open[owner]
	if st == nil || !st.continues(u) {
		s.drop(owner)
		st = &stage{generation: u.Digest.Generation, previous: u.Previous, floor: u.Digest.Floor}
		s.open[owner] = st
	}
	st.touched = now
	st.entries = append(st.entries, u.Entries...)
	st.hashes = append(st.hashes, v.Hashes()...)
	size := 0
	for i := range u.Entries {
		size += u.Entries[i].Size()
	}
	st.bytes += size
	s.bytes += size
	if !u.More {
		s.drop(owner)
		return st.entries, st.hashes, true
	}
	// An owner's copy over its own limit can never match a digest.
	if st.bytes > 2*wire.MaxBytes || len(st.entries) > 2*wire.MaxEntries {
		s.drop(owner)
	}
	s.expire(now)
	return nil, nil, false
}

func (s *stages) drop(owner ID) {
	if st := s.open[owner]; st != nil {
		s.bytes -= st.bytes
		delete(s.open, owner)
	}
}

// expire drops what was not continued for stageIdle, and while too much is staged the longest idle.
func (s *stages) expire(now time.Time) {
	for owner, st := range s.open {
		if now.Sub(st.touched) > stageIdle {
			s.drop(owner)
		}
	}
	for s.bytes > stageBytes {
		var idlest ID
		var oldest *stage
		for owner, st := range s.open {
			if oldest == nil || st.touched.Before(oldest.touched) || st.touched.Equal(oldest.touched) && owner.Compare(idlest) < 0 {
				idlest, oldest = owner, st
			}
		}
		s.drop(idlest)
	}
}

// Staged says how far the staged update of owner has come: the version and key of its last entry, and what it started
// from. ok is false when nothing is staged.
func (s *State) Staged(owner ID) (previous, version Version, ok bool) {
	st := s.stages.open[owner]
	if st == nil {
		return 0, 0, false
	}
	return st.previous, st.entries[len(st.entries)-1].Version, true
}
