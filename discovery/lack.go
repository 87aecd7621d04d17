package discovery

import (
	"context"
	"time"
)

// lack is what a node is short of, and so how hard it looks for others.
type lack int

const (
	lacksNothing lack = iota

	// lacksChosen: enough neighbours, too few of this node's own choice. Either whoever came is all there is, as in a small
	// network where everybody is connected, or others keep this node to themselves. It can't tell, so it looks again, but each
	// time later.
	lacksChosen

	// lacksNeighbours: there are too few, whoever chose them.
	lacksNeighbours
)

// lacks is what neighbours this node is short of now. All that looks for others goes by it.
func (d *Discovery) lacks() lack {
	switch low := int64(d.cfg.Low); {
	case d.count.neighbours.Load() < low:
		return lacksNeighbours
	case d.count.chosen.Load() < (low+1)/2:
		return lacksChosen
	}
	return lacksNothing
}

// Enough says whether there are enough neighbours, and enough of this node's own choice. false before Run.
func (d *Discovery) Enough() bool { return d.lacks() == lacksNothing }

// lasts waits until end while what is lacking stays the same. It reports whether it did; the caller checks ctx.
func (d *Discovery) lasts(ctx context.Context, what lack, end time.Time, wake <-chan struct{}) bool {
	for d.lacks() == what {
		if !pause(ctx, time.Until(end), wake, 0) {
			return true
		}
	}
	return false
}
