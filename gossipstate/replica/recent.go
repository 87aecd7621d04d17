package replica

import "github.com/p2pnode/p2pnode/gossipstate"

// What a topic remembers of its newest events, for readers that come back. Guess: a browser reconnects within seconds.
const (
	recentEvents = 4096
	recentBytes  = 4 << 20 // of entries in them
)

// recent is the newest events of a topic. The zero value is empty.
type recent struct {
	events []recentEvent // numbered one by one; the last one has the topic's newest number
	bytes  int
}

type recentEvent struct {
	event  gossipstate.Event
	cause  Cause
	remote bool
}

// size is what e holds that the state need not hold any more, in bytes.
func (e *recentEvent) size() int {
	n := len(e.event.Key)
	for _, rec := range []gossipstate.Record{e.event.Old, e.event.New} {
		if rec.Entry != nil {
			n += rec.Entry.Size()
		}
	}
	return n
}

// add remembers e and forgets the oldest for which there is no room.
func (r *recent) add(e recentEvent) {
	r.events = append(r.events, e)
	r.bytes += e.size()
	for len(r.events) > recentEvents || r.bytes > recentBytes {
		r.bytes -= r.events[0].size()
		r.events[0] = recentEvent{} // the array lives on
		r.events = r.events[1:]
	}
}

// after is the events above since, up to newest, the number of the last one; false when one of them is forgotten, or since is
// no number of this process. They must not be kept.
func (r *recent) after(since, newest uint64) ([]recentEvent, bool) {
	if since > newest || newest-since > uint64(len(r.events)) {
		return nil, false
	}
	return r.events[uint64(len(r.events))-(newest-since):], true
}
