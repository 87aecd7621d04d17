package gossipstate

import (
	"slices"
	"strings"
)

// OwnedPrefix starts keys that are their writer's alone on every topic.
const OwnedPrefix = "~/"

// WorkPrefix starts the keys of work: each belongs to the node that says it.
const WorkPrefix = "work/"

// Shared says whether key has a merged view on topic: whether several owners may write it.
func Shared(topic, key string) bool {
	return topic != Members && !strings.HasPrefix(key, OwnedPrefix) && !strings.HasPrefix(key, WorkPrefix)
}

// Record is an entry with its owner. The zero Record is no entry. The entry must not be written to.
type Record struct {
	Owner ID
	Entry *Entry
}

// Live says whether r is an entry that can be read: not absent and not a tombstone.
func (r Record) Live() bool { return r.Entry != nil && !r.Entry.Tombstone }

// beats is the order of the merged view: the higher clock, then the higher owner.
func (r Record) beats(other Record) bool {
	if other.Entry == nil || r.Entry == nil {
		return r.Entry != nil
	}
	if r.Entry.Clock != other.Entry.Clock {
		return r.Entry.Clock > other.Entry.Clock
	}
	return r.Owner.Compare(other.Owner) > 0
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	// EventPut: the key has a new value.
	EventPut EventKind = iota + 1
	// EventDelete: the key had a value and is gone.
	EventDelete
	// EventLost: two owners wrote with the same clock; Old lost to New.
	EventLost
)

// Event is one change as a reader of the topic sees it: of the merged view for shared keys, of the owner's entry for keys
// of its own.
type Event struct {
	Kind     EventKind
	Key      string
	Old, New Record // Old is the value before, or the loser; New in EventDelete is the tombstone, if there is one
}

// merged holds, for every shared key, the entries of all owners. The winner is found by looking at all: writers of one key
// are few.
type merged map[string][]Record

func (m merged) winner(key string) Record {
	var best Record
	for _, r := range m[key] {
		if r.beats(best) {
			best = r
		}
	}
	return best
}

// change notes that owner's entry under key is now next (nil: none) and appends what a reader sees of that.
func (m merged) change(events []Event, topic string, owner ID, key string, before, next *Entry) []Event {
	if !Shared(topic, key) {
		return appendChange(events, key, Record{owner, before}, Record{owner, next})
	}
	old := m.winner(key)
	m.set(key, owner, next)
	winner := m.winner(key)
	mine := Record{owner, next}
	if mine.Live() && old.Live() && old.Owner != owner && old.Entry.Clock == next.Clock {
		loser := mine
		if winner.Owner == owner {
			loser = old
		}
		events = append(events, Event{Kind: EventLost, Key: key, Old: loser, New: winner})
	}
	return appendChange(events, key, old, winner)
}

func appendChange(events []Event, key string, old, next Record) []Event {
	switch {
	case next.Live() && (!old.Live() || old.Owner != next.Owner || !sameEntry(old.Entry, next.Entry)):
		if !old.Live() {
			old = Record{}
		}
		return append(events, Event{Kind: EventPut, Key: key, Old: old, New: next})
	case !next.Live() && old.Live():
		return append(events, Event{Kind: EventDelete, Key: key, Old: old, New: next})
	}
	return events
}

func (m merged) set(key string, owner ID, e *Entry) {
	records := m[key]
	i := slices.IndexFunc(records, func(r Record) bool { return r.Owner == owner })
	switch {
	case e == nil && i < 0:
	case e == nil && len(records) == 1:
		delete(m, key)
	case e == nil:
		m[key] = slices.Delete(records, i, i+1)
	case i >= 0:
		records[i].Entry = e
	default:
		m[key] = append(records, Record{owner, e})
	}
}

// Get is the winner of a shared key, tombstones included; the zero Record when no owner has an entry. For a key that is its
// owner's alone use GetOwned.
func (s *State) Get(key string) Record { return s.merged.winner(key) }

// GetOwned is owner's own entry under key, tombstones included; the zero Record when there is none.
func (s *State) GetOwned(owner ID, key string) Record {
	e := s.owners[owner].get(key)
	if e == nil {
		return Record{}
	}
	return Record{owner, e}
}

// List is what a reader sees under prefix, tombstones included, sorted by key, then owner: the winner of each shared key,
// and every owner's entry of the others.
func (s *State) List(prefix string) []Record {
	var all []Record
	for key := range s.merged {
		if strings.HasPrefix(key, prefix) {
			all = append(all, s.merged.winner(key))
		}
	}
	for owner, c := range s.owners {
		c.tree.each(func(e *Entry) bool {
			if strings.HasPrefix(e.Key, prefix) && !Shared(s.cfg.Domain.Topic, e.Key) {
				all = append(all, Record{owner, e})
			}
			return true
		})
	}
	sortRecords(all)
	return all
}

// ListOwned is every entry of owner under prefix, tombstones included, sorted by key.
func (s *State) ListOwned(owner ID, prefix string) []Record {
	var all []Record
	if c := s.owners[owner]; c != nil {
		c.tree.each(func(e *Entry) bool {
			if strings.HasPrefix(e.Key, prefix) {
				all = append(all, Record{owner, e})
			}
			return true
		})
	}
	sortRecords(all)
	return all
}

func sortRecords(all []Record) {
	slices.SortFunc(all, func(a, b Record) int {
		if c := strings.Compare(a.Entry.Key, b.Entry.Key); c != 0 {
			return c
		}
		return a.Owner.Compare(b.Owner)
	})
}
