package liveness

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// docket is all that is held against one owner.
type docket struct {
	charges []charge // in order of accuser
}

// charge is one accusation with its accuser.
type charge struct {
	by *member
	Accusation
	false bool // its preimage is none: it never counts
}

func (d *docket) find(by wire.ID) (int, bool) {
	return slices.BinarySearchFunc(d.charges, by, func(c charge, id wire.ID) int { return c.by.owner.Compare(id) })
}

// Accuses takes the list of an accuser under SuspectsKey when it has changed: nil when the key is gone, or with it the copy
// of the accuser. The list of this node itself too, once it is in its state: see Suspects. Its digest comes before, by
// Digest: from who is no member nothing is taken. A list is at most MaxAccusations long; the rest is cut off.
func (t *Table) Accuses(accuser wire.ID, list []Accusation, now time.Time) []Transition {
	now = t.observe(now)
	list = list[:min(len(list), MaxAccusations)]
	if accuser == t.self {
		t.published = slices.Clone(list)
		return nil
	}
	by := t.members[accuser]
	if by == nil {
		t.counters.AccusersUnknown++
		return nil
	}
	var touched []wire.ID
	for i := range by.accuses { // what is withdrawn
		owner := by.accuses[i].Owner
		if !slices.ContainsFunc(list, func(a Accusation) bool { return a.Owner == owner }) {
			t.drop(owner, by)
			touched = append(touched, owner)
		}
	}
	for i := range list {
		if list[i].Owner == accuser || slices.Contains(by.accuses, list[i]) {
			continue
		}
		t.charge(by, list[i], now)
		touched = append(touched, list[i].Owner)
	}
	by.accuses = slices.Clone(list)
	var all []Transition
	slices.SortFunc(touched, wire.ID.Compare)
	for _, owner := range touched {
		if m := t.members[owner]; m != nil {
			all = append(all, t.judge(m, now)...)
		}
	}
	return all
}

// charge notes that by accuses.
func (t *Table) charge(by *member, a Accusation, now time.Time) {
	t.counters.Accusations++
	t.judgeAt = time.Time{}
	d := t.dockets[a.Owner]
	if d == nil {
		d = &docket{}
		t.dockets[a.Owner] = d
		if m := t.members[a.Owner]; m != nil {
			m.docket = d
		}
	}
	i, found := d.find(by.owner)
	if !found {
		d.charges = slices.Insert(d.charges, i, charge{})
	}
	d.charges[i] = charge{by: by, Accusation: a}
	m := t.members[a.Owner]
	if m == nil {
		return
	}
	t.learn(m, now)
	if i, found = d.find(by.owner); !found { // this node may have withdrawn its own charge on the way: other indices hold then
		return
	}
	if c := &d.charges[i]; !c.false && t.exceeds(m, c) {
		t.strike(c, m, now)
		t.hurry(m)
	}
}

// drop removes what by holds against owner.
func (t *Table) drop(owner wire.ID, by *member) {
	d := t.dockets[owner]
	if d == nil {
		return
	}
	t.judgeAt = time.Time{}
	if i, found := d.find(by.owner); found {
		d.charges = slices.Delete(d.charges, i, i+1)
	}
	if len(d.charges) == 0 {
		delete(t.dockets, owner)
		if m := t.members[owner]; m != nil {
			m.docket = nil
		}
	}
}

// forgetAccuser removes everything that by holds against anybody.
func (t *Table) forgetAccuser(by *member) {
	for i := range by.accuses {
		t.drop(by.accuses[i].Owner, by)
	}
	by.accuses = nil
}

// learn takes from the accusations against m the newest beat that is proved there. It is no sign of life now, only of the time
// before somebody accused: it ends no silence of a watched member.
func (t *Table) learn(m *member, now time.Time) {
	if m.docket == nil || m.owner == t.self {
		return
	}
	for i := 0; i < len(m.docket.charges); i++ { // one may be withdrawn on the way
		c := &m.docket.charges[i]
		if c.false || c.Last.Generation != m.digest.Generation || c.Last.Version != m.digest.Version || c.Last.Index < m.verifier.index {
			continue
		}
		if c.Last.Index == m.verifier.index {
			c.false = c.Last.Index > 0 && c.Preimage != m.verifier.preimage
			if c.false {
				t.counters.AccusationsFalse++
			}
			continue
		}
		b := wire.Beat{Index: c.Last.Index, Preimage: c.Preimage}
		if c.Last.Index <= m.verifier.length && !t.spend(c.by.owner, m.verifier.distance(c.Last.Index), now) {
			continue // tried again with the next Tick
		}
		if !m.verifier.proves(b) {
			c.false = true
			t.counters.AccusationsFalse++
			continue
		}
		before := m.proof()
		m.verifier.advance(b)
		m.unrelayed = true
		m.suspected = now
		if m.arrivals == nil {
			m.quiet = now
		}
		t.renewOwn(m, before)
	}
}

// renewOwn has the accusation of this node, if it stood at before, stand at the newest beat, which another accuser had. When that
// is much later, this node had been wrong: it begins anew.
func (t *Table) renewOwn(m *member, before Proof) {
	c := t.own(m)
	if c == nil || c.Last != before {
		return
	}
	if m.verifier.index-before.Index > MissedBeats {
		t.withdraw(m)
		return
	}
	c.Last, c.Preimage, t.listOld = m.proof(), m.newest(), true
}

// exceeds says whether the proof of life known of m refutes c.
func (t *Table) exceeds(m *member, c *charge) bool {
	if m.owner == t.self { // its newest beats are not given to its own table, its digests are
		return cmp.Or(cmp.Compare(c.Last.Generation, m.digest.Generation), cmp.Compare(c.Last.Version, m.digest.Version)) < 0
	}
	return m.proof().Compare(c.Last) > 0
}

// standing says whether c counts as far as the proofs of life go: it names the newest that is known. One that names a larger
// counts when that is known too, which the accusation itself or a digest under way will see to.
func (t *Table) standing(m *member, c *charge) bool {
	if m.owner == t.self {
		return c.Last.Generation == m.digest.Generation && c.Last.Version == m.digest.Version
	}
	return !c.false && c.Last == m.proof()
}

// proved follows a larger proof of life of m than before, which came from the peer from.
func (t *Table) proved(m *member, before Proof, now time.Time) {
	if p := m.proof(); p.Generation != before.Generation || p.Version != before.Version || p.Index > m.lostAt {
		m.grounds = none
	}
	if !m.hold.IsZero() {
		t.judgeAt = time.Time{}
	}
	m.probe, m.hold, m.reprieved = nil, time.Time{}, false
	t.relist(m)
	if m.docket == nil {
		return
	}
	for i := range m.docket.charges {
		if c := &m.docket.charges[i]; c.Last == before && !c.false {
			t.strike(c, m, now)
			t.hurry(m)
		}
	}
	t.withdraw(m)
	t.learn(m, now)
}

// strike notes that c was refuted. When m had beaten on all the while, as the number of the beat shows, it costs the accuser
// its credit: nobody who has missed MissedBeats can be refuted by an earlier one. An honest accuser gets a few, from links
// that broke. The measure takes no clock, so that all who see the beats agree.
func (t *Table) strike(c *charge, m *member, now time.Time) {
	p := m.proof()
	if m.owner == t.self || c.Last.Generation != p.Generation || c.Last.Version != p.Version || p.Index >= c.Last.Index+MissedBeats {
		return
	}
	t.counters.AccusationsEarly++
	by := c.by
	if by.owner == t.self {
		t.health.worse(now)
		return
	}
	if now.Sub(by.struck) > Probation {
		by.struck, by.strikes = now, 0
	}
	by.strikes++
	if by.strikes == maxStrikes {
		by.ignored = now.Add(Probation)
		t.counters.AccusersIgnored++
	}
}
