package replica

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// Value is one entry as a reader sees it. The zero Value is no entry. Its slices are shared: do not write to them.
type Value struct {
	Key         string
	Owner       peer.ID
	Value       []byte // nil when Deleted
	Clock       gossipstate.Clock
	Version     gossipstate.Version // the owner's version that wrote it
	ContentType string
	Written     time.Time // the owner's claim, zero when it made none
	Expires     time.Time // zero: never
	Deleted     bool
	Root        gossipstate.Root // of the owner's state that holds it
}

// Written says what a write did.
type Written struct {
	Value     Value
	PeersSent int // peers on the topic that the rumor was handed to; 0 is no error: anti-entropy brings it to the others
}

// WriteOptions refine Set and Delete. The zero value writes unconditionally and for ever.
type WriteOptions struct {
	ContentType string
	TTL         time.Duration      // 0: never expires; else at least 1 s
	IfClock     *gossipstate.Clock // write only while the key's clock here is this one, 0 meaning absent; else ConflictError
}

// ListOptions choose entries. The zero value lists the merged view of every live shared key.
type ListOptions struct {
	Prefix     string
	Owner      peer.ID // "": the merged view and, of keys without one, every owner's entry; else this owner's entries alone
	Tombstones bool    // include deleted keys that are still remembered
}

// EventKind says what an Event tells.
type EventKind uint8

const (
	// Put: the key has a new value.
	Put EventKind = iota + 1
	// Deleted: the key is gone.
	Deleted
	// Lost: Old, a value that somebody wrote, lost to New, whose writer need not have known of it: see Event.Why. It changes
	// nothing by itself: if New is new, its own Put or Deleted follows.
	Lost
	// Synced: the snapshot is complete; what follows are changes.
	Synced
	// Lagged: the reader was too slow, or resumed from too long ago; Missed events were dropped. A fresh snapshot and Synced
	// follow.
	Lagged
)

// Cause says what brought an Event.
type Cause string

// Causes. Others may come: treat what you do not know as news of a peer.
const (
	CauseWrite     Cause = "write"     // this node wrote
	CauseRumor     Cause = "rumor"     // a peer's rumor
	CauseSync      Cause = "sync"      // anti-entropy
	CauseImport    Cause = "import"    // an operator imported it
	CauseExpired   Cause = "expired"   // the life that its writer gave the value is over
	CauseForgotten Cause = "forgotten" // this replica holds the owner no more
)

// Event is one change of a topic as this replica saw it.
type Event struct {
	// Seq grows by one with every change of the topic, whatever a reader watches of it. It begins at the start of the process
	// in unix microseconds, so that the numbers of an earlier process are smaller.
	Seq    uint64
	Kind   EventKind
	Old    Value  // zero when there was none
	New    Value  // zero for Synced and Lagged; Deleted set for Deleted. Its Clock is the key's version, its Owner the origin
	Remote bool   // the change came from a peer
	Cause  Cause  // "" in a snapshot, and of Synced and Lagged
	Missed uint64 // of Lagged; 0: not known
}

// Why says, of Lost, for people, what decided; "" of others.
func (e *Event) Why() string {
	switch {
	case e.Kind != Lost:
		return ""
	case e.Old.Clock == e.New.Clock:
		return "same clock, higher id wins"
	default:
		return fmt.Sprintf("it came when version %d was here", e.New.Clock)
	}
}

// Digest sums up what a replica holds of one topic.
type Digest struct {
	Topic       string
	Fingerprint [32]byte // SHA-256 over the sorted (owner, generation, version, root): equal on replicas that agree
	Owners      int
	Keys        int // live keys of the merged view and of the owners' own
	Tombstones  int
	Bytes       int
}

// Agreement is what one member answered when it was asked for its digests.
type Agreement struct {
	Peer   peer.ID
	Digest Digest // of the member: topic, fingerprint and owners
	Behind int    // owners of which it holds less than this node
	Err    error  // not nil: it could not be asked
}

// Member is one owner as the failure detector sees it.
type Member struct {
	ID         peer.ID
	Name       string
	Self       bool
	Status     string // alive, suspect, dead, left
	Phi        float64
	Heard      time.Time // when the newest proof of life came; zero: never
	Generation gossipstate.Generation
	Version    gossipstate.Version // of its state on members
	Agent      string
	Tags       map[string]string
	Agrees     bool      // its last beat showed our fingerprints; meaningful for neighbours only
	Neighbour  bool      // beats run between it and this node
	Since      time.Time // when it came into this status
	Accusers   []peer.ID // whose accusations stand, at most liveness.MaxNamed; nil: none
	Refuter    peer.ID   // who brought the proof of life that last ended a suspicion or death; "": none did, or it came as state
	Refuted    time.Time // when that was; zero: never

	Equivocated bool // it is proved that it signed two histories: see Reader.Equivocation

	Clock      time.Duration // how far its wall clock is ahead of this node's; nothing is decided by it
	ClockKnown bool          // it has beaten to this node directly
}

// Transition is a change of a member's status.
type Transition struct {
	ID       peer.ID
	Name     string
	From, To string // "" in From: first seen
	Phi      float64
	Accusers []peer.ID     // at a suspicion or death: whose accusations stand, at most liveness.MaxNamed
	Timeout  time.Duration // of the suspicion that begins, or has ended in death; else 0
	Refuter  peer.ID       // at the end of a suspicion or death: who brought the larger proof of life; "" when it came as state
	Reason   string        // evidence, for people: "connection refused", "no beat for 2.1s", "said it leaves"
	At       time.Time
}
