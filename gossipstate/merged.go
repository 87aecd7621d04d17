package gossipstate

import (
	"cmp"
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
	// EventLost: Old, a live entry, lost to New, whose owner need not have known of it: either both have the same clock, or
	// Old came when New, of a higher clock, was here already. New may be a tombstone. A reader's view does not change by it.
	EventLost
)

// Event is one change as a reader of the topic sees it: of the merged view for shared keys, of the owner's entry for keys
// of its own.
type Event struct {
	Kind     EventKind
	Key      string
	Old, New Record // Old is the value before, or the loser; New in EventDelete is the tombstone, if there is one
}

// change notes that before, owner's leaf under one key, is next now (nil: none) and appends what a reader sees of that.
func (m *merged) change(events []Event, topic string, owner *ID, before, next *leaf) []Event {
	like := cmp.Or(next, before)
	if like == nil {
		return events // it came and went within one update
	}
	key := like.entry.Key
	shared := Shared(topic, key)
	var other *leaf
	if shared {
		other = m.swap(before, next)
	}
	if before == nil && other == nil && !next.entry.Tombstone { // as most are
		return append(events, Event{Kind: EventPut, Key: key, New: next.record()})
	}
	mine, now := Record{*owner, before.content()}, Record{*owner, next.content()}
	if !shared {
		return appendChange(events, key, mine, now)
	}
	rival := other.record()
	old, winner := rival, rival
	if mine.beats(old) {
		old = mine
	}
	if now.beats(winner) {
		winner = now
	}
	if loser := lost(old, winner, now); loser.Entry != nil {
		events = append(events, Event{Kind: EventLost, Key: key, Old: loser, New: winner})
	}
	return appendChange(events, key, old, winner)
}

// refresh has the view refer to next, which says the same as before, the leaf that it takes the place of.
func (m *merged) refresh(topic string, before, next *leaf) {
	if Shared(topic, next.entry.Key) {
		m.swap(before, next)
	}
}

// lost is the live entry that loses when one owner's entry becomes next and the winner old becomes winner, if its loss may be
// news to the winner's owner; the zero Record when there is none. Who overwrites what it knows has a higher clock than that.
func lost(old, winner, next Record) Record {
	switch {
	case next.Live() && winner.Owner != next.Owner:
		return next // it came too late, or from the lower of two owners
	case old.Live() && old.Owner != next.Owner && winner.Owner == next.Owner && old.Entry.Clock == winner.Entry.Clock:
		return old
	}
	return Record{}
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

// Get is the winner of a shared key, tombstones included; the zero Record when no owner has an entry. For a key that is its
// owner's alone use GetOwned.
func (s *State) Get(key string) Record { return s.merged.winner(key) }

// Writers are the entries of all owners under a shared key, tombstones included, in no order.
func (s *State) Writers(key string) []Record { return s.merged.writers(key) }

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
	all := s.merged.winners(prefix)
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
