package sim

import (
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// list puts d, which is held now in the place of old, into the set that is reconciled, and so into the fingerprints and
// sketches of all links. A zero old is none.
func (t *topic) list(old, d *wire.Digest) {
	if old.Generation != 0 {
		t.sum -= fold(old)
	}
	t.sum += fold(d)
	t.items.Put(itemOf(d))
}

func (t *topic) unlist(d *wire.Digest) {
	t.sum -= fold(d)
	t.items.Delete(d.Owner)
}

// sketch is that of a topic for l, which must be keyed; made when there is none. It keeps the fewest cells that it may: more
// take room, and change nothing but what an exchange costs.
func (p *process) sketch(l *link, topic int) *reconcile.Sketch {
	if l.sketches[topic] == nil {
		l.sketches[topic] = p.topic[topic].items.Link(l.key, reconcile.MinPrefix)
	}
	return l.sketches[topic]
}

// unsketch ends the upkeep of l's sketches while nobody needs them. A real node keeps those of its last links: in a network of
// thousands they would be most of the memory here.
func (p *process) unsketch(l *link) {
	if l.beats != nil || l.sessions > 0 {
		return
	}
	for i, k := range l.sketches {
		if k != nil {
			p.topic[i].items.Unlink(k)
		}
	}
	l.sketches = [topics]*reconcile.Sketch{}
}
