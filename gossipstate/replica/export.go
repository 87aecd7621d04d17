package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// MaxParts is the most updates that one Snapshot takes: an owner at its limits, 1 MiB in 4,096 entries, fills six.
const MaxParts = 8

// Snapshot is the whole state of one owner on one topic, checked to be what the owner signed. It stands alone: who has it
// needs no other to check it. The zero value is not usable: Export and OpenSnapshot make one.
type Snapshot struct {
	topic string
	heard time.Time
	parts []wire.Verified
}

// Topic is the state topic.
func (s *Snapshot) Topic() string { return s.topic }

// Owner is who signed it.
func (s *Snapshot) Owner() peer.ID { return PeerOf(s.Digest().Owner) }

// Digest is what the owner signed.
func (s *Snapshot) Digest() gossipstate.Digest { return s.parts[len(s.parts)-1].Update().Digest }

// Heard is the last proof that the owner lived, as the node knew it that made the snapshot: not signed. Zero: not known.
func (s *Snapshot) Heard() time.Time { return s.heard }

// Entries are all entries, tombstones included, in (version, key) order. Their slices are shared: do not write to them.
func (s *Snapshot) Entries() []gossipstate.Entry {
	var all []gossipstate.Entry
	for i := range s.parts {
		all = append(all, s.parts[i].Update().Entries...)
	}
	return all
}

// Updates are the snapshot as encoded wire.Updates, in order: one, or several parts of at most wire.MaxFrame bytes each.
func (s *Snapshot) Updates() [][]byte {
	updates := make([][]byte, len(s.parts))
	for i := range s.parts {
		updates[i] = wire.MarshalUpdate(s.parts[i].Update())
	}
	return updates
}

// OpenSnapshot checks what Updates gave, on another node or long ago, against network and topic: order, limits, signature
// and the root over all entries. It asks nobody. heard may be zero. Errors wrap wire.ErrMalformed, wire.ErrTooLarge,
// wire.ErrBadSignature or gossipstate.ErrRootMismatch.
func OpenSnapshot(network, topic string, updates [][]byte, heard time.Time) (*Snapshot, error) {
	domain := wire.Domain{Network: network, Topic: topic}
	if err := domain.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	if len(updates) == 0 || len(updates) > MaxParts {
		return nil, fmt.Errorf("%w: %d parts, must be 1 to %d", wire.ErrMalformed, len(updates), MaxParts)
	}
	s := &Snapshot{topic: topic, heard: heard}
	for i, b := range updates {
		u, err := wire.UnmarshalUpdate(b)
		if err != nil {
			return nil, err
		}
		if u.Previous != 0 || u.More != (i < len(updates)-1) {
			return nil, fmt.Errorf("%w: part %d of %d is not one of a whole snapshot", wire.ErrMalformed, i+1, len(updates))
		}
		v, err := wire.Verify(domain, u)
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, v)
	}
	return s, s.checkRoot(domain)
}

// checkRoot puts the parts into a state of their own: what that takes in is what the owner signed.
func (s *Snapshot) checkRoot(domain wire.Domain) error {
	alone := gossipstate.New(gossipstate.DefaultConfig(domain))
	entries := 0
	for i := range s.parts {
		entries += len(s.parts[i].Update().Entries)
		result, err := alone.Apply(&s.parts[i], wire.ID{}, time.Time{})
		if err != nil {
			return err
		}
		if result.Outcome != s.outcome(i) {
			return fmt.Errorf("%w: part %d of %d does not follow the one before it", wire.ErrMalformed, i+1, len(s.parts))
		}
	}
	if want := s.Digest().Entries; entries != int(want) { // a part may be there twice
		return fmt.Errorf("%w: %d entries, the digest has %d", wire.ErrMalformed, entries, want)
	}
	return nil
}

// outcome is what becomes of part i in a replica that takes it.
func (s *Snapshot) outcome(i int) gossipstate.Outcome {
	if i < len(s.parts)-1 {
		return gossipstate.Staged
	}
	return gossipstate.Applied
}

// ExportOptions choose what Export yields. The zero value: everything.
type ExportOptions struct {
	Topic string // "": every topic of the replica
	// Prefix chooses the owners that have a key under it, deleted ones included, on a topic other than members. An owner
	// comes whole, since it signed the whole: what is under Prefix alone could not be checked.
	Prefix string
}

// Export yields every owner's state, members first, then the other topics; of members, with Topic or Prefix, only the
// owners that the others need: an owner counts on a topic only while members holds it. Copies that lie dormant, of owners that
// were silent for long when this process loaded them, are left out: nobody reads those. Each owner is as it is when its turn
// comes, and only one is in memory at a time. An error is the last thing yielded: *UnknownTopicError, ErrStopped, ctx's.
func (r *Replica) Export(ctx context.Context, o ExportOptions) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		list, err := r.exported(ctx, o)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, key := range list {
			s, err := r.snapshot(ctx, key)
			if err != nil {
				yield(nil, err)
				return
			}
			if s != nil && !yield(s, nil) {
				return
			}
		}
	}
}

// exported lists what o chooses, in the order of Export.
func (r *Replica) exported(ctx context.Context, o ExportOptions) (list []diskKey, err error) {
	if o.Topic != "" && !slices.Contains(r.topics, o.Topic) {
		return nil, &UnknownTopicError{o.Topic}
	}
	err = r.do(ctx, func(t *table) {
		needed := map[gossipstate.ID]bool{}
		var others []diskKey
		for _, name := range r.topics[1:] {
			if o.Topic != "" && o.Topic != name {
				continue
			}
			state := t.topics[name].state
			for _, item := range state.Items() {
				if o.Prefix == "" || len(state.ListOwned(item.Owner, o.Prefix)) > 0 {
					others = append(others, diskKey{name, item.Owner})
					needed[item.Owner] = true
				}
			}
		}
		for _, item := range t.members().state.Items() {
			if needed[item.Owner] || o.Prefix == "" && (o.Topic == "" || o.Topic == wire.Members) {
				list = append(list, diskKey{wire.Members, item.Owner})
			}
		}
		list = append(list, others...)
	})
	return list, err
}

// snapshot is nil when the owner was dropped meanwhile.
func (r *Replica) snapshot(ctx context.Context, key diskKey) (s *Snapshot, err error) {
	const room = 1 << 10
	var updates []gossipstate.Update
	var age time.Duration
	if err := r.do(ctx, func(t *table) {
		updates = t.topics[key.topic].state.Updates(wire.Want{Owner: key.owner}, wire.MaxFrame-room)
		age = t.age(key.owner)
	}); err != nil || len(updates) == 0 {
		return nil, err
	}
	s = &Snapshot{topic: key.topic, heard: time.Now().Add(-age)}
	for _, u := range updates {
		v, err := wire.Verify(wire.Domain{Network: r.cfg.Network, Topic: key.topic}, u)
		if err != nil {
			return nil, fmt.Errorf("own copy of %s on %s: %w", key.owner, key.topic, err)
		}
		s.parts = append(s.parts, v)
	}
	return s, nil
}

// ImportResult is what became of one Snapshot.
type ImportResult string

// Results of an import.
const (
	ImportApplied      ImportResult = "applied"       // the owner's copy is now this one
	ImportStale        ImportResult = "stale"         // what is held is as new, or newer
	ImportForgotten    ImportResult = "forgotten"     // its owner has been silent for too long: it would be dropped again
	ImportOwnerUnknown ImportResult = "owner_unknown" // members holds nothing of its owner: that comes first
	ImportOwnChanged   ImportResult = "own_changed"   // this node's own state, which it has changed since it lost that
	ImportRefused      ImportResult = "refused"       // a limit, or a rule about the owner; the error says which
)

// ImportResults are all results, in the order in which they are told.
var ImportResults = [...]ImportResult{
	ImportApplied, ImportStale, ImportForgotten, ImportOwnerUnknown, ImportOwnChanged, ImportRefused,
}

// Import takes snapshots into a replica, one by one, as updates that a peer sent. It is not safe for concurrent use.
type Import struct {
	r      *Replica
	dryRun bool
	taken  map[diskKey]gossipstate.Digest // what a dry run would have applied
}

// Import begins one. A dry run changes nothing and tells what would happen.
func (r *Replica) Import(dryRun bool) *Import {
	return &Import{r: r, dryRun: dryRun, taken: map[diskKey]gossipstate.Digest{}}
}

// Add takes in one snapshot, once this node has published itself. Those of members come before those of other topics. The
// error of ImportRefused says why; any other is *UnknownTopicError, ErrStopped or ctx's.
func (im *Import) Add(ctx context.Context, s *Snapshot) (result ImportResult, err error) {
	if !slices.Contains(im.r.topics, s.topic) {
		return "", &UnknownTopicError{s.topic}
	}
	select {
	case <-im.r.ready:
	case <-ctx.Done():
		return "", ctx.Err()
	case <-im.r.idle:
		return "", ErrStopped
	}
	stopped := im.r.do(ctx, func(t *table) {
		now := time.Now()
		a := arrival{from: im.r.host.ID(), path: "import", age: t.r.cfg.Liveness.ForgetAfter / 2}
		if !s.heard.IsZero() {
			a.age = max(0, now.Sub(s.heard))
		}
		switch result, err = im.expect(t, s, a, now); {
		case im.dryRun && result == ImportApplied:
			im.taken[diskKey{s.topic, s.Digest().Owner}] = s.Digest()
		case im.dryRun:
		case result == ImportApplied:
			result, err = im.take(t, s, a, now)
		case result == ImportOwnChanged:
			// Others may have that life too: this one goes above it.
			if _, _, err = t.receive(t.topics[s.topic], &s.parts[len(s.parts)-1], a, now); err != nil {
				result = ImportRefused
			}
		}
	})
	return result, errors.Join(stopped, err)
}

// expect is what will become of s, as far as it can be told without trying.
func (im *Import) expect(t *table, s *Snapshot, a arrival, now time.Time) (ImportResult, error) {
	d := s.Digest()
	held, _, have := t.topics[s.topic].state.Digest(d.Owner)
	if mine, would := im.taken[diskKey{s.topic, d.Owner}]; would {
		held, have = mine, true
	}
	_, _, known := t.members().state.Digest(d.Owner)
	_, would := im.taken[diskKey{wire.Members, d.Owner}]
	own := d.Owner == t.r.self
	switch {
	case have && d.Compare(&held) <= 0:
		return ImportStale, nil
	case own && have:
		return ImportOwnChanged, nil // two lives of one owner do not merge
	case own:
		return ImportApplied, nil
	case s.topic != wire.Members && !known && !would:
		return ImportOwnerUnknown, nil
	}
	switch why := t.refusal(t.topics[s.topic], &d, a, now); why {
	case "":
		return ImportApplied, nil
	case "forgotten":
		return ImportForgotten, nil
	case "quarantined":
		return ImportRefused, fmt.Errorf("%s was forgotten here: it comes back when it lives, not from a copy", s.Owner())
	default:
		return ImportRefused, fmt.Errorf("this node takes nothing of %s: %s", s.Owner(), why)
	}
}

// take hands all parts to the table at once.
func (im *Import) take(t *table, s *Snapshot, a arrival, now time.Time) (ImportResult, error) {
	for i := range s.parts {
		outcome, _, err := t.receive(t.topics[s.topic], &s.parts[i], a, now)
		switch {
		case err != nil:
			return ImportRefused, err
		case outcome != s.outcome(i):
			return ImportRefused, fmt.Errorf("this node takes nothing of %s at present: %s", s.Owner(), outcome)
		}
	}
	return ImportApplied, nil
}
