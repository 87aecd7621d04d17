package liveness

import (
	"cmp"
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
}

// Transition is one change of a member's status.
type Transition struct {
	Owner    wire.ID
	From, To Status  // From is the zero Status when the owner was not in the table
	Phi      float64 // just before the change
	Reason   string  // evidence, for people: "no beat for 2.1s", "connection refused", "said it leaves", "restarted"
	At       time.Time
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

// cause is why a member is suspect.
type cause uint8

const (
	silent     cause = iota // watched, and its beats stopped
	far                     // not watched, and no proof of life was relayed
	refused                 // watched, connection lost, nothing listens on its port
	unanswered              // watched, connection lost, the redial got no answer
)

// member is what the table holds per owner: about 500 bytes, and 200 more while it is watched. What Tick reads comes first.
type member struct {
	owner    wire.ID
	status   Status
	cause    cause     // while suspect
	quiet    time.Time // start of the silence: the newest proof of life, or first sight; moved on over this node's own sleep
	deadline time.Time // while suspect: dead from here on
	arrivals *arrivals // nil: not watched

	verifier verifier    // of the digest's chain
	digest   wire.Digest // the newest

	nextNamed *member // shares the anchor's name
	named     bool    // reachable through Table.names

	since     time.Time
	heard     time.Time // Member.Heard
	beatAt    time.Time // arrival of the newest beat
	relayedAt time.Time // zero: never, or the next beat is urgent
	unrelayed bool      // the newest beat was not relayed yet
}

func (m *member) proof() Proof {
	return Proof{m.digest.Generation, m.digest.Version, m.verifier.index}
}
