package gossipstate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Config bounds a State. The zero value is not valid: see DefaultConfig.
type Config struct {
	Domain    wire.Domain // network and topic
	MaxOwners int         // owners held; more are refused. Default 16,384: a digest list of 1.4 MiB
	MaxBytes  int         // sum of Entry.Size over all owners; more is refused. Default 256 MiB
}

// DefaultConfig is the Config of a topic in a network whose members are trusted not to fill it.
func DefaultConfig(domain wire.Domain) Config {
	return Config{Domain: domain, MaxOwners: wire.MaxOwners, MaxBytes: 256 << 20}
}

// State is one topic as this replica holds it. Make one with New; it is not safe for concurrent use.
type State struct {
	cfg    Config
	owners map[ID]*copyOf
	bytes  int // sum over owners
	merged merged
	stages stages
}

// copyOf is what a replica holds of one owner: exactly the owner's state at digest. It is never changed, only replaced.
type copyOf struct {
	owner  *ID // what the leaves refer to: the same in every copy of the owner
	signed SignedDigest
	digest Digest
	tree   tree
}

// successor is a copy, as yet without entries, that is to take the place of c; c nil: to be the first of owner.
func (c *copyOf) successor(owner ID) *copyOf {
	if c == nil {
		return &copyOf{owner: &owner}
	}
	return &copyOf{owner: c.owner}
}

// New makes an empty State.
func New(cfg Config) *State {
	return &State{cfg: cfg, owners: map[ID]*copyOf{}, merged: newMerged(), stages: newStages()}
}

// Outcome is what Apply did with an update that broke no rule.
type Outcome uint8

const (
	// Stale: nothing in it is new; nothing changed.
	Stale Outcome = iota
	// Gap: it starts above what is held; nothing changed. The caller pulls what is missing.
	Gap
	// Staged: one part of several, kept aside; nothing is visible yet.
	Staged
	// Applied: the owner's copy is now at the update's digest.
	Applied
)

func (o Outcome) String() string {
	return [...]string{"stale", "gap", "staged", "applied"}[o]
}

// Result is what a change of the state did.
type Result struct {
	Outcome Outcome
	Old     Digest   // of the owner, before; zero when it was not held
	Changed []*Entry // entries of the owner that are new or different; not to be written to
	Removed []string // keys of the owner that are gone altogether, without a tombstone
	Reset   bool     // the owner's copy was replaced as a whole by a snapshot
	Events  []Event  // what readers see of it, in the order of the changes

	// Equivocation is set, whatever the outcome and also beside an error, when the update and what was held prove that the
	// owner signed two histories.
	Equivocation *Equivocation
}

// Apply takes in an update by the one rule of the protocol. Whatever the outcome, the owner's copy is exactly at one signed
// digest. from is the peer that sent it, the zero ID for this node itself: parts of one update may come from several peers.
// Errors: ErrRootMismatch, as ErrMixedParts when parts of several peers do not match, and ErrLimit, after which nothing has
// changed.
func (s *State) Apply(v *wire.Verified, from ID, now time.Time) (Result, error) {
	u := v.Update()
	held := s.owners[u.Digest.Owner]
	r, err := s.apply(held, v, from, now)
	r.Equivocation = contradiction(held, u)
	return r, err
}

func (s *State) apply(held *copyOf, v *wire.Verified, from ID, now time.Time) (Result, error) {
	u := v.Update()
	if held != nil && u.Digest.Compare(&held.digest) <= 0 {
		return Result{Outcome: Stale, Old: held.digest}, nil
	}
	if !follows(held, u) {
		return Result{Outcome: Gap, Old: held.digestOrZero()}, nil
	}
	if held == nil && len(s.owners) >= s.cfg.MaxOwners {
		return Result{}, fmt.Errorf("%w: %d owners", ErrLimit, len(s.owners))
	}
	if !u.More && s.stages.of(u, from) == nil {
		return s.commit(held, u, u.Entries, v.Hashes())
	}
	whole, complete := s.stages.add(v, from, now)
	if !complete {
		return Result{Outcome: Staged, Old: held.digestOrZero()}, nil
	}
	r, err := s.commit(held, u, whole.entries, whole.hashes)
	if !errors.Is(err, ErrRootMismatch) {
		return r, err
	}
	if r, alone := s.commit(held, u, u.Entries, v.Hashes()); alone == nil {
		return r, nil // what was staged only looked like its beginning
	}
	return Result{}, s.stages.mismatched(u.Digest.Owner, whole, err)
}

// follows says whether u can be put on top of what is held: a snapshot always can.
func follows(held *copyOf, u *Update) bool {
	if u.Previous == 0 {
		return true
	}
	return held != nil && u.Previous <= held.digest.Version && u.Digest.Floor <= held.digest.Version
}

// commit puts the entries over the held copy, or in its place for a snapshot, and keeps the outcome if its root is the
// signed one.
func (s *State) commit(held *copyOf, u *Update, entries []Entry, hashes []wire.EntryHash) (Result, error) {
	next := held.successor(u.Digest.Owner)
	next.signed, next.digest = u.Signed, u.Digest
	reset := u.Previous == 0
	if held != nil && !reset {
		next.tree = held.tree
	}
	var swaps []swap
	next.tree, swaps = next.tree.putAll(next.owner, entries, hashes)
	var removed []string
	if u.Digest.Floor > 0 && (reset || u.Digest.Floor > held.digest.Floor) {
		next.tree, removed = dropTombstones(next.tree, u.Digest.Floor, swaps)
	}
	if root := next.tree.seal(); root != u.Digest.Root ||
		next.tree.entries != int(u.Digest.Entries) || next.tree.bytes != int(u.Digest.Bytes) {
		return Result{}, fmt.Errorf("%w: %s at generation %d version %d", ErrRootMismatch, u.Digest.Owner, u.Digest.Generation, u.Digest.Version)
	}
	if s.bytes-held.bytes()+next.tree.bytes > s.cfg.MaxBytes {
		return Result{}, fmt.Errorf("%w: %d bytes", ErrLimit, s.bytes)
	}
	if reset {
		removed = held.displace(swaps, hashes)
	}
	r := Result{Outcome: Applied, Old: held.digestOrZero(), Removed: removed, Reset: reset}
	s.replace(held, next, swaps, &r)
	return r, nil
}

// dropTombstones is t without the tombstones at or below floor, and their keys. Those that swaps put into t just now, which
// are in an update whose parts had different floors, it takes out of swaps.
func dropTombstones(t tree, floor Version, swaps []swap) (tree, []string) {
	var keys []string
	for _, e := range t.tombstonesTo(floor) {
		keys = append(keys, e.Key)
		t, _ = t.remove(e.Key)
	}
	for i := range swaps {
		if l := swaps[i].after; l != nil && l.entry.Tombstone && l.entry.Version <= floor {
			swaps[i] = swap{}
		}
	}
	return t, keys
}

// displace completes swaps, those of a snapshot, with the leaves of c that they take the place of, and lists the keys of c
// that are in none.
func (c *copyOf) displace(swaps []swap, hashes []wire.EntryHash) []string {
	if c == nil {
		return nil
	}
	stay := make(map[string]bool, len(swaps))
	for i := range swaps {
		if l := swaps[i].after; l != nil {
			swaps[i].before = c.tree.find(l.entry.Key, &hashes[i].Key)
			stay[l.entry.Key] = true
		}
	}
	var gone []string
	c.tree.each(func(e *Entry) bool {
		if !stay[e.Key] {
			gone = append(gone, e.Key)
		}
		return true
	})
	return gone
}

// replace makes next the copy of its owner and adds to r the differences: swaps in their order, but for empty ones, then the
// keys in r.Removed.
func (s *State) replace(held, next *copyOf, swaps []swap, r *Result) {
	owner, topic := next.owner, s.cfg.Domain.Topic
	s.owners[*owner] = next
	s.bytes += next.tree.bytes - held.bytes()
	s.stages.dropOwner(*owner)
	r.Changed = slices.Grow(r.Changed, len(swaps))
	r.Events = slices.Grow(r.Events, len(swaps)+len(r.Removed))
	for _, sw := range swaps {
		switch before, now := sw.before.content(), sw.after.content(); {
		case now == nil:
		case before != nil && sameEntry(now, before):
			s.merged.refresh(topic, sw.before, sw.after)
		default:
			r.Changed = append(r.Changed, now)
			r.Events = s.merged.change(r.Events, topic, owner, sw.before, sw.after)
		}
	}
	for _, key := range r.Removed {
		r.Events = s.merged.change(r.Events, topic, owner, held.leaf(key), nil)
	}
}

func sameEntry(a, b *Entry) bool {
	return a.Version == b.Version && a.Clock == b.Clock && a.Tombstone == b.Tombstone && bytes.Equal(a.Value, b.Value) &&
		a.ContentType == b.ContentType && a.Written == b.Written && a.Expires == b.Expires && bytes.Equal(a.Ext, b.Ext)
}

func (c *copyOf) digestOrZero() Digest {
	if c == nil {
		return Digest{}
	}
	return c.digest
}

func (c *copyOf) bytes() int {
	if c == nil {
		return 0
	}
	return c.tree.bytes
}

func (c *copyOf) get(key string) *Entry { return c.leaf(key).content() }

func (c *copyOf) leaf(key string) *leaf {
	if c == nil {
		return nil
	}
	return c.tree.leaf(key)
}

// Drop forgets owner altogether. It reports what readers see of that.
func (s *State) Drop(owner ID) Result {
	held := s.owners[owner]
	if held == nil {
		return Result{Outcome: Stale}
	}
	delete(s.owners, owner)
	s.bytes -= held.tree.bytes
	s.stages.dropOwner(owner)
	r := Result{Outcome: Applied, Old: held.digest, Reset: true}
	held.tree.each(func(e *Entry) bool {
		r.Removed = append(r.Removed, e.Key)
		return true
	})
	for _, key := range r.Removed {
		r.Events = s.merged.change(r.Events, s.cfg.Domain.Topic, held.owner, held.leaf(key), nil)
	}
	return r
}

// Digest is what is held of owner: its digest as decoded and as signed. ok is false when nothing is held.
func (s *State) Digest(owner ID) (d Digest, signed SignedDigest, ok bool) {
	c := s.owners[owner]
	if c == nil {
		return Digest{}, SignedDigest{}, false
	}
	return c.digest, c.signed, true
}

// Item is the element of owner in the reconciled set; ok is false when nothing is held.
func (s *State) Item(owner ID) (item wire.Item, ok bool) {
	c := s.owners[owner]
	if c == nil {
		return wire.Item{}, false
	}
	return itemOf(&c.digest), true
}

func itemOf(d *Digest) wire.Item {
	return wire.Item{Owner: d.Owner, Generation: d.Generation, Version: d.Version, Root: d.Root}
}

// Items is the reconciled set, sorted by owner.
func (s *State) Items() []wire.Item {
	items := make([]wire.Item, 0, len(s.owners))
	for _, c := range s.owners {
		items = append(items, itemOf(&c.digest))
	}
	slices.SortFunc(items, func(a, b wire.Item) int { return a.Owner.Compare(b.Owner) })
	return items
}

// Totals counts what is held.
type Totals struct {
	Owners     int
	Keys       int // live entries of all owners
	Tombstones int
	Bytes      int // sum of Entry.Size
}

// Totals counts what is held, in time proportional to the owners.
func (s *State) Totals() Totals {
	t := Totals{Owners: len(s.owners), Bytes: s.bytes}
	for _, c := range s.owners {
		t.Keys += c.tree.entries - c.tree.tombstones
		t.Tombstones += c.tree.tombstones
	}
	return t
}

// Fingerprint is the Fingerprint of Items; it takes time proportional to the owners.
func (s *State) Fingerprint() [32]byte { return Fingerprint(s.Items()) }

// Fingerprint is SHA-256 over items, which must be sorted by owner: owner, generation, version (u64 big-endian) and root of
// each. Replicas that hold the same have the same.
func Fingerprint(items []wire.Item) [32]byte {
	h := sha256.New()
	var b []byte
	for _, it := range items {
		b = append(b[:0], it.Owner[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(it.Generation))
		b = binary.BigEndian.AppendUint64(b, uint64(it.Version))
		b = append(b, it.Root[:]...)
		h.Write(b)
	}
	return [32]byte(h.Sum(nil))
}
