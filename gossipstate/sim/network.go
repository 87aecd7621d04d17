package sim

import (
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// edge is one link of the overlay, whether or not it stands.
type edge struct {
	s       *Sim
	nodes   [2]*node
	at      [2]int // its place in the edges of each node
	latency time.Duration
	conn    *conn // the newest; nil before the first
	dials   int   // counts them: only the newest goes on
}

func (s *Sim) link(a, b *node) {
	e := &edge{s: s, nodes: [2]*node{a, b}, at: [2]int{len(a.edges), len(b.edges)}}
	e.latency = s.cfg.Latency/2 + s.within(s.cfg.Latency)
	a.edges = append(a.edges, e)
	b.edges = append(b.edges, e)
	s.edges = append(s.edges, e)
}

// delay is the time that one frame takes.
func (e *edge) delay() time.Duration { return e.latency + e.s.within(e.s.cfg.Jitter) }

// side is the end of e at which n is.
func (e *edge) side(n *node) int {
	if e.nodes[0] == n {
		return 0
	}
	return 1
}

// dial tries to set the link up in d, and again until one side is down or it stands.
func (e *edge) dial(d time.Duration) {
	e.dials++
	dial := e.dials
	e.s.after(d, nil, func() {
		a, b := e.nodes[0].proc, e.nodes[1].proc
		switch {
		case e.dials != dial || a == nil || b == nil || e.stands():
		case e.s.separated(e.nodes[0], e.nodes[1]):
			e.redial()
		default:
			e.s.after(2*e.delay(), nil, func() { e.dialled(dial, a, b) }) // a handshake
		}
	})
}

func (e *edge) redial() { e.dial(e.s.cfg.Redial/2 + e.s.within(e.s.cfg.Redial)) }

func (e *edge) dialled(dial int, a, b *process) {
	switch {
	case e.dials != dial || !a.running() || !b.running():
	case e.s.separated(e.nodes[0], e.nodes[1]):
		e.redial()
	default:
		e.drop() // what is left of the one before
		e.conn = &conn{edge: e, procs: [2]*process{a, b}}
		for side, p := range e.conn.procs {
			e.conn.up[side] = true
			e.conn.links[side] = p.connected(e, e.conn, side)
		}
	}
}

// stands says whether both sides have the newest connection.
func (e *edge) stands() bool { return e.conn != nil && e.conn.up[0] && e.conn.up[1] }

// drop ends the connection at both sides at once.
func (e *edge) drop() {
	if e.conn != nil {
		e.conn.lose(0)
		e.conn.lose(1)
	}
}

// conn is one connection between two processes.
type conn struct {
	edge    *edge
	procs   [2]*process
	links   [2]*link
	up      [2]bool // as that side sees it
	streams []*stream
}

// loseIn has a side notice in d that the connection is gone.
func (c *conn) loseIn(d time.Duration, side int) {
	c.edge.s.after(d, c.procs[side], func() { c.lose(side) })
}

// lose ends the connection at one side; the other notices in its own time. Discovery then restores the link.
func (c *conn) lose(side int) {
	if !c.up[side] {
		return
	}
	c.up[side] = false
	if !c.procs[side].running() {
		return
	}
	for _, st := range slices.Clone(c.streams) {
		st.ended(side, false)
	}
	c.procs[side].disconnected(c.links[side])
	c.edge.redial()
}

// gone follows the end of the process at one side. Killed, it says nothing; stopped in good order it closes the connection.
func (c *conn) gone(side int, orderly bool) {
	if c.up[1-side] && c.procs[1-side].running() {
		switch separated := c.edge.s.separated(c.edge.nodes[0], c.edge.nodes[1]); {
		case !separated && (orderly || c.edge.s.cfg.Resets):
			c.loseIn(c.edge.delay(), 1-side)
		default:
			c.loseIn(c.edge.s.cfg.IdleTimeout, 1-side)
		}
	}
	c.up[side] = false
}

// separated says whether nothing can pass between a and b.
func (s *Sim) separated(a, b *node) bool {
	return s.sides != nil && s.sides[a.index] != s.sides[b.index]
}

// Partition cuts the network into groups of nodes between which nothing passes; nodes that are in no group form one of
// their own. Connections across end after Config.IdleTimeout, unless it was healed before. It replaces an earlier one.
func (s *Sim) Partition(groups ...[]int) {
	s.sides = make([]int, len(s.nodes))
	for i, group := range groups {
		for _, node := range group {
			s.sides[node] = i + 1
		}
	}
	s.changeSides()
	for _, e := range s.edges {
		if e.conn != nil && s.separated(e.nodes[0], e.nodes[1]) {
			s.loseParted(e.conn)
		}
	}
}

// loseParted ends a connection at both sides when nothing has passed over it for IdleTimeout.
func (s *Sim) loseParted(c *conn) {
	cut := s.cuts
	s.after(s.cfg.IdleTimeout, nil, func() {
		if s.cuts == cut {
			c.lose(0)
			c.lose(1)
		}
	})
}

// Heal ends the partition. Links come back as they are dialled again.
func (s *Sim) Heal() {
	s.sides = nil
	s.changeSides()
}

func (s *Sim) changeSides() {
	s.cuts++
	s.parted = s.clock
}

// path says whether beats can reach b from a over members that run: over standing links, in any number of hops.
func (s *Sim) path(a, b *node) bool {
	reached := map[*node]bool{a: true}
	for next := []*node{a}; len(next) > 0; next = next[1:] {
		if next[0] == b {
			return true
		}
		for _, e := range next[0].edges {
			other := e.nodes[1-e.side(next[0])]
			if !reached[other] && !other.follows && e.stands() && other.proc != nil && !other.isFrozen() && !s.separated(next[0], other) {
				reached[other] = true
				next = append(next, other)
			}
		}
	}
	return false
}

// link is what a process knows about one connected peer.
type link struct {
	conn  *conn
	side  int // ours
	peer  *node
	owner gossipstate.ID
	linkState
}

// other is the end of l that is not ours.
func (l *link) other() int { return 1 - l.side }
