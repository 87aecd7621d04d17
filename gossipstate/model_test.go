package gossipstate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// slowState is a replica by the words of the protocol alone: maps, no tree, no index, everything recomputed from scratch
// whenever it is asked for. State must equal it after every step.
type slowState struct {
	copies map[ID]slowCopy
	parts  map[ID]bool         // some of an update of several parts have come: how it ends is up to the parts
	seen   map[eventKey]string // what a reader knows who replays the events
}

// slowCopy is an owner's state at one digest.
type slowCopy struct {
	digest  Digest
	entries map[string]Entry
}

// eventKey names what a reader sees: a shared key, or a key of one owner.
type eventKey struct {
	owner ID // zero for a shared key
	key   string
}

func newSlowState() *slowState {
	return &slowState{copies: map[ID]slowCopy{}, parts: map[ID]bool{}, seen: map[eventKey]string{}}
}

// slowOrder is the order of one owner's digests.
func slowOrder(a, b *Digest) int {
	return cmp.Or(
		cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Version, b.Version), bytes.Compare(a.Root[:], b.Root[:]),
	)
}

// outcome is what an update must do by the table of the protocol: the first row that fits. next is the copy that the
// entries of u lead to, when the outcome is Applied or, for want of the signed root, an error.
func (m *slowState) outcome(u *Update) (o Outcome, next slowCopy, matches bool) {
	held, holds := m.copies[u.Digest.Owner]
	switch {
	case holds && slowOrder(&u.Digest, &held.digest) <= 0:
		return Stale, slowCopy{}, true
	case u.Previous > 0 && !holds, u.Previous > held.digest.Version, u.Previous > 0 && u.Digest.Floor > held.digest.Version:
		return Gap, slowCopy{}, true
	case u.More:
		return Staged, slowCopy{}, true
	}
	next = slowCopy{u.Digest, map[string]Entry{}}
	if u.Previous > 0 {
		maps.Copy(next.entries, held.entries)
	}
	for _, e := range u.Entries {
		next.entries[e.Key] = e
	}
	maps.DeleteFunc(next.entries, func(_ string, e Entry) bool { return e.Tombstone && e.Version <= u.Digest.Floor })
	return Applied, next, slowRoot(next.entries) == u.Digest.Root
}

// winner is the entry of a shared key in the merged view: the highest clock, then the highest owner.
func (m *slowState) winner(key string) Record {
	var best Record
	for owner, c := range m.copies {
		e, ok := c.entries[key]
		if ok && (best.Entry == nil || e.Clock > best.Entry.Clock || e.Clock == best.Entry.Clock && bytes.Compare(owner[:], best.Owner[:]) > 0) {
			best = Record{owner, &e}
		}
	}
	return best
}

func slowShared(key string) bool {
	return !strings.HasPrefix(key, "~/") && !strings.HasPrefix(key, "work/")
}

// list is everything that a reader sees, tombstones included, by key, then owner.
func (m *slowState) list() []Record {
	var all []Record
	listed := map[string]bool{}
	for owner, c := range m.copies {
		for key, e := range c.entries {
			switch {
			case !slowShared(key):
				all = append(all, Record{owner, &e})
			case !listed[key]:
				listed[key] = true
				all = append(all, m.winner(key))
			}
		}
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Entry.Key, b.Entry.Key), bytes.Compare(a.Owner[:], b.Owner[:]))
	})
	return all
}

func (m *slowState) totals() Totals {
	t := Totals{Owners: len(m.copies)}
	for _, c := range m.copies {
		for _, e := range c.entries {
			t.Bytes += len(e.Key) + len(e.Value) + len(e.ContentType) + len(e.Ext)
			if e.Tombstone {
				t.Tombstones++
			} else {
				t.Keys++
			}
		}
	}
	return t
}

func (m *slowState) fingerprint() [32]byte {
	owners := slices.SortedFunc(maps.Keys(m.copies), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	var all []byte
	for _, owner := range owners {
		d := m.copies[owner].digest
		all = append(all, owner[:]...)
		all = binary.BigEndian.AppendUint64(all, uint64(d.Generation))
		all = binary.BigEndian.AppendUint64(all, uint64(d.Version))
		all = append(all, d.Root[:]...)
	}
	return sha256.Sum256(all)
}

// requireSame is require.Equal for what can be compared without reflection, which would be most of what schedules cost.
func requireSame[T comparable](t tester, want, got T, what ...any) {
	if want != got {
		t.Helper()
		require.Equal(t, want, got, what...)
	}
}

// requireEqual checks everything that can be read from s against the model.
func (m *slowState) requireEqual(t tester, s *State) {
	requireSame(t, m.totals(), s.Totals())
	requireSame(t, m.fingerprint(), s.Fingerprint())
	requireRecords(t, m.list(), s.List(""))
	requireSame(t, len(m.copies), len(s.Items()))
	for owner, c := range m.copies {
		d, _, held := s.Digest(owner)
		requireSame(t, true, held)
		requireSame(t, c.digest, d)
		requireSame(t, slowRoot(c.entries), d.Root, "the root is that of the entries")
		requireSame(t, len(c.entries), int(d.Entries))
		requireSame(t, true, maps.EqualFunc(c.entries, entriesOf(s, owner), sameEntries), "the entries are not those of the model")
		item, _ := s.Item(owner)
		requireSame(t, wire.Item{Owner: owner, Generation: d.Generation, Version: d.Version, Root: d.Root}, item)
	}
	for i := range 4 {
		requireRecords(t, []Record{m.winner(keyName(i))}, []Record{s.Get(keyName(i))})
	}
	live := map[eventKey]string{}
	for _, rec := range m.list() {
		if rec.Live() {
			live[eventName(rec.Owner, rec.Entry.Key)] = string(rec.Entry.Value)
		}
	}
	requireSame(t, true, maps.Equal(live, m.seen), "replaying the events gives the snapshot")
}

func requireRecords(t tester, want, got []Record) {
	requireSame(t, len(want), len(got))
	for i := range want {
		requireSame(t, want[i].Owner, got[i].Owner)
		requireSame(t, want[i].Entry == nil, got[i].Entry == nil)
		requireSame(t, true, want[i].Entry == nil || sameEntries(*want[i].Entry, *got[i].Entry), "another entry")
	}
}

func sameEntries(a, b Entry) bool { return a.Key == b.Key && sameEntry(&a, &b) }

func eventName(owner ID, key string) eventKey {
	if slowShared(key) {
		owner = ID{}
	}
	return eventKey{owner, key}
}

// replace makes next the copy of owner, nil entries: none, and checks what the change reported.
func (m *slowState) replace(t tester, owner ID, next slowCopy, r *Result) {
	before := m.copies[owner]
	requireSame(t, before.digest, r.Old)
	changed := map[string]bool{}
	for _, e := range r.Changed {
		requireSame(t, false, changed[e.Key], "a key changes once")
		changed[e.Key] = true
		requireSame(t, true, sameEntries(next.entries[e.Key], *e), "what is said to have changed is not what is held")
	}
	for key, e := range next.entries {
		old, had := before.entries[key]
		requireSame(t, !had || !sameEntries(old, e), changed[key], key)
	}
	for key := range before.entries {
		if _, has := next.entries[key]; !has {
			require.Contains(t, r.Removed, key)
		}
	}
	for _, key := range r.Removed {
		require.NotContains(t, next.entries, key)
	}
	losers, maybe := m.losers(owner, next)
	for _, e := range r.Events {
		if e.Kind == EventLost && !maybe[e.Key] {
			requireSame(t, losers[e.Key], e.Old.Owner, "another lost")
			delete(losers, e.Key)
		}
	}
	requireSame(t, 0, len(losers), "a loss is not told")
	if next.entries == nil {
		delete(m.copies, owner)
	} else {
		m.copies[owner] = next
	}
	delete(m.parts, owner)
	m.replay(t, r.Events)
}

// losers are the entries whose loss is told when the copy of owner becomes next: its own live entry under a shared key that
// did not win, or the winner that it beat with the same clock. Of one that an owner of two minds put in the place of another
// with the same clock it may be told again: those are in maybe.
func (m *slowState) losers(owner ID, next slowCopy) (losers map[string]ID, maybe map[string]bool) {
	after := &slowState{copies: maps.Clone(m.copies)}
	after.copies[owner] = next
	losers, maybe = map[string]ID{}, map[string]bool{}
	for key, e := range next.entries {
		before, had := m.copies[owner].entries[key]
		if !slowShared(key) || had && sameEntries(before, e) {
			continue
		}
		old, winner := m.winner(key), after.winner(key)
		again := had && !before.Tombstone && before.Clock == e.Clock
		switch {
		case winner.Owner != owner && !e.Tombstone && again:
			maybe[key] = true
		case winner.Owner != owner && !e.Tombstone:
			losers[key] = owner
		case winner.Owner == owner && old.Live() && old.Owner != owner && old.Entry.Clock == e.Clock:
			losers[key] = old.Owner
		}
	}
	return losers, maybe
}

// replay has the reader follow events.
func (m *slowState) replay(t tester, events []Event) {
	for _, e := range events {
		switch e.Kind {
		case EventPut:
			name := eventName(e.New.Owner, e.Key)
			value, had := m.seen[name]
			requireSame(t, had, e.Old.Live(), "what was there before is told")
			requireSame(t, true, !had || value == string(e.Old.Entry.Value))
			m.seen[name] = string(e.New.Entry.Value)
		case EventDelete:
			name := eventName(e.Old.Owner, e.Key)
			require.Contains(t, m.seen, name, "a key is deleted once")
			delete(m.seen, name)
		case EventLost:
			requireSame(t, m.winner(e.Key).Owner, e.New.Owner)
		}
	}
}

// requireWritten checks a change of an owner's own namespace against what was asked for: before is what it held, forgets the
// time before which tombstones may go.
func (m *slowState) requireWritten(t tester, owner ID, mutations []Mutation, p *Pending, forgetBefore uint64, now time.Time) slowCopy {
	before, d := m.copies[owner], p.Digest()
	requireSame(t, before.digest.Version+1, d.Version)
	next := slowCopy{d, map[string]Entry{}}
	for _, e := range p.Entries() {
		next.entries[e.Key] = e
	}
	want := map[string]Entry{}
	maps.Copy(want, before.entries)
	for _, mutation := range mutations {
		e := Entry{Key: mutation.Key, Version: d.Version, Clock: 1, Written: uint64(now.UnixMilli())}
		mine, had := want[mutation.Key]
		if had {
			e.Clock = mine.Clock + 1
		}
		for other, c := range m.copies {
			if theirs, has := c.entries[mutation.Key]; has && other != owner && slowShared(mutation.Key) {
				e.Clock = max(e.Clock, theirs.Clock+1)
			}
		}
		switch {
		case mutation.Withdraw:
			e.Tombstone, e.Clock = true, mine.Clock
		case mutation.Delete:
			e.Tombstone = true
		default:
			e.Value, e.ContentType, e.Expires = mutation.Value, mutation.ContentType, mutation.Expires
		}
		want[mutation.Key] = e
	}
	m.requireFloor(t, owner, want, next, forgetBefore)
	maps.DeleteFunc(want, func(_ string, e Entry) bool { return e.Tombstone && e.Version <= d.Floor })
	requireSame(t, true, maps.EqualFunc(want, next.entries, sameEntries), "it signs something else than it was told")
	return next
}

// requireFloor checks that a floor takes tombstones that may go, and all of them up to the first that may not.
func (m *slowState) requireFloor(t tester, owner ID, want map[string]Entry, next slowCopy, forgetBefore uint64) {
	t.Helper()
	must := next.digest.Version + 1 // first version with a tombstone that must stay
	newest := m.copies[owner].digest.Floor
	for key, e := range want {
		beats := false
		for other, c := range m.copies {
			theirs, has := c.entries[key]
			above := e.Clock > theirs.Clock || e.Clock == theirs.Clock && bytes.Compare(owner[:], other[:]) > 0
			beats = beats || other != owner && slowShared(key) && has && !theirs.Tombstone && above
		}
		if e.Tombstone && (beats || e.Written >= forgetBefore) {
			must = min(must, e.Version)
		}
	}
	for _, e := range want {
		if e.Tombstone && e.Version < must {
			newest = max(newest, e.Version)
		}
	}
	requireSame(t, newest, next.digest.Floor)
}
