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
	// Addresses of a candidate that are kept: as many that it signed as a record may have, and as many that others told.
	maxCandidateAddrs = maxRecordAddrs

	// forgetAfter is how long a candidate is kept that nobody mentions and no dial reaches.
	forgetAfter = 24 * time.Hour

	// staleAfter is how long after somebody was last connected to a peer it is still offered to others and taken from them.
	// Each hop of an exchange adds its own waiting, so the dead are gone from all views after it. A guess: many rounds.
	staleAfter = time.Hour

	// steady is how long a connection must last for its peer to be dialled again at once when it ends: one that takes
	// connections and closes them, as a full or a hostile one does, is not dialled in a tight loop. A guess.
	steady = 10 * time.Second
)

// candidate is a peer that may become a neighbour.
type candidate struct {
	id     peer.ID
	signed []ma.Multiaddr // of its newest record
	told   []ma.Multiaddr // others said so; the newest first
	group  string         // where it is: of its connection when there was one, else of its addresses
	found  bool           // group is that of a connection
	record []byte         // the newest record, as signed; nil: none was seen
	seq    uint64         // of record

	mentioned time.Time // last offered, connected or lost
	heard     time.Time // when somebody was last connected to it; zero: not known
	since     time.Time // when it was connected; zero: it is apart
	lostAt    time.Time // when it was last lost as a neighbour; zero: it never was one
	chosen    bool      // it is a neighbour because this node chose it
	chosenAt  time.Time // when
	proven    bool      // it was chosen for provenAfter, or in an earlier run

	due      time.Time // not dialled earlier
	failures int       // dials in vain since it was last connected
	failedAt time.Time // of the last of them
	briefs   int       // connections, one after the other, that did not last for steady
	mends    int       // how often mending reached it
	mendDue  time.Time // not mended earlier
	dialing  bool
	mending  bool // the dial under way is a mend

	asked  bool      // in this turn around the neighbours
	served time.Time // when it will have used up what it asked; see serve
}

// addrs are where it may be dialled.
func (c *candidate) addrs() []ma.Multiaddr {
	return distinct(c.signed, c.told)
}

func (c *candidate) seat() seat { return seat{c.id, c.group} }

// credible reports whether a view may have c: somebody met it lately, and since it was last dialled in vain.
func (c *candidate) credible(now time.Time) bool {
	return now.Sub(c.heard) <= staleAfter && (c.failures == 0 || c.heard.After(c.failedAt))
}

// link is how a peer is connected to this node.
type link int

const (
	apart    link = iota
	inbound       // it connected to this node
	outbound      // this node connected to it
)

// links tells how a peer is connected now.
type links func(peer.ID) link

// candidates is the bounded table of peers that may become neighbours, with a view of them: a random sample of the network
// from which neighbours are chosen, and which others are told. It has no clock and no lock: one goroutine owns it.
type candidates struct {
	self     peer.ID
	limit    int // of peers; at least viewSize + sampleCount
	outbound int // how many neighbours are to be of this node's own choice
	rng      *rand.Rand
	byPeer   map[peer.ID]*candidate
	view     *view

	evicted uint64 // candidates that others took the room of
}

func newCandidates(self peer.ID, cfg Config, rng *rand.Rand) *candidates {
	return &candidates{
		self: self, limit: cfg.Candidates, outbound: (cfg.Target + 1) / 2, rng: rng,
		byPeer: make(map[peer.ID]*candidate), view: newView(rng),
	}
}

// offer adds info, or what it brings of new addresses. A known candidate keeps its back-off: being mentioned is no proof
// that it can be reached. Nor does it make c known to the view, which hears of peers by push and pull alone.
func (t *candidates) offer(info peer.AddrInfo, now time.Time) {
	c := t.entry(info.ID, now)
	told := distinct(boundAddrs(info.Addrs), c.told)
	c.told = told[:min(len(told), maxCandidateAddrs)]
	t.place(c, groupOf(c.addrs()...), false)
}

// entry is the candidate with this id, made when there is none. It is mentioned now.
func (t *candidates) entry(id peer.ID, now time.Time) *candidate {
	c := t.byPeer[id]
	if c == nil {
		if len(t.byPeer) >= t.limit {
			t.evict()
		}
		c = &candidate{id: id, due: now.Add(t.yield(id))}
		t.byPeer[id] = c
	}
	c.mentioned = now
	return c
}

// place notes that c is in group; seen says that a connection proves it, which no address does.
func (t *candidates) place(c *candidate, group string, seen bool) {
	if c.group == group || c.found && !seen {
		return
	}
	c.group, c.found = group, seen
	if t.view.regroup(c.seat()) {
		t.resample()
	}
}

// resample gives the samplers that hold nobody everyone whom view has heard of and who may be alive.
func (t *candidates) resample() {
	var seats []seat
	for _, c := range t.sorted() {
		if c.failures == 0 && (c.found || c.record != nil) {
			seats = append(seats, c.seat())
		}
	}
	t.view.refill(seats)
}

// sign notes what a verified record says. One that is not newer than what is held says nothing.
func (t *candidates) sign(r signedRecord, now time.Time) *candidate {
	c := t.entry(r.id, now)
	if c.record == nil || r.seq > c.seq {
		c.record, c.seq, c.signed = r.bytes, r.seq, r.addrs[:min(len(r.addrs), maxCandidateAddrs)]
	}
	t.place(c, groupOf(c.addrs()...), false)
	return c
}

// met notes that id is connected from or to an address of this group.
func (t *candidates) met(id peer.ID, group string, now time.Time) *candidate {
	c := t.entry(id, now)
	c.heard, c.failures = now, 0
	if c.since.IsZero() {
		c.since = now
	}
	t.place(c, group, true)
	c.found = true
	t.view.observe(c.seat())
	return c
}

// pushed notes that c, which is connected, came to exchange.
func (t *candidates) pushed(c *candidate) { t.view.push(c.seat()) }

// pulled notes that a peer which this node asked offers cs, each with the time when somebody met it.
func (t *candidates) pulled(cs []*candidate, now time.Time) {
	var seats []seat
	for _, c := range cs {
		if c.credible(now) {
			t.view.observe(c.seat())
			seats = append(seats, c.seat())
		}
	}
	t.view.pull(seats)
}

// hear notes that a peer says that c was alive at a time. When that is after a dial in vain, c deserves another one: once,
// for the next failure is later.
func (t *candidates) hear(c *candidate, at, now time.Time) {
	if !at.After(c.heard) {
		return
	}
	c.heard = at
	if c.failures > 0 && at.After(c.failedAt) && !c.dialing {
		c.due = minTime(c.due, now.Add(t.random(yield)))
	}
}

// lost notes that info was a neighbour until now.
func (t *candidates) lost(info peer.AddrInfo, now time.Time) {
	t.offer(info, now)
	c := t.byPeer[info.ID]
	c.lostAt, c.heard, c.failures, c.chosen = now, now, 0, false
	c.due = now.Add(t.yield(info.ID))
	if now.Sub(c.since) < steady {
		c.briefs++
		c.due = now.Add(t.retry(c.briefs))
	} else {
		c.briefs = 0
	}
	c.since = time.Time{}
}

// left notes that id takes no part in this network any more, connected or not, and reports whether it did. It is remembered:
// a node that ends says so before its connections close, and may start again.
func (t *candidates) left(id peer.ID, now time.Time) bool {
	c := t.byPeer[id]
	if c == nil || !c.found {
		return false
	}
	c.found, c.chosen = false, false
	c.lostAt, c.heard, c.since = now, time.Time{}, time.Time{}
	if t.view.drop(id) {
		t.resample()
	}
	return true
}

// forget drops what nobody has mentioned for forgetAfter.
func (t *candidates) forget(now time.Time, links links) {
	for _, c := range t.sorted() {
		if !c.dialing && now.Sub(c.mentioned) > forgetAfter && links(c.id) == apart {
			t.remove(c)
		}
	}
}

func (t *candidates) remove(c *candidate) {
	delete(t.byPeer, c.id)
	if t.view.drop(c.id) {
		t.resample()
	}
}

// evict makes room for one. The least useful kind of candidate goes first, of these the largest group's, of these whoever
// failed or was lost longest ago, otherwise anyone. So neither a flood of names nor a prefix full of nodes displaces
// proven peers, nor the view.
func (t *candidates) evict() {
	all := t.sorted()
	t.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	groups := map[string]int{}
	for _, c := range all {
		groups[c.group]++
	}
	t.evicted++
	t.remove(slices.MinFunc(all, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(t.worth(a), t.worth(b)), cmp.Compare(groups[b.group], groups[a.group]),
			a.lostAt.Compare(b.lostAt), a.failedAt.Compare(b.failedAt))
	}))
}

// worth orders the kinds of candidates, the least useful first.
func (t *candidates) worth(c *candidate) int {
	switch {
	case c.dialing || c.chosen:
		return 5
	case c.proven:
		return 4
	case t.view.has(c.id):
		return 3
	case !c.lostAt.IsZero():
		return 2
	case c.failures == 0:
		return 1
	}
	return 0
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
	slices.SortFunc(all, func(a, b *candidate) int { return cmp.Compare(a.id, b.id) })
	return all
}

// distinct joins lists of addresses, each address where it comes first.
func distinct(lists ...[]ma.Multiaddr) []ma.Multiaddr {
	var all []ma.Multiaddr
	for _, list := range lists {
		for _, a := range list {
			if !ma.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
