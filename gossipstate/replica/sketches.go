package replica

import (
	"errors"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// sketchCells is how many cells of a small topic are kept up to date for each link, 16 bytes each: they do for some 300
	// differences. Larger topics get more, up to reconcile.MaxPrefix. Guess.
	sketchCells = 512
	// maxSketched is how many links have sketches. Beyond it one goes that is in no use: its next session begins anew, in time
	// proportional to the owners. Guess: more than there are neighbours, at 0.3 MiB each with 16,384 owners.
	maxSketched = 64
)

// errRekeyed: the link's key changed during a session, which can find no more differences.
var errRekeyed = errors.New("the link has another key by now")

// list puts owner, which must be held, as it is now into the set that is reconciled, and so into the fingerprints and sketches
// of all links.
func (tt *topicTable) list(owner gossipstate.ID) {
	item, _ := tt.state.Item(owner)
	tt.items.Put(item)
}

// keyed gives l the key that follows from both sides' salts. While both stay connected it is always the same one.
func (t *table) keyed(l *link, theirs wire.Salt) {
	key := reconcile.LinkKey(t.r.self, l.salt, l.owner, theirs)
	if l.key == key {
		return
	}
	t.unsketch(l)
	l.key = key
}

// sketch is that of a topic for l, which must be keyed; made when there is none.
func (t *table) sketch(l *link, tt *topicTable) *reconcile.Sketch {
	if k := l.sketches[tt.name]; k != nil {
		return k
	}
	if l.sketches == nil {
		t.roomForSketches()
		l.sketches = map[string]*reconcile.Sketch{}
	}
	k := tt.items.Link(l.key, max(sketchCells, 2*tt.items.Len()))
	l.sketches[tt.name] = k
	return k
}

// roomForSketches takes them from one link that is in no use, when too many have some.
func (t *table) roomForSketches() {
	sketched := 0
	var idle *link
	for _, l := range t.links {
		if l.sketches == nil {
			continue
		}
		sketched++
		if l.beats == nil && !l.syncing && l.serving == 0 && (idle == nil || l.owner.Compare(idle.owner) < 0) {
			idle = l
		}
	}
	if sketched >= maxSketched && idle != nil {
		t.unsketch(idle)
	}
}

// unsketch ends the upkeep of l's sketches.
func (t *table) unsketch(l *link) {
	for name, k := range l.sketches {
		t.topics[name].items.Unlink(k)
	}
	l.sketches = nil
}

// sketch is that of a topic for the session's link. It may be used in the table's goroutine alone, within one turn.
func (s *session) sketch(t *table, topic string) (*reconcile.Sketch, error) {
	l := t.links[s.peer]
	if l == nil || l.key != s.key {
		return nil, errRekeyed
	}
	return t.sketch(l, t.topics[topic]), nil
}
