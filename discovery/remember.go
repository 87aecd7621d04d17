package discovery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// MaxRemembered is how many peers Remembered returns at most. A guess: a node that was away finds one of them, and a file of
// them is small.
const MaxRemembered = 128

// maxFailures bounds what is taken over of Remembered.Failures; more make no difference.
const maxFailures = 100

// Remembered is a peer that was a neighbour once, for a node to find its network again after a restart, whatever became of
// the bootstrap peers.
type Remembered struct {
	Info     peer.AddrInfo
	Alive    time.Time // when it was last seen connected
	Failed   time.Time // when it was last dialled in vain; zero: never, or it was connected since
	Failures int       // dials in vain since it was last connected
	Chosen   bool      // it was a neighbour by this node's own choice, not only by its own
}

// Remember gives back what Remembered returned in an earlier run: these peers are dialled at once, those that were alive
// latest first. Call it before Run; of more than MaxRemembered the first count.
func (d *Discovery) Remember(peers []Remembered) {
	d.remembered.Store(new(slices.Clone(peers[:min(len(peers), MaxRemembered)])))
}

// Remembered returns the peers worth remembering, those of this node's own choice first, then the ones alive latest. Before
// Run that is what Remember was given, after it what stood at its end; while Run runs it waits for ctx at the longest.
func (d *Discovery) Remembered(ctx context.Context) []Remembered {
	if c := d.connector.Load(); c != nil {
		var all []Remembered
		if c.do(ctx, func() { all = c.table.remembered(time.Now(), c.link) }) {
			return all
		}
	}
	if last := d.remembered.Load(); last != nil {
		return *last
	}
	return nil
}

// restore makes r a candidate again.
func (t *candidates) restore(r Remembered, now time.Time) {
	if r.Info.ID == t.self || len(r.Info.Addrs) == 0 {
		return
	}
	t.offer(r.Info, now)
	c := t.byPeer[r.Info.ID]
	c.lostAt, c.heard, c.failedAt = r.Alive, r.Alive, r.Failed
	c.failures = max(0, min(r.Failures, maxFailures))
	c.proven = r.Chosen
	c.due = now.Add(t.random(yield)) // it does not know that this node is back, so there is nobody to yield to
}

// remembered are the peers that restore may be given.
func (t *candidates) remembered(now time.Time, links links) []Remembered {
	var all []Remembered
	for _, c := range t.sorted() {
		r := Remembered{
			Info: peer.AddrInfo{ID: c.id, Addrs: c.addrs()}, Alive: c.lostAt, Failures: c.failures, Chosen: c.chosen || c.proven,
		}
		switch {
		case c.found && links(c.id) != apart:
			r.Alive = now
		case c.found && c.lostAt.IsZero():
			r.Alive = c.heard // it has gone just now
		}
		if c.failures > 0 {
			r.Failed = c.failedAt
		}
		if !r.Alive.IsZero() && len(r.Info.Addrs) > 0 {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b Remembered) int {
		return cmp.Or(-cmp.Compare(number(a.Chosen), number(b.Chosen)), b.Alive.Compare(a.Alive))
	})
	return all[:min(len(all), MaxRemembered)]
}
