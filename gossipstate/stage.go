package gossipstate

import (
	"cmp"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	stageIdle      = 10 * time.Minute // an incomplete update is kept this long after its last part
	stageBytes     = 8 << 20          // of entries staged in all; beyond it the longest idle goes first
	stagePeerBytes = 2 << 20          // of entries staged from one peer; likewise
)

// stages keeps the parts of updates that came in several frames until the last one is there: for each owner and each peer
// apart, since a part is only known to be its owner's once the root matches.
type stages struct {
	open  map[stageKey]*stage
	bytes int
}

type stageKey struct{ owner, from ID }

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

// holds says whether u, a last part, belongs to what is staged of its owner from a peer.
func (s *stages) holds(u *Update, from ID) bool {
	st := s.open[stageKey{u.Digest.Owner, from}]
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
func (s *stages) add(v *wire.Verified, from ID, now time.Time) (entries []Entry, hashes []wire.EntryHash, complete bool) {
	u := v.Update()
	key := stageKey{u.Digest.Owner, from}
	st := s.open[key]
	if st == nil || !st.continues(u) {
		s.drop(key)
		st = &stage{generation: u.Digest.Generation, previous: u.Previous, floor: u.Digest.Floor}
		s.open[key] = st
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
		s.drop(key)
		return st.entries, st.hashes, true
	}
	// An owner's copy over its own limit can never match a digest.
	if st.bytes > 2*wire.MaxBytes || len(st.entries) > 2*wire.MaxEntries {
		s.drop(key)
	}
	s.expire(from, now)
	return nil, nil, false
}

func (s *stages) drop(key stageKey) {
	if st := s.open[key]; st != nil {
		s.bytes -= st.bytes
		delete(s.open, key)
	}
}

// dropOwner drops what is staged of owner, whoever sent it.
func (s *stages) dropOwner(owner ID) {
	for key := range s.open {
		if key.owner == owner {
			s.drop(key)
		}
	}
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
	for s.bytes > stageBytes {
		s.drop(s.idlest(func(stageKey) bool { return true }))
	}
}

// idlest is the key of the stage among those that fit, at least one, which was not continued for longest.
func (s *stages) idlest(fits func(stageKey) bool) stageKey {
	var idlest stageKey
	var oldest *stage
	for key, st := range s.open {
		earlier := oldest == nil || st.touched.Before(oldest.touched) || st.touched.Equal(oldest.touched) && key.before(idlest)
		if fits(key) && earlier {
			idlest, oldest = key, st
		}
	}
	return idlest
}

func (k stageKey) before(other stageKey) bool {
	return cmp.Or(k.owner.Compare(other.owner), k.from.Compare(other.from)) < 0
}
