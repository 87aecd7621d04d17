package discovery

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// The larger peer id waits this long, and as much again at random, for the smaller one's dial.
	yield = time.Second

	dialRetry    = 5 * time.Second // first pause after a dial in vain; it doubles up to maxDialRetry
	maxDialRetry = 10 * time.Minute

	// A neighbour that was lost less than eagerFor ago is tried every lostRetry at the latest: it may have been the network
	// between, and that comes back within minutes or not soon. Guesses; a dial in vain costs about 8 KB.
	eagerFor  = 3 * time.Minute
	lostRetry = 8 * time.Second

	// mendRetry is how long a lost neighbour is left alone once mending reached it; it doubles each time. That it could be
	// reached says that someone let the connection go, as connection managers do, and that no network fell apart.
	mendRetry    = 10 * time.Minute
	maxMendRetry = 24 * time.Hour

	// reserved is how many neighbours are to be proven ones, as long as some can be reached: whoever fills the view and the
	// table with its own finds these places taken. Bootstrap peers have theirs beside them. Proven is who was chosen for
	// provenAfter, or in an earlier run. Guesses.
	reserved    = 2
	provenAfter = 10 * time.Minute

	// mendProven of 4 mends are for a proven peer: others, who only came and went, may be as many as anyone likes.
	mendProven = 3
)

// choose takes candidates to dial and marks them as being dialled: missing of them, or as many as are lacking of this
// node's own choice if that is more; and beyond these, proven ones for their places, and some of further groups when the
// chosen ones are of few. Outbound neighbours that something else dialled are chosen without another dial.
func (t *candidates) choose(missing int, now time.Time, links links) []peer.AddrInfo {
	places := reserved
	for _, c := range t.byPeer {
		c.proven = c.proven || c.chosen && now.Sub(c.chosenAt) >= provenAfter
		if c.proven && (c.chosen || c.dialing) {
			places--
		}
	}
	t.adopt(now, links)
	t.release()
	taken := t.next(places, now, links, func(c *candidate) bool { return c.proven })
	n := max(missing-len(taken), t.outbound-t.chosen())
	taken = append(taken, t.next(n, now, links, func(*candidate) bool { return true })...)
	groups := t.groups()
	return append(taken, t.next(t.outbound-len(groups), now, links, func(c *candidate) bool {
		letGo := now.Sub(c.lostAt) < mendRetry // it is not bothered for that
		return groups[c.group] == 0 && c.failures == 0 && !letGo && t.view.has(c.id)
	})...)
}

// groups counts the chosen neighbours, and those being dialled, by group.
func (t *candidates) groups() map[string]int {
	groups := map[string]int{}
	for _, c := range t.byPeer {
		if c.chosen || c.dialing {
			groups[c.group]++
		}
	}
	return groups
}

// release gives up the choice of neighbours of the largest groups, while there are more chosen than the target. They stay
// connected for as long as the connection manager likes.
func (t *candidates) release() {
	for t.chosen() > 2*t.outbound {
		groups := t.groups()
		var most *candidate
		for _, c := range t.sorted() {
			if c.chosen && (most == nil || groups[c.group] > groups[most.group]) {
				most = c
			}
		}
		if most == nil {
			return
		}
		most.chosen = false
	}
}

// satisfied reports whether there are as many neighbours of this node's own choice as there are to be.
func (t *candidates) satisfied() bool { return t.chosen() >= t.outbound }

// chosen counts the neighbours of this node's own choice, and those being dialled.
func (t *candidates) chosen() int {
	n := 0
	for _, c := range t.byPeer {
		if c.chosen || c.dialing {
			n++
		}
	}
	return n
}

// adopt chooses outbound neighbours while too few are chosen, or those of too few groups.
func (t *candidates) adopt(now time.Time, links links) {
	groups := t.groups()
	lacking := t.outbound - t.chosen()
	if lacking <= 0 && len(groups) >= t.outbound {
		return
	}
	var open []*candidate
	for _, c := range t.sorted() {
		if c.found && !c.chosen && !c.dialing && links(c.id) == outbound {
			open = append(open, c)
		}
	}
	for _, c := range t.best(open, len(open)) {
		if lacking > 0 || groups[c.group] == 0 && len(groups) < t.outbound {
			c.chosen, c.chosenAt = true, now
			groups[c.group]++
			lacking--
		}
	}
}

// next takes up to n candidates that are fit, whose time has come and that are apart.
func (t *candidates) next(n int, now time.Time, links links, fit func(*candidate) bool) []peer.AddrInfo {
	if n <= 0 {
		return nil
	}
	var due []*candidate
	for _, c := range t.sorted() {
		if !c.due.After(now) && fit(c) && c.dialable(links) {
			due = append(due, c)
		}
	}
	return t.take(t.best(due, n))
}

// dialable reports whether a dial of c would make sense, were it due.
func (c *candidate) dialable(links links) bool {
	return !c.dialing && len(c.signed)+len(c.told) > 0 && links(c.id) == apart
}

// best picks up to n of from, one after the other: those of the groups with fewest of the chosen, of these who did not fail,
// of these who is in the view; otherwise at random.
func (t *candidates) best(from []*candidate, n int) []*candidate {
	t.rng.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	groups := t.groups()
	rank := func(c *candidate) [3]int { return [3]int{groups[c.group], c.failures, number(!t.view.has(c.id))} }
	var picked []*candidate
	for len(picked) < n && len(from) > 0 {
		i, least := 0, rank(from[0])
		for j, c := range from[1:] {
			if r := rank(c); slices.Compare(r[:], least[:]) < 0 {
				i, least = j+1, r
			}
		}
		picked = append(picked, from[i])
		groups[from[i].group]++
		from = slices.Delete(from, i, i+1)
	}
	return picked
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mend takes one lost neighbour at random, whatever its back-off, if there is one that may be missed.
func (t *candidates) mend(now time.Time, links links) []peer.AddrInfo {
	var proven, others []*candidate
	for _, c := range t.sorted() {
		switch {
		case c.lostAt.IsZero() || c.mendDue.After(now) || !c.dialable(links):
		case c.proven:
			proven = append(proven, c)
		default:
			others = append(others, c)
		}
	}
	lost := others
	if len(proven) > 0 && (len(others) == 0 || t.rng.IntN(4) < mendProven) {
		lost = proven
	}
	if len(lost) == 0 {
		return nil
	}
	c := lost[t.rng.IntN(len(lost))]
	c.mending = true
	return t.take([]*candidate{c})
}

func (t *candidates) take(cs []*candidate) []peer.AddrInfo {
	infos := make([]peer.AddrInfo, 0, len(cs))
	for _, c := range cs {
		c.dialing = true
		infos = append(infos, peer.AddrInfo{ID: c.id, Addrs: c.addrs()})
	}
	return infos
}

// dialed notes how a dial of id ended. ours says that it speaks a protocol of this network; met says so later otherwise, and
// until then the dial was in vain.
func (t *candidates) dialed(id peer.ID, ok, ours bool, now time.Time) {
	c := t.byPeer[id]
	if c == nil {
		return
	}
	ok = ok && ours
	mended := c.mending && ok
	c.dialing, c.mending = false, false
	if mended {
		c.mendDue = now.Add(min(mendRetry<<min(c.mends, 16), maxMendRetry))
		c.mends++
	}
	if ok {
		c.failures, c.mentioned = 0, now
		if !c.chosen && !mended { // who was mended may be adopted
			c.chosen, c.chosenAt = true, now
		}
		return
	}
	c.failures++
	c.failedAt = now
	retry := t.retry(c.failures)
	if !c.lostAt.IsZero() && now.Sub(c.lostAt) < eagerFor {
		retry = min(retry, lostRetry/2+t.random(lostRetry/2))
	}
	c.due = now.Add(retry)
	if t.view.drop(id) {
		t.resample()
	}
}

// retry is the pause after times dials in vain: dialRetry, doubled with each, at most maxDialRetry; of that a random share
// between a half and the whole.
func (t *candidates) retry(times int) time.Duration {
	most := min(dialRetry<<min(times-1, 16), maxDialRetry)
	return most/2 + t.random(most/2)
}

// wake is when the next candidate is due that is apart; ok is false when there is none.
func (t *candidates) wake(links links) (at time.Time, ok bool) {
	for _, c := range t.byPeer {
		if (!ok || c.due.Before(at)) && c.dialable(links) {
			at, ok = c.due, true
		}
	}
	return at, ok
}

// yield is how long this node lets id dial first: nothing when its own id is the smaller one.
func (t *candidates) yield(id peer.ID) time.Duration {
	if t.self < id {
		return 0
	}
	return yield + t.random(yield)
}

// keep returns the connected peers that nobody may trim: those of this node's own choice.
func (t *candidates) keep() []peer.ID {
	var ids []peer.ID
	for id, c := range t.byPeer {
		if c.chosen {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int { return cmp.Compare(a, b) })
	return ids
}
