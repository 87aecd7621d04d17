package liveness

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var (
	// ErrFull: the table holds MaxMembers others already.
	ErrFull = errors.New("liveness: member table is full")
	// ErrClockwork: the beat interval or chain length of a digest is out of range.
	ErrClockwork = errors.New("liveness: beat clockwork out of range")
)

// Table is the member table of one network as one node sees it. The zero Table is not usable.
//
// It is not safe for concurrent use. Every method that takes now expects it never to go back (an earlier now counts as the
// latest one) and Tick to be called at Due, within 100 ms or so, and else at least twice in the pause that counts as sleep. When
// more than BeatInterval, within 300 .. 700 ms, passes between two inputs, this process itself was stopped, and nobody could be
// heard: the silence of all members and all deadlines move on by the pause, so that a node that wakes up accuses nobody for it.
//
// What its owner does with it, beside giving it what comes in:
//
//	when it is Due Tick; then Suspects: write a changed list; Probes: ask; MustSign: sign a digest
//	each own beat  RelayTo every neighbour; sooner for whom Urgent says so
type Table struct {
	cfg      Config
	self     wire.ID
	members  map[wire.ID]*member
	order    []*member          // all members by owner
	names    map[uint32]*member // by anchor name, a list through nextNamed
	sources  map[wire.ID]source
	counts   [statuses]int // members by status
	period   time.Duration // the background period for these counts
	judgeAt  time.Time     // nothing changes by itself before it; zero: look at all
	due      []time.Time   // the same of each member, by its place in order, unless judgeAt is zero
	forgetAt time.Time     // nobody is to be forgotten before it
	seldomAt time.Time     // when all are looked at, the dead too
	counters Counters
	last     time.Time // of the newest input
	begun    time.Time // when the table was made
	health   health

	dockets   map[wire.ID]*docket // accusations by accused, members or not
	mine      []wire.ID           // whom this node accuses, longest first
	unlisted  int                 // live members whom it would accuse besides
	published []Accusation        // what of that is in this node's state
	list      []Accusation        // mine with the proofs, as of the last Suspects
	listOld   bool                // something has changed about it since
	probes    []Probe             // that Probes has not returned yet
	signed    time.Time           // until when MustSign is not true again

	urgents   []urgent // at most wire.MaxFrameBeats
	urgentSeq uint64
	credit    float64 // bytes that may be relayed
	earned    time.Time
	dueAt     time.Time
	dueList   []*member
}

// Counters count what happened since New. Each input counts once: a digest in one of the Digests fields, a beat in one of
// the Beats fields.
type Counters struct {
	DigestsNewer     uint64 // larger than what was held, or the first of its owner
	DigestsStale     uint64
	DigestsFull      uint64 // refused with ErrFull
	DigestsClockwork uint64 // refused with ErrClockwork

	BeatsFresh      uint64
	BeatsStale      uint64
	BeatsUnknown    uint64 // no digest held carries the anchor
	BeatsForged     uint64 // refused with ErrForged
	BeatsOverBudget uint64 // not checked: the source had spent its hashes

	Hashes         uint64 // spent on beats
	NamesCrowded   uint64 // chains that only their owner can beat on, because MaxSharing others use the anchor's name
	SourcesFull    uint64 // neighbours not remembered because MaxSources were
	BeatsRelayed   uint64
	Slept          uint64 // pauses of this process that were forgiven to the members
	Suspected      uint64 // members that became suspect
	Died           uint64 // members that became dead
	Departed       uint64 // members that became left
	Refuted        uint64 // suspicions and deaths ended by a larger proof of life of the same generation: false ones, mostly
	Resurrected    uint64 // the deaths among Refuted
	Restarted      uint64 // members that came with a larger generation
	Forgotten      uint64
	RedialsIgnored uint64 // failed redials of a neighbour that had come back, or of one that was not watched

	Accusations      uint64 // taken into the table, of all accusers
	AccusationsEarly uint64 // refuted by one of the next beats: the accused had not been silent
	AccusationsFalse uint64 // whose preimage was none
	AccusationsFull  uint64 // own ones not made because the list was full; one may count with every Tick
	AccusersIgnored  uint64 // times that an accuser was ignored for Probation, because too many of its accusations came early
	AccusersUnknown  uint64 // lists of who is no member
	Probes           uint64
	ProbesFull       uint64 // put off because MaxProbes wait to be asked
	SignedToRefute   uint64 // times that MustSign was true
	UrgentDropped    uint64 // refutations that not all neighbours got at once, because there were too many
}

// New returns the empty table of the node self. The error is that of Config.Validate.
func New(cfg Config, self wire.ID, now time.Time) (*Table, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Table{
		cfg:     cfg,
		self:    self,
		members: map[wire.ID]*member{},
		names:   map[uint32]*member{},
		sources: map[wire.ID]source{},
		dockets: map[wire.ID]*docket{},
		period:  cfg.backgroundPeriod(0),
		last:    now,
		begun:   now,
		earned:  now,
	}, nil
}

// Digest takes the digest of an owner on the topic "members" after its signature was checked and the state engine has
// applied it; this node's own digests too, so that it is a member that is never judged by its silence. One that is not newer
// than the one held changes nothing. A larger one is a larger proof of life, wherever it came from.
//
// heard is when the owner was known to be alive, for Member.Heard and ForgetCandidates: now for a digest that came by rumor, now
// minus the age that came with it for one from a sync, the stored stamp for one from disk, zero when unknown. A stamp in
// the future counts as now.
//
// Errors: ErrFull, ErrClockwork; nothing has changed then.
func (t *Table) Digest(d wire.Digest, heard, now time.Time) ([]Transition, error) {
	now = t.observe(now)
	if err := checkClockwork(&d); err != nil {
		t.counters.DigestsClockwork++
		return nil, err
	}
	m := t.members[d.Owner]
	switch {
	case m == nil && len(t.order) >= MaxMembers:
		t.counters.DigestsFull++
		return nil, ErrFull
	case m == nil:
		m = t.add(d.Owner, now)
	case d.Compare(&m.digest) <= 0:
		t.counters.DigestsStale++
		return nil, nil
	}
	t.counters.DigestsNewer++
	phi, _ := t.phi(m, now)
	restarted := m.status != 0 && d.Generation > m.digest.Generation
	if restarted {
		t.counters.Restarted++
		m.arrivals = nil // of the process that was
	}
	before := m.proof()
	t.adopt(m, d)
	m.quiet = now
	t.proved(m, before, now)
	if heard.After(now) {
		heard = now
	}
	if heard.After(m.heard) {
		m.heard = heard
	}
	switch {
	case d.Status == wire.Leaving:
		return t.become(m, Left, why{phi: phi, reason: "said it leaves"}, now), nil
	case m.status == 0:
		return t.become(m, Alive, why{reason: "first seen"}, now), nil
	case m.status == Alive:
		return nil, nil
	case restarted:
		return t.become(m, Alive, why{phi: phi, reason: "restarted"}, now), nil
	case m.status == Left:
		return t.become(m, Alive, why{phi: phi, reason: "says it runs again"}, now), nil
	default:
		return t.revive(m, phi, wire.ID{}, fmt.Sprintf("version %d came", d.Version), now), nil
	}
}

func checkClockwork(d *wire.Digest) error {
	if d.BeatAnchor == (wire.Anchor{}) {
		return nil // does not beat; interval and length are not looked at
	}
	if d.BeatInterval < wire.MinBeatInterval || d.BeatInterval > wire.MaxBeatInterval ||
		d.BeatLength == 0 || d.BeatLength > wire.MaxBeats {
		return fmt.Errorf("%w: interval %v, length %d", ErrClockwork, d.BeatInterval, d.BeatLength)
	}
	return nil
}

func (t *Table) add(owner wire.ID, now time.Time) *member {
	m := &member{owner: owner, known: now, docket: t.dockets[owner]}
	i, _ := t.find(owner)
	t.order = slices.Insert(t.order, i, m)
	t.members[owner] = m
	return m
}

func (t *Table) find(owner wire.ID) (int, bool) {
	return slices.BinarySearchFunc(t.order, owner, func(m *member, id wire.ID) int { return m.owner.Compare(id) })
}

// adopt makes d the digest of m. Beats checked under the same chain go on counting.
func (t *Table) adopt(m *member, d wire.Digest) {
	sameChain := d.BeatAnchor == m.digest.BeatAnchor && d.Generation == m.digest.Generation && d.BeatLength == m.digest.BeatLength
	if m.arrivals != nil && d.BeatInterval != m.digest.BeatInterval {
		m.arrivals = newArrivals(d.BeatInterval, m.arrivals.last)
	}
	if !sameChain {
		t.unname(m)
	}
	m.digest = d
	t.judgeAt = time.Time{} // its interval may be shorter now
	if !sameChain {
		m.verifier, m.seed = newVerifier(&d), 0
		m.unrelayed, m.targets = false, nil
		t.name(m)
	}
}

// Forget removes the owner and reports whether it was there. This node itself is never forgotten. A later digest of the
// owner puts it back, as if first seen: keeping old ones out is up to the caller.
func (t *Table) Forget(owner wire.ID) bool {
	i, found := t.find(owner)
	if !found || owner == t.self {
		return false
	}
	m := t.order[i]
	t.unname(m)
	t.withdraw(m)
	t.relist(m)
	t.forgetAccuser(m)
	t.recount(m.status, 0)
	m.status = 0
	t.order = slices.Delete(t.order, i, i+1)
	delete(t.members, owner)
	t.counters.Forgotten++
	return true
}

// ForgetCandidates returns, in order of owner, the members without proof of life for ForgetAfter that are dead or have left, and
// those for which this node has waited in vain for six intervals besides: one that came when others were about to
// forget a dead member finds no quorum against it any more.
func (t *Table) ForgetCandidates(now time.Time) []wire.ID {
	if now.Before(t.forgetAt) {
		return nil
	}
	t.forgetAt = now.Add(t.cfg.ForgetAfter)
	var ids []wire.ID
	for _, m := range t.order {
		if m.owner == t.self {
			continue
		}
		known := m.heard
		if known.IsZero() {
			known = m.since
		}
		at := known.Add(t.cfg.ForgetAfter)
		if over := m.quiet.Add(forgetIntervals * t.interval(m)); (m.status == Alive || m.status == Suspect) && over.After(at) {
			at = over
		}
		if now.After(at) {
			ids = append(ids, m.owner)
			t.forgetAt = time.Time{} // until it is
		} else if at.Before(t.forgetAt) {
			t.forgetAt = at
		}
	}
	return ids
}

// Members returns a snapshot of all members, this node included once its digest was given, in order of owner.
func (t *Table) Members(now time.Time) []Member {
	all := make([]Member, len(t.order))
	for i, m := range t.order {
		phi, _ := t.phi(m, now)
		all[i] = Member{
			Owner:      m.owner,
			Status:     m.status,
			Phi:        phi,
			Heard:      m.heard,
			Generation: m.digest.Generation,
			Version:    m.digest.Version,
			BeatIndex:  m.verifier.index,
			Neighbour:  t.sources[m.owner].neighbour,
			Since:      m.since,
			Clock:      m.clock.offset,
			ClockKnown: m.clock.known,
			Accusers:   t.accusers(m, now),
			Refuter:    m.refuter,
			Refuted:    m.refuted,
		}
	}
	return all
}

// Proof returns the newest proof of life known of owner; ok is false when it is not in the table.
func (t *Table) Proof(owner wire.ID) (p Proof, ok bool) {
	m := t.members[owner]
	if m == nil {
		return Proof{}, false
	}
	return m.proof(), true
}

// Heard returns when the newest proof of life of owner came; zero: never, or it is not in the table.
func (t *Table) Heard(owner wire.ID) time.Time {
	if m := t.members[owner]; m != nil {
		return m.heard
	}
	return time.Time{}
}

// Status returns the status of owner; 0: it is not in the table.
func (t *Table) Status(owner wire.ID) Status {
	if m := t.members[owner]; m != nil {
		return m.status
	}
	return 0
}

// Count returns how many members have the status.
func (t *Table) Count(s Status) int { return t.counts[min(s, statuses-1)] }

// Counters returns what was counted so far.
func (t *Table) Counters() Counters { return t.counters }
