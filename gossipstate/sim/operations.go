package sim

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	leavePeers   = 3 // peers that must have heard it
	leaveTimeout = 5 * time.Second
)

// Set gives key a new value in the node's own namespace on Main. Errors: ErrNotRunning and those of
// gossipstate.State.Prepare.
func (s *Sim) Set(node int, key, value string) error {
	return s.Write(node, gossipstate.Mutation{Key: key, Value: []byte(value)})
}

// Delete removes key, whoever wrote it. Errors as Set, and gossipstate.ErrNotFound when the node knows no such key.
func (s *Sim) Delete(node int, key string) error {
	return s.Write(node, gossipstate.Mutation{Key: key, Delete: true})
}

// Write applies mutations on Main as one change of the node's own namespace.
func (s *Sim) Write(node int, mutations ...gossipstate.Mutation) error {
	p := s.nodes[node].proc
	if p == nil || p.leaving != nil || s.nodes[node].isFrozen() {
		return ErrNotRunning
	}
	return p.commit(p.topic[mainTopic], mutations, s.now())
}

// Kill ends the node's process at once. What it wrote itself is on its disk, and what it learnt of others up to a second
// before. It does nothing to one that is down.
func (s *Sim) Kill(node int) {
	if p := s.nodes[node].proc; p != nil {
		p.stop(false)
	}
}

// Vanish is Kill of a node with its whole machine: nothing refuses a dial there.
func (s *Sim) Vanish(node int) {
	s.Kill(node)
	s.nodes[node].host = hostGone
}

// Slander has the node accuse everybody from now on, in turn and for the newest sign of life that it knows, whatever it has found.
func (s *Sim) Slander(node int) { s.nodes[node].slanders = true }

// ReplayBeats has the node put old beats that it was given into every frame of its beat streams.
func (s *Sim) ReplayBeats(node int) { s.nodes[node].replays = true }

// Restart starts the node again, killing what runs; with lostStore it finds nothing on its disk.
func (s *Sim) Restart(node int, lostStore bool) {
	s.Kill(node)
	n := s.nodes[node]
	if lostStore {
		n.disk = disk{}
		n.said.forget()
		n.lost = true
	}
	n.frozen, n.host = 0, hostUp
	s.start(n)
}

// Replace kills the node and starts another one in its place, with an identity and a disk of its own: the machine was set up
// anew. It returns the new node; the old one stays down for good.
func (s *Sim) Replace(node int) int {
	s.Kill(node)
	old := s.nodes[node]
	old.disk, old.host = disk{}, hostAnothers // nobody reads the disk again
	n := s.add(old.follows)
	n.edges, old.edges = old.edges, nil
	for _, e := range n.edges {
		e.nodes[e.side(old)] = n
	}
	if s.sides != nil {
		s.sides = append(s.sides, s.sides[node])
	}
	s.start(n)
	return n.index
}

// Freeze stops the node's process for d, as SIGSTOP does: what comes meanwhile waits.
func (s *Sim) Freeze(node int, d time.Duration) {
	n := s.nodes[node]
	n.frozen = max(n.frozen, s.clock+d)
	n.since = n.frozen
}

// SetClock has the node's wall clock stand so much ahead of the true time from now on, or behind it.
func (s *Sim) SetClock(node int, ahead time.Duration) { s.nodes[node].ahead = ahead }

// leaving is a process that is about to stop.
type leaving struct {
	told, asked, ended int
}

// Leave has the node say that it leaves, as on SIGTERM: it syncs with its peers until three know, all have been asked, or
// 5 s have passed, and stops.
func (s *Sim) Leave(node int) {
	p := s.nodes[node].proc
	if p == nil || p.leaving != nil {
		return
	}
	p.leaving = &leaving{}
	if !p.me.published { // nor a follower: nobody knows of it
		p.stop(true)
		return
	}
	p.me.status = wire.Leaving
	p.commitOwn(p.topic[members], p.acquitting(), s.now())
	for _, l := range p.links {
		if l != nil {
			p.leaving.asked++
		}
	}
	s.after(leaveTimeout, p, func() { p.stop(true) })
	last, _, _ := p.topic[members].state.Digest(p.node.id)
	for _, l := range p.links {
		if l != nil {
			p.startSession(l, &session{tell: last.Version, done: func(_ *session, ok bool) { p.told(ok) }})
		}
	}
	p.leftAlone()
}

func (p *process) told(ok bool) {
	p.leaving.ended++
	if ok {
		p.leaving.told++
	}
	p.leftAlone()
}

// leftAlone stops the process when enough peers know that it leaves.
func (p *process) leftAlone() {
	if l := p.leaving; p.running() && (l.told >= leavePeers || l.ended >= l.asked) {
		p.s.after(0, p, func() { p.stop(true) })
	}
}
