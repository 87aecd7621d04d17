package liveness

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Status is what this node thinks of a member. The zero Status: not in the table.
type Status uint8

const (
	// Alive: nothing speaks against it.
	Alive Status = iota + 1
	// Suspect: silent for too long, or unreachable; dead unless it proves itself alive in time.
	Suspect
	// Dead: it stays so until a larger proof of life.
	Dead
	// Left: it said so itself, in its signed digest.
	Left

	statuses = iota + 1
)

// String is the word users see, "" for the zero Status.
func (s Status) String() string {
	return [...]string{"", "alive", "suspect", "dead", "left"}[min(s, statuses-1)]
}

// Member is one row of the table, as of the time the snapshot was asked for.
type Member struct {
	Owner      wire.ID
	Status     Status
	Phi        float64   // dimensionless, >= 0, see the package comment; 0 for this node itself and for who left
	Heard      time.Time // when the newest proof of life came; zero: never
	Generation wire.Generation
	Version    wire.Version // of its state on the topic "members"
	BeatIndex  uint32       // newest beat under that version's anchor; 0: none
	Neighbour  bool         // beats run between it and this node
	Since      time.Time    // when it came into this status
	// Clock is how far its wall clock is ahead of this node's, less the time a beat travels; negative: behind. It is
	// known of members that beat to this node directly. It is for people: nothing is decided by it.
	Clock      time.Duration
	ClockKnown bool
	Accusers   []wire.ID // whose accusations stand, in order of owner, at most MaxNamed; nil: none
	Refuter    wire.ID   // who brought the proof of life that last ended a suspicion or death; zero: none ever did
	Refuted    time.Time // when that was
}

// Transition is one change of a member's status.
type Transition struct {
	Owner    wire.ID
	From, To Status  // From is the zero Status when the owner was not in the table
	Phi      float64 // just before the change, as this node measures it
	// Accusers are those whose accusations stand at a suspicion or death, in order of owner, at most MaxNamed. Nil otherwise.
	Accusers []wire.ID
	Timeout  time.Duration // of the suspicion that begins or has ended in death, as it is now; else 0
	Refuter  wire.ID       // who brought the larger proof of life that ends a suspicion or death; else zero
	Reason   string        // evidence, for people: "no beat for 2.1s", "connection refused", "said it leaves", "restarted"
	At       time.Time
}

// storyLength is how many of its last transitions a member's story holds.
const storyLength = 16

// tell adds a transition to the story of m.
func (m *member) tell(tr Transition) {
	if len(m.story) == storyLength {
		m.story = slices.Delete(m.story, 0, 1)
	}
	m.story = append(m.story, tr)
}

// Story returns the last transitions of a member, at most 16, oldest first; nil when it is not in the table.
func (t *Table) Story(owner wire.ID) []Transition {
	if m := t.members[owner]; m != nil {
		return slices.Clone(m.story)
	}
	return nil
}

// Proof is the newest sign of life of an owner: beat Index under the digest (Generation, Version). The zero Proof is none.
type Proof struct {
	Generation wire.Generation
	Version    wire.Version
	Index      uint32 // 0: the digest itself
}

// Compare orders proofs of one owner: negative when p is smaller, that is older, than other.
func (p Proof) Compare(other Proof) int {
	return cmp.Or(
		cmp.Compare(p.Generation, other.Generation),
		cmp.Compare(p.Version, other.Version),
		cmp.Compare(p.Index, other.Index),
	)
}

// cause is what this node itself has against a member.
type cause uint8

const (
	none       cause = iota
	silent           // watched, and its beats stopped
	far              // not watched, and no proof of life was relayed, or others accuse it
	refused          // watched, connection lost, nothing listens on its port
	unanswered       // watched, connection lost, the redial got no answer
)

// member is what the table holds per owner: about 500 bytes, and 200 more while it is watched. What Tick reads comes first.
type member struct {
	owner    wire.ID
	status   Status
	cause    cause     // of this node's own suspicion or accusation, if there is one
	quiet    time.Time // start of the silence: the newest proof of life, or first sight; moved on over this node's own sleep
	docket   *docket   // nil: nobody accuses it
	probe    *probing  // nil: nothing is asked about it
	arrivals *arrivals // nil: not watched

	verifier verifier    // of the digest's chain
	seed     uint64      // rankSeed; 0: not looked up since the chain began
	digest   wire.Digest // the newest

	nextNamed *member // shares the anchor's name
	named     bool    // reachable through Table.names

	since     time.Time
	heard     time.Time // Member.Heard
	beatAt    time.Time // arrival of the newest beat
	relayedAt time.Time // zero: never
	unrelayed bool      // the newest beat was not relayed yet
	targets   []wire.ID // neighbours that are to get a beat of it, at most RelayFanout
	bringer   wire.ID   // who brought the newest beat
	hurried   Proof     // the newest that went to all neighbours at once

	grounds   cause     // refused or unanswered: what a redial showed; else none
	lostAt    uint32    // with grounds: the newest beat that the member can have revealed before
	suspected time.Time // since when the suspicion counts; moved on over this node's own sleep
	hold      time.Time // no accusation before: the process answered
	reprieved bool      // that was granted since the newest proof of life
	unlisted  bool      // this node would accuse it, but its list is full

	known   time.Time    // when it was first seen
	accuses []Accusation // its own list
	struck  time.Time    // when strikes began to be counted
	strikes int          // its accusations that came too early
	ignored time.Time    // its accusations do not count before

	clock   clock
	refuter wire.ID
	refuted time.Time
	story   []Transition
}

// newest is the preimage of the newest beat known, zero if there is none.
func (m *member) newest() [16]byte {
	if m.verifier.index == 0 {
		return [16]byte{}
	}
	return m.verifier.preimage
}

func (m *member) proof() Proof {
	return Proof{m.digest.Generation, m.digest.Version, m.verifier.index}
}
