package gossipstate

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Self is what an owner says about itself in every digest it signs.
type Self struct {
	ID         ID
	Generation Generation // larger than any before
	Status     wire.Status

	// Of the beat chain; on the topic Members alone.
	BeatAnchor   wire.Anchor
	BeatT0       uint64
	BeatInterval time.Duration
	BeatLength   uint32
}

// Mutation changes one key of the owner's own namespace. The zero value but for Key sets an empty value.
type Mutation struct {
	Key         string
	Value       []byte
	Delete      bool
	ContentType string
	Expires     uint64 // unix ms, 0 never
	// Withdraw deletes with the clock that the entry had, so that the tombstone beats nobody: for a value that another
	// owner's has beaten.
	Withdraw bool
}

// Pending is a change of the owner's own namespace that is signed and ready, and that nobody has seen. It is void once any
// other change of the owner was installed.
type Pending struct {
	next    *copyOf
	held    *copyOf
	changed []Entry
	removed []string
}

// Signed is the digest of the pending state.
func (p *Pending) Signed() SignedDigest { return p.next.signed }

// Digest is the digest of the pending state.
func (p *Pending) Digest() Digest { return p.next.digest }

// Entries is the whole pending state, in (version, key) order.
func (p *Pending) Entries() []Entry { return p.next.since(0) }

// Changed are the entries to write to disk; Removed the keys to drop from it.
func (p *Pending) Changed() []Entry  { return p.changed }
func (p *Pending) Removed() []string { return p.removed }

// Prepare makes the state that self has after mutations, at the next version, signed by sign; without mutations it renews
// the digest alone (another generation, status or beat chain). Nothing of s changes: the caller makes it durable and then
// calls Install. Keys that exist are overwritten; a later mutation of a key wins. Tombstones older than forgetBefore
// (unix ms) are dropped as far as the protocol allows.
//
// Errors, before any effect: *KeyError, *ValueTooLargeError, *QuotaError, ErrNotFound (Delete of what no owner has live, or
// Withdraw of what self has not), ErrClockExhausted, ErrVersionExhausted.
func (s *State) Prepare(self Self, mutations []Mutation, sign wire.Signer, now time.Time, forgetBefore uint64) (*Pending, error) {
	p := &Pending{held: s.owners[self.ID]}
	p.next = p.held.successor(self.ID)
	held := p.held.digestOrZero()
	if held.Version == math.MaxUint64 {
		return nil, ErrVersionExhausted
	}
	if p.held != nil {
		p.next.tree = p.held.tree
	}
	version := held.Version + 1
	for i := range mutations {
		e, err := s.entryFor(self.ID, p.next.tree, &mutations[i], version, now)
		if err != nil {
			return nil, err
		}
		p.put(e)
	}
	floor := s.raiseFloor(self.ID, p, held.Floor, forgetBefore)
	if err := quota(&p.next.tree); err != nil {
		return nil, err
	}
	p.next.digest = Digest{
		Owner: self.ID, Generation: self.Generation, Version: version, Floor: floor, Root: p.next.tree.seal(),
		Entries: uint32(p.next.tree.entries), Bytes: uint64(p.next.tree.bytes), Status: self.Status,
		BeatAnchor: self.BeatAnchor, BeatT0: self.BeatT0, BeatInterval: self.BeatInterval, BeatLength: self.BeatLength,
	}
	p.next.signed = wire.Sign(s.cfg.Domain, &p.next.digest, sign)
	return p, nil
}

// put puts e into the pending tree; of two changes of one key the later stands.
func (p *Pending) put(e Entry) {
	key := wire.KeyHash(e.Key)
	var sw swap
	p.next.tree, sw = p.next.tree.put(p.next.owner, e, &wire.EntryHash{Key: key, Leaf: wire.LeafHash(key, &e)})
	if sw.before != nil && sw.before.entry.Version == e.Version {
		p.unchange(e.Key)
	}
	p.changed = append(p.changed, e)
}

// unchange takes key from the keys that the change puts.
func (p *Pending) unchange(key string) {
	p.changed = slices.DeleteFunc(p.changed, func(e Entry) bool { return e.Key == key })
}

// entryFor is the entry that m makes of its key.
func (s *State) entryFor(self ID, t tree, m *Mutation, version Version, now time.Time) (Entry, error) {
	if err := checkKey(m); err != nil {
		return Entry{}, err
	}
	mine := Record{self, t.get(m.Key)}
	winner := mine
	if Shared(s.cfg.Domain.Topic, m.Key) {
		// Mutations before this one are in t, not in the merged view.
		if others := s.merged.winner(m.Key); others.Owner != self && others.beats(mine) {
			winner = others
		}
	}
	e := Entry{
		Key: m.Key, Value: m.Value, Version: version, Clock: 1, ContentType: m.ContentType,
		Written: uint64(now.UnixMilli()), Expires: m.Expires,
	}
	if len(e.Value) == 0 {
		e.Value = nil
	}
	if m.Withdraw {
		if !mine.Live() {
			return Entry{}, fmt.Errorf("%w: %q", ErrNotFound, m.Key)
		}
		e.Clock = mine.Entry.Clock
	} else if winner.Entry != nil {
		if winner.Entry.Clock == math.MaxUint64 {
			return Entry{}, fmt.Errorf("%w: %q", ErrClockExhausted, m.Key)
		}
		e.Clock = winner.Entry.Clock + 1
	}
	if m.Delete || m.Withdraw {
		if !winner.Live() && !m.Withdraw {
			return Entry{}, fmt.Errorf("%w: %q", ErrNotFound, m.Key)
		}
		e.Tombstone, e.Value, e.ContentType, e.Expires = true, nil, "", 0
	}
	return e, nil
}

func checkKey(m *Mutation) error {
	switch {
	case m.Key == "":
		return &KeyError{m.Key, "it is empty"}
	case len(m.Key) > wire.MaxKey:
		return &KeyError{m.Key, fmt.Sprintf("it has %d bytes, the limit is %d", len(m.Key), wire.MaxKey)}
	case !utf8.ValidString(m.Key):
		return &KeyError{m.Key, "it is not UTF-8"}
	case len(m.ContentType) > wire.MaxMeta || !utf8.ValidString(m.ContentType):
		return &KeyError{m.Key, fmt.Sprintf("its content type is not UTF-8 of at most %d bytes", wire.MaxMeta)}
	case len(m.Value) > wire.MaxValue:
		return &ValueTooLargeError{m.Key, len(m.Value), wire.MaxValue}
	}
	return nil
}

func quota(t *tree) error {
	if t.entries > wire.MaxEntries {
		return &QuotaError{"entries", t.entries, wire.MaxEntries}
	}
	if t.bytes > wire.MaxBytes {
		return &QuotaError{"bytes", t.bytes, wire.MaxBytes}
	}
	return nil
}

// maxTombstones is how many of an owner's entries may be tombstones before it forgets the oldest early.
const maxTombstones = wire.MaxEntries / 4

// raiseFloor drops from the pending tree the tombstones that need not be kept, oldest first, and returns the floor: the
// newest version whose tombstones are gone. A floor takes all tombstones below it, so it stops at the first that must stay.
func (s *State) raiseFloor(self ID, p *Pending, floor Version, forgetBefore uint64) Version {
	for {
		dead := oldestDead(&p.next.tree)
		if !s.mayForget(self, &p.next.tree, dead, forgetBefore) {
			return floor
		}
		for _, e := range dead {
			floor = e.Version
			p.next.tree, _ = p.next.tree.remove(e.Key)
			p.removed = append(p.removed, e.Key)
			if e.Version > p.held.digestOrZero().Version {
				p.unchange(e.Key)
			}
		}
	}
}

// oldestDead are the tombstones of t that share the oldest version, sorted by key; none when t has none.
func oldestDead(t *tree) []*Entry {
	oldest, some := t.oldestTombstone()
	if !some {
		return nil
	}
	dead := t.tombstonesTo(oldest)
	slices.SortFunc(dead, func(a, b *Entry) int { return a.Compare(b) })
	return dead
}

// mayForget says whether self may drop dead, the oldest tombstones of its tree t.
func (s *State) mayForget(self ID, t *tree, dead []*Entry, before uint64) bool {
	return len(dead) > 0 && (t.tombstones > maxTombstones || s.forgettable(self, dead, before))
}

// CanForget says whether Prepare, with the same forgetBefore, would drop tombstones of owner.
func (s *State) CanForget(owner ID, forgetBefore uint64) bool {
	c := s.owners[owner]
	return c != nil && s.mayForget(owner, &c.tree, oldestDead(&c.tree), forgetBefore)
}

// forgettable says whether all of these tombstones are old enough and beat no live entry of another owner.
func (s *State) forgettable(self ID, tombstones []*Entry, before uint64) bool {
	for _, e := range tombstones {
		if e.Written >= before {
			return false
		}
		for _, r := range s.merged.writers(e.Key) {
			if r.Owner != self && r.Live() && (Record{self, e}).beats(r) {
				return false
			}
		}
	}
	return true
}

// Install makes a prepared change the state. It panics when another change of the owner came between.
func (s *State) Install(p *Pending) Result {
	if s.owners[p.next.digest.Owner] != p.held {
		panic("gossipstate: Install of a change that was prepared on another state")
	}
	r := Result{Outcome: Applied, Old: p.held.digestOrZero(), Removed: p.removed}
	swaps := make([]swap, len(p.changed))
	for i := range p.changed {
		key := p.changed[i].Key
		swaps[i] = swap{p.held.leaf(key), p.next.tree.leaf(key)}
	}
	s.replace(p.held, p.next, swaps, &r)
	return r
}

// Beaten lists the keys under which owner has a live entry that another owner's entry beats: it is to withdraw them.
func (s *State) Beaten(owner ID, keys []string) []string {
	var beaten []string
	for _, key := range keys {
		mine := s.GetOwned(owner, key)
		if mine.Live() && Shared(s.cfg.Domain.Topic, key) && s.merged.winner(key).Owner != owner {
			beaten = append(beaten, key)
		}
	}
	slices.Sort(beaten)
	return slices.Compact(beaten)
}

// Expired lists owner's keys whose time is over at now: its own node writes their tombstones.
func (s *State) Expired(owner ID, now time.Time) []string {
	var keys []string
	if c := s.owners[owner]; c != nil {
		ms := uint64(now.UnixMilli())
		c.tree.each(func(e *Entry) bool {
			if !e.Tombstone && e.Expires != 0 && e.Expires <= ms {
				keys = append(keys, e.Key)
			}
			return true
		})
	}
	slices.Sort(keys)
	return keys
}
