package sim

import (
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Counters count what one node did since the start of the run, over all its processes. Bytes are those sent, in the wire's
// own encoding.
type Counters struct {
	Rumors, RumorBytes    uint64
	Syncs                 uint64 // sessions begun, pulls and leaving included
	SyncFrames, SyncBytes uint64
	Beats, BeatBytes      uint64 // frames
	BeatsForged           uint64 // taken for forged: a chain not known yet may have the same name

	Accusations uint64 // lists published
	Refutations uint64 // digests signed because a quorum accused it
	Probes      uint64 // asked of neighbours
	Dials       uint64 // of members that were silent

	SyncsEqual, SyncsRepaired, SyncsFailed uint64 // as their initiator saw them
	SyncsRefused                           uint64 // of others
	Pulls                                  uint64

	Applied                       [paths]uint64 // by rumor, sync, beat
	Stale, Gaps, Mismatches, Full uint64
	OwnerUnknown, OverRate        uint64
	OwnNewer                      uint64 // digests of its own that it did not sign
	Forgotten                     uint64 // updates of owners that were forgotten
}

// Bytes is everything that was sent.
func (c *Counters) Bytes() uint64 { return c.RumorBytes + c.SyncBytes + c.BeatBytes }

// Counters are those of one node.
func (s *Sim) Counters(node int) Counters { return s.nodes[node].Counters }

// Total sums the counters of all nodes.
func (s *Sim) Total() Counters {
	var t Counters
	for _, n := range s.nodes {
		c := &n.Counters
		t.Rumors, t.RumorBytes = t.Rumors+c.Rumors, t.RumorBytes+c.RumorBytes
		t.Syncs, t.SyncFrames, t.SyncBytes = t.Syncs+c.Syncs, t.SyncFrames+c.SyncFrames, t.SyncBytes+c.SyncBytes
		t.Beats, t.BeatBytes, t.BeatsForged = t.Beats+c.Beats, t.BeatBytes+c.BeatBytes, t.BeatsForged+c.BeatsForged
		t.Accusations, t.Refutations = t.Accusations+c.Accusations, t.Refutations+c.Refutations
		t.Probes, t.Dials = t.Probes+c.Probes, t.Dials+c.Dials
		t.SyncsEqual, t.SyncsRepaired = t.SyncsEqual+c.SyncsEqual, t.SyncsRepaired+c.SyncsRepaired
		t.SyncsFailed += c.SyncsFailed
		t.SyncsRefused, t.Pulls = t.SyncsRefused+c.SyncsRefused, t.Pulls+c.Pulls
		for i := range t.Applied {
			t.Applied[i] += c.Applied[i]
		}
		t.Stale, t.Gaps, t.Mismatches, t.Full = t.Stale+c.Stale, t.Gaps+c.Gaps, t.Mismatches+c.Mismatches, t.Full+c.Full
		t.Forgotten += c.Forgotten
		t.OwnerUnknown, t.OverRate, t.OwnNewer = t.OwnerUnknown+c.OwnerUnknown, t.OverRate+c.OverRate, t.OwnNewer+c.OwnNewer
	}
	return t
}

// Spread says how rumors spread since ResetSpread.
type Spread struct {
	Published uint64
	First     uint64        // arrivals of a rumor at a node for the first time
	Redundant uint64        // arrivals of one that the node had
	Hops      uint64        // sum over First
	MaxHops   int           // of First
	Slowest   time.Duration // of First, from its publication
}

func (sp *Spread) count(hops int, took time.Duration) {
	sp.First++
	sp.Hops += uint64(hops)
	sp.MaxHops = max(sp.MaxHops, hops)
	sp.Slowest = max(sp.Slowest, took)
}

// Spread is how rumors have spread since ResetSpread.
func (s *Sim) Spread() Spread { return s.spread }

// ResetSpread begins to count anew.
func (s *Sim) ResetSpread() { s.spread = Spread{} }

// Seen is one change of a member's status as one node saw it.
type Seen struct {
	At         time.Duration
	By, Member int // nodes
	From, To   liveness.Status
	Generation wire.Generation // of the member, as By knew it
}

// maxSeen bounds the changes kept between two calls of Transitions. More are dropped.
const maxSeen = 1 << 22

// Transitions returns the changes of members' statuses since the last call, in order, and forgets them.
func (s *Sim) Transitions() []Seen {
	seen := s.seen
	s.seen = nil
	return seen
}

// Up says whether the node's process runs, frozen or not.
func (s *Sim) Up(node int) bool { return s.nodes[node].proc != nil }

// Published says whether the node runs and has published itself.
func (s *Sim) Published(node int) bool {
	p := s.nodes[node].proc
	return p != nil && p.me.published
}

// Generation is the one of the node's newest process; 0 before its first start.
func (s *Sim) Generation(node int) wire.Generation { return s.nodes[node].disk.generation }

// View is one row of a node's member table.
type View struct {
	Node int // the member
	liveness.Member
}

// Members is the member table of a node, sorted by node; nil when it is down.
func (s *Sim) Members(node int) []View {
	p := s.nodes[node].proc
	if p == nil {
		return nil
	}
	var views []View
	for _, m := range p.live.Members(s.now()) {
		views = append(views, View{s.byID[m.Owner].index, m})
	}
	slices.SortFunc(views, func(a, b View) int { return a.Node - b.Node })
	return views
}

// Count is how many members have the status in the node's table, itself included; 0 when it is down.
func (s *Sim) Count(node int, status liveness.Status) int {
	if p := s.nodes[node].proc; p != nil {
		return p.live.Count(status)
	}
	return 0
}

// Liveness are the counters of a node's failure detector; zero when it is down.
func (s *Sim) Liveness(node int) liveness.Counters {
	if p := s.nodes[node].proc; p != nil {
		return p.live.Counters()
	}
	return liveness.Counters{}
}

// Get is what the node reads under key on Main, in the merged view or, for a key that is its writer's alone, of owner.
// ok is false when there is none, or the node is down.
func (s *Sim) Get(node int, key string, owner int) (value string, ok bool) {
	p := s.nodes[node].proc
	if p == nil {
		return "", false
	}
	state := p.topic[mainTopic].state
	rec := state.Get(key)
	if !gossipstate.Shared(Main, key) {
		rec = state.GetOwned(s.nodes[owner].id, key)
	}
	if !rec.Live() {
		return "", false
	}
	return string(rec.Entry.Value), true
}

// State is the node's copy of Main; nil when it is down. It is not to be changed.
func (s *Sim) State(node int) *gossipstate.State {
	if p := s.nodes[node].proc; p != nil {
		return p.topic[mainTopic].state
	}
	return nil
}

// Fingerprints are those of the nodes that run, on members and Main.
func (s *Sim) Fingerprints() map[int][2][32]byte {
	all := map[int][2][32]byte{}
	for _, n := range s.nodes {
		if n.proc != nil {
			all[n.index] = [2][32]byte{n.proc.topic[members].state.Fingerprint(), n.proc.topic[mainTopic].state.Fingerprint()}
		}
	}
	return all
}

// Converged says whether nodes run, all of them have published themselves, and they hold the same.
func (s *Sim) Converged() bool {
	var first *process
	for _, n := range s.nodes {
		p := n.proc
		switch {
		case p == nil:
		case !p.me.published && !n.follows:
			return false
		case first == nil:
			first = p
		default:
			for i, t := range p.topic {
				if t.sum != first.topic[i].sum {
					return false
				}
			}
		}
	}
	return first != nil
}
