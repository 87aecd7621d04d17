package reconcile

import (
	"cmp"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Difference says what to send and what to ask for.
type Difference struct {
	Send []wire.Want // what the other side would ask for: owners of which we hold more, with what it holds
	Ask  []wire.Want // owners of which the other side holds more, with what we hold
}

// Compare merges two lists of items, both sorted by owner without repeats, into what each side lacks. Newer is the larger
// (generation, version, root), as digests are ordered; a fork at equal generation and version needs a snapshot, so the
// want then names version 0.
func Compare(ours, theirs []wire.Item) Difference {
	var d Difference
	for len(ours) > 0 || len(theirs) > 0 {
		switch {
		case len(theirs) == 0 || len(ours) > 0 && ours[0].Owner.Compare(theirs[0].Owner) < 0:
			d.Send = append(d.Send, wire.Want{Owner: ours[0].Owner})
			ours = ours[1:]
		case len(ours) == 0 || theirs[0].Owner.Compare(ours[0].Owner) < 0:
			d.Ask = append(d.Ask, wire.Want{Owner: theirs[0].Owner})
			theirs = theirs[1:]
		default:
			d.both(&ours[0], &theirs[0])
			ours, theirs = ours[1:], theirs[1:]
		}
	}
	return d
}

func (d *Difference) both(ours, theirs *wire.Item) {
	switch c := compareItems(ours, theirs); {
	case c > 0:
		d.Send = append(d.Send, holding(theirs, ours))
	case c < 0:
		d.Ask = append(d.Ask, holding(ours, theirs))
	}
}

// holding is the want of a side that holds has and is to get next.
func holding(has, next *wire.Item) wire.Want {
	w := wire.Want{Owner: has.Owner, Generation: has.Generation, Version: has.Version}
	if has.Generation == next.Generation && has.Version == next.Version {
		w.Version = 0
	}
	return w
}

func compareItems(a, b *wire.Item) int {
	return cmp.Or(
		cmp.Compare(a.Generation, b.Generation),
		cmp.Compare(a.Version, b.Version),
		wire.ID(a.Root).Compare(wire.ID(b.Root)),
	)
}
