package gossipstate

import (
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// updateOverhead is what an Update takes beside its entries: digest, signature and field tags, with room to spare.
const updateOverhead = 512 // bytes

// Updates is what brings a replica that holds want's version to ours: a delta, or a snapshot when a delta is impossible
// (it holds nothing, holds less than the floor, or more than we have, or the same version of another generation: the owner
// began anew without its store, for a restart raises the version). Each update encodes to at most maxBytes, all but the
// last have More set. What want has staged of the same update is left out. Nil when nothing is held of the owner, or want
// already has it.
func (s *State) Updates(want wire.Want, maxBytes int) []Update {
	c := s.owners[want.Owner]
	if c == nil || want.Generation == c.digest.Generation && want.Version == c.digest.Version {
		return nil
	}
	from := want.Version
	forked := from == c.digest.Version && want.Generation != c.digest.Generation
	if from < c.digest.Floor || from > c.digest.Version || forked {
		from = 0
	}
	entries := c.since(from)
	if at := want.Staged; at != nil && goesOn(at, from, &c.digest) {
		next, _ := slices.BinarySearchFunc(entries, at, func(e Entry, at *wire.Cursor) int {
			if behind(at, &e) {
				return 1
			}
			return -1
		})
		entries = entries[next:]
	}
	return split(c, from, entries, maxBytes)
}

// since is every entry with a version above from, in (version, key) order.
func (c *copyOf) since(from Version) []Entry {
	var entries []Entry
	if from == 0 {
		entries = make([]Entry, 0, c.tree.entries)
	}
	c.tree.since(from, func(e *Entry) { entries = append(entries, *e) })
	slices.SortFunc(entries, func(a, b Entry) int { return a.Compare(&b) })
	return entries
}

func split(c *copyOf, from Version, entries []Entry, maxBytes int) []Update {
	var parts []Update
	start, size := 0, updateOverhead
	for i := range entries {
		n := wire.EncodedSize(&entries[i])
		if size+n > maxBytes && i > start {
			parts = append(parts, Update{Signed: c.signed, Digest: c.digest, Previous: from, Entries: entries[start:i:i], More: true})
			start, size = i, updateOverhead
		}
		size += n
	}
	return append(parts, Update{Signed: c.signed, Digest: c.digest, Previous: from, Entries: entries[start:]})
}

// reach is how far back in bytes a rumor repeats what earlier rumors carried, so that a lost or reordered one mostly heals
// itself. Guess: a gossipsub frame costs as much anyway.
const reach = 1 << 10

// Rumor is the update to publish for what owner changed after published: those entries, and as many of the versions before
// as fit reach. When they do not fit wire.MaxRumor it is an announcement without entries: a Gap for all who lack it. ok is
// false when nothing is held of owner.
func (s *State) Rumor(owner ID, published Version) (u Update, ok bool) {
	c := s.owners[owner]
	if c == nil {
		return Update{}, false
	}
	u = Update{Signed: c.signed, Digest: c.digest}
	from, entries := c.recent(min(published, c.digest.Version))
	start, size := len(entries), updateOverhead
	for start > 0 {
		group := versionGroup(entries[:start])
		for i := group; i < start; i++ {
			size += wire.EncodedSize(&entries[i])
		}
		if isNew := entries[group].Version > published; isNew && size > wire.MaxRumor {
			u.Previous = c.digest.Version
			return u, true
		} else if !isNew && size > updateOverhead+reach {
			break
		}
		start = group
	}
	if u.Previous = from; start > 0 {
		u.Previous = entries[start-1].Version
	}
	u.Entries = entries[start:]
	return u, true
}

// recent is every entry above from, in (version, key) order: from is 0, or so far below published that the entries between the
// two are more than reach. It looks back ever further, so that it takes time for what it finds and not for all that is held.
func (c *copyOf) recent(published Version) (from Version, entries []Entry) {
	for back := Version(16); ; back *= 4 {
		from = 0
		if back < published && back < 1<<60 {
			from = published - back
		}
		entries = c.since(from)
		size := 0
		for i := range entries {
			if entries[i].Version <= published {
				size += wire.EncodedSize(&entries[i])
			}
		}
		if from == 0 || size > reach {
			return from, entries
		}
	}
}

// versionGroup is where the entries that share the last one's version begin.
func versionGroup(entries []Entry) int {
	i := len(entries) - 1
	for i > 0 && entries[i-1].Version == entries[i].Version {
		i--
	}
	return i
}
