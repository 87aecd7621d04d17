package gossipstate

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// QuarantineFor is how long a forgotten owner stays in quarantine. An owner that comes back later is taken for a new one:
	// it may bring back a shared key that was deleted meanwhile.
	QuarantineFor = 30 * 24 * time.Hour
	// MaxQuarantined is how many owners are in quarantine at one time, about 100 bytes each; beyond it the longest there go
	// first. As many as a topic may have owners.
	MaxQuarantined = wire.MaxOwners
)

// Forgotten says at which point of its life an owner was forgotten. What does not exceed it teaches nothing new.
type Forgotten struct {
	Owner      ID
	Generation Generation // of its digest on the topic Members
	Version    Version    // likewise
	Beat       uint32     // index of its newest beat under that digest; 0: none
	Since      time.Time  // when it was forgotten
}

// exceeds says whether f is a larger proof of life than other, of the same owner.
func (f *Forgotten) exceeds(other *Forgotten) bool {
	return cmp.Or(cmp.Compare(f.Generation, other.Generation), cmp.Compare(f.Version, other.Version), cmp.Compare(f.Beat, other.Beat)) > 0
}

// Quarantine remembers the owners that a replica has forgotten, so that a peer which remembers longer does not bring them
// back: only a larger proof of life does. It is bounded in number and time. The zero Quarantine is empty and ready to use.
// It is not safe for concurrent use.
type Quarantine struct {
	held    map[ID]inmate
	queue   []entrance // in order; one that is not the inmate's any more was lifted or entered anew
	entered uint64     // entrances so far
}

// inmate is an owner in quarantine, and its entrance.
type inmate struct {
	Forgotten
	entrance uint64
}

type entrance struct {
	owner  ID
	number uint64
}

// stands says whether e is still the reason why its owner is in quarantine.
func (q *Quarantine) stands(e entrance) bool {
	in, there := q.held[e.owner]
	return there && in.entrance == e.number
}

// Add puts an owner into quarantine, or raises what is known of one that is there; one that knows less than is known changes
// nothing. evicted are the owners that had to go for it, those longest there first. Times should not go back from one call to
// the next by much: owners leave in the order in which they came.
func (q *Quarantine) Add(f Forgotten) (evicted []ID) {
	if old, there := q.held[f.Owner]; there && !f.exceeds(&old.Forgotten) {
		return nil
	}
	if q.held == nil {
		q.held = map[ID]inmate{}
	}
	q.entered++
	q.held[f.Owner] = inmate{f, q.entered}
	q.queue = append(q.queue, entrance{f.Owner, q.entered})
	for len(q.held) > MaxQuarantined {
		evicted = append(evicted, q.pop())
	}
	q.compact()
	return evicted
}

// pop removes the owner that is longest in quarantine; there must be one.
func (q *Quarantine) pop() ID {
	for {
		e := q.queue[0]
		q.queue = q.queue[1:]
		if q.stands(e) {
			delete(q.held, e.owner)
			return e.owner
		}
	}
}

// compact keeps the queue within twice what is held.
func (q *Quarantine) compact() {
	if len(q.queue) > 2*len(q.held)+16 {
		q.queue = slices.DeleteFunc(slices.Clone(q.queue), func(e entrance) bool { return !q.stands(e) })
	}
}

// Get says at which point owner was forgotten; ok is false when it is not in quarantine.
func (q *Quarantine) Get(owner ID) (f Forgotten, ok bool) {
	in, ok := q.held[owner]
	return in.Forgotten, ok
}

// Refuses says whether d, a digest on the topic Members, is of an owner in quarantine and not newer than it was.
func (q *Quarantine) Refuses(d *Digest) bool {
	f, there := q.held[d.Owner]
	return there && cmp.Or(cmp.Compare(d.Generation, f.Generation), cmp.Compare(d.Version, f.Version)) <= 0
}

// RefusesBeat says whether the beat of that index, checked to be of d's chain, is of an owner in quarantine and proves no
// later life than it had.
func (q *Quarantine) RefusesBeat(d *Digest, index uint32) bool {
	f, there := q.held[d.Owner]
	life := Forgotten{Generation: d.Generation, Version: d.Version, Beat: index}
	return there && !life.exceeds(&f.Forgotten)
}

// Lift ends the quarantine of owner and says whether it was there.
func (q *Quarantine) Lift(owner ID) bool {
	_, there := q.held[owner]
	delete(q.held, owner)
	q.compact()
	return there
}

// Expire ends the quarantine of those who were in it for QuarantineFor at now, and returns them, the oldest first.
func (q *Quarantine) Expire(now time.Time) (expired []ID) {
	for len(q.queue) > 0 {
		e := q.queue[0]
		if q.stands(e) {
			if now.Sub(q.held[e.owner].Since) < QuarantineFor {
				break
			}
			expired = append(expired, e.owner)
			delete(q.held, e.owner)
		}
		q.queue = q.queue[1:]
	}
	return expired
}

// Len is how many owners are in quarantine.
func (q *Quarantine) Len() int { return len(q.held) }

// All are the owners in quarantine, those longest there first. The slice is the caller's.
func (q *Quarantine) All() []Forgotten {
	all := make([]Forgotten, 0, len(q.held))
	for _, e := range q.queue {
		if q.stands(e) {
			all = append(all, q.held[e.owner].Forgotten)
		}
	}
	return all
}
