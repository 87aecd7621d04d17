package discovery

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	maxCandidateAddrs = 16 // what nodes on several networks have, twice

	// The larger peer id waits this long, and as much again at random, for the smaller one's dial.
	yield = time.Second

	dialRetry    = 5 * time.Second // first pause after a dial in vain; it doubles up to maxDialRetry
	maxDialRetry = 10 * time.Minute

	// mendRetry is how long a lost neighbour is left alone once mending reached it; it doubles each time. That it could be
	// reached says that someone let the connection go, as connection managers do, and that no network fell apart.
	mendRetry    = 10 * time.Minute
	maxMendRetry = 24 * time.Hour

	// forgetAfter is how long a candidate is kept that nobody mentions and no dial reaches.
	forgetAfter = 24 * time.Hour
)

// candidate is a peer that may become a neighbour.
type candidate struct {
	info      peer.AddrInfo
	mentioned time.Time // last offered, connected or lost
	due       time.Time // not dialled earlier
	failures  int       // dials in vain since it was last connected
	failedAt  time.Time // of the last of them
	lostAt    time.Time // when it was last lost as a neighbour; zero: it never was one
	mends     int       // how often mending reached it
	mendDue   time.Time // not mended earlier
	dialing   bool
	mending   bool // the dial under way is a mend
}

// candidates is the bounded table of peers that may become neighbours. It has no clock and no lock: one goroutine owns it.
type candidates struct {
	self   peer.ID
	limit  int
	rng    *rand.Rand
	byPeer map[peer.ID]*candidate
}

func newCandidates(self peer.ID, limit int, rng *rand.Rand) *candidates {
	return &candidates{self: self, limit: limit, rng: rng, byPeer: make(map[peer.ID]*candidate)}
}

// offer adds info, or what it brings of new addresses. A known candidate keeps its back-off: being mentioned is no proof
// that it can be reached.
func (t *candidates) offer(info peer.AddrInfo, now time.Time) {
	c := t.byPeer[info.ID]
	if c == nil {
		if len(t.byPeer) >= t.limit {
			t.evict()
		}
		c = &candidate{info: peer.AddrInfo{ID: info.ID}, due: now.Add(t.yield(info.ID))}
		t.byPeer[info.ID] = c
	}
	c.mentioned = now
	for _, a := range info.Addrs {
		if len(c.info.Addrs) < maxCandidateAddrs && !ma.Contains(c.info.Addrs, a) {
			c.info.Addrs = append(c.info.Addrs, a)
		}
	}
}

// lost notes that info was a neighbour until now.
func (t *candidates) lost(info peer.AddrInfo, now time.Time) {
	t.offer(info, now)
	c := t.byPeer[info.ID]
	c.lostAt, c.failures = now, 0
	c.due = now.Add(t.yield(info.ID))
}

// dialed notes how a dial of id ended.
func (t *candidates) dialed(id peer.ID, ok bool, now time.Time) {
	c := t.byPeer[id]
	if c == nil {
		return
	}
	mended := c.mending && ok
	c.dialing, c.mending = false, false
	if mended {
		c.mendDue = now.Add(min(mendRetry<<min(c.mends, 16), maxMendRetry))
		c.mends++
	}
	if ok {
		c.failures, c.mentioned = 0, now
		return
	}
	c.failures++
	c.failedAt = now
	retry := min(dialRetry<<min(c.failures-1, 16), maxDialRetry)
	c.due = now.Add(retry/2 + t.random(retry/2))
}

// next takes up to n candidates whose time has come and that are not connected, those that failed least first, otherwise at
// random. They are marked as being dialled.
func (t *candidates) next(n int, now time.Time, connected func(peer.ID) bool) []peer.AddrInfo {
	var due []*candidate
	for _, c := range t.sorted() {
		if !c.dialing && !c.due.After(now) && !connected(c.info.ID) {
			due = append(due, c)
		}
	}
	t.rng.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	slices.SortStableFunc(due, func(a, b *candidate) int { return cmp.Compare(a.failures, b.failures) })
	return t.take(due[:max(0, min(n, len(due)))])
}

// mend takes one lost neighbour at random, whatever its back-off, if there is one that may be missed.
func (t *candidates) mend(now time.Time, connected func(peer.ID) bool) []peer.AddrInfo {
	var lost []*candidate
	for _, c := range t.sorted() {
		if !c.dialing && !c.lostAt.IsZero() && !c.mendDue.After(now) && !connected(c.info.ID) {
			lost = append(lost, c)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	i := t.rng.IntN(len(lost))
	lost[i].mending = true
	return t.take(lost[i : i+1])
}

func (t *candidates) take(cs []*candidate) []peer.AddrInfo {
	infos := make([]peer.AddrInfo, 0, len(cs))
	for _, c := range cs {
		c.dialing = true
		infos = append(infos, peer.AddrInfo{ID: c.info.ID, Addrs: slices.Clone(c.info.Addrs)})
	}
	return infos
}

// wake is when the next candidate is due that is not connected; ok is false when there is none.
func (t *candidates) wake(connected func(peer.ID) bool) (at time.Time, ok bool) {
	for id, c := range t.byPeer {
		if !c.dialing && (!ok || c.due.Before(at)) && !connected(id) {
			at, ok = c.due, true
		}
	}
	return at, ok
}

// forget drops what nobody has mentioned for forgetAfter.
func (t *candidates) forget(now time.Time, connected func(peer.ID) bool) {
	for id, c := range t.byPeer {
		if !c.dialing && now.Sub(c.mentioned) > forgetAfter && !connected(id) {
			delete(t.byPeer, id)
		}
	}
}

// evict makes room for one: the candidate that failed longest ago and never was a neighbour, else one that was never
// dialled, at random, else the neighbour that was lost longest ago. So a flood of names can't displace proven peers.
func (t *candidates) evict() {
	rank := func(c *candidate) int {
		switch {
		case c.dialing:
			return 3
		case !c.lostAt.IsZero():
			return 2
		case c.failures == 0:
			return 1
		}
		return 0
	}
	all := t.sorted()
	t.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	victim := slices.MinFunc(all, func(a, b *candidate) int {
		if r := cmp.Compare(rank(a), rank(b)); r != 0 || rank(a) == 1 {
			return r
		}
		return cmp.Or(a.lostAt.Compare(b.lostAt), a.failedAt.Compare(b.failedAt))
	})
	delete(t.byPeer, victim.info.ID)
}

// yield is how long this node lets id dial first: nothing when its own id is the smaller one.
func (t *candidates) yield(id peer.ID) time.Duration {
	if t.self < id {
		return 0
	}
	return yield + t.random(yield)
}

func (t *candidates) random(d time.Duration) time.Duration {
	return time.Duration(t.rng.Int64N(int64(d) + 1))
}

// sorted returns all candidates by peer id, so that the same seed makes the same choices.
func (t *candidates) sorted() []*candidate {
	all := make([]*candidate, 0, len(t.byPeer))
	for _, c := range t.byPeer {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *candidate) int { return cmp.Compare(a.info.ID, b.info.ID) })
	return all
}
