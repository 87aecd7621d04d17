package sim

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Network is the name of the simulated network; Main the topic beside wire.Members that every node is on.
const (
	Network = "sim"
	Main    = "main"
)

// Sim is one simulated network. Make one with New; it is not safe for concurrent use.
type Sim struct {
	cfg   Config
	rng   *rand.Rand // of the network; each process has its own
	clock time.Duration
	queue queue
	seq   uint64
	nodes []*node
	byID  map[wire.ID]*node
	edges []*edge

	sides    []int         // partition that each node is in; nil: the network is whole
	parted   time.Duration // when that last changed
	cuts     int           // how often it did
	rumors   int           // published so far
	captured []*rumor      // while capture is set
	capture  bool
	verified map[[32]byte]*wire.Verified
	seen     []Seen
	spread   Spread

	breaks func(st *stream, side int) bool // whether a stream breaks instead of carrying its next frame from side; nil: no

	trace     uint64
	events    uint64
	violation *Violation
}

// New makes the network of cfg and has its nodes start with the first Run. The error is that of Config.Validate.
func New(cfg Config) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Sim{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), byID: map[wire.ID]*node{}, verified: map[[32]byte]*wire.Verified{},
	}
	for i := range cfg.Nodes {
		s.add(i >= s.members())
	}
	s.lay()
	for _, n := range s.nodes {
		s.after(s.within(cfg.StartSpread), nil, func() {
			if n.proc == nil {
				s.start(n)
			}
		})
	}
	return s, nil
}

// lay links the nodes: in one overlay of all, and where some follow, in another one of the members, over which they beat.
func (s *Sim) lay() {
	linked := map[[2]int]bool{}
	for _, pair := range overlay(s.cfg.Nodes, s.cfg.Degree, s.rng) {
		linked[pair] = true
		s.link(s.nodes[pair[0]], s.nodes[pair[1]])
	}
	if s.cfg.Followers == 0 {
		return
	}
	for _, pair := range overlay(s.members(), s.cfg.Degree, s.rng) {
		if !linked[pair] {
			s.link(s.nodes[pair[0]], s.nodes[pair[1]])
		}
	}
}

// add makes a further node.
func (s *Sim) add(follows bool) *node {
	n := newNode(s, len(s.nodes), follows)
	s.nodes = append(s.nodes, n)
	s.byID[n.id] = n
	return n
}

// members is how many nodes are, the first ones.
func (s *Sim) members() int { return s.cfg.Nodes - s.cfg.Followers }

// epoch is the wall time at which every run starts.
var epoch = time.Unix(1_700_000_000, 0).UTC()

func (s *Sim) now() time.Time { return epoch.Add(s.clock) }

// Now is the virtual time since the start.
func (s *Sim) Now() time.Duration { return s.clock }

// Events is how many events have happened.
func (s *Sim) Events() uint64 { return s.events }

// Trace is a hash of everything that has happened, in order: equal for equal runs.
func (s *Sim) Trace() uint64 { return s.trace }

// Run lets the network live until that time since the start. The error is a *Violation, the same at every later call.
func (s *Sim) Run(until time.Duration) error {
	for s.violation == nil && len(s.queue) > 0 && s.queue[0].at <= until {
		s.step()
	}
	if s.violation != nil {
		return s.violation
	}
	s.clock = max(s.clock, until)
	return nil
}

// RunFor is Run for d from now on.
func (s *Sim) RunFor(d time.Duration) error { return s.Run(s.clock + d) }

// pollEvery is how often RunUntil looks.
const pollEvery = 10 * time.Millisecond

// RunUntil runs until done holds, looked at every 10 ms, at most for d, and says how long that took. ok is false when the
// time was over first. The error is that of Run.
func (s *Sim) RunUntil(d time.Duration, done func() bool) (took time.Duration, ok bool, err error) {
	start := s.clock
	for !done() {
		if s.clock-start >= d {
			return s.clock - start, false, nil
		}
		if err := s.RunFor(min(pollEvery, d-(s.clock-start))); err != nil {
			return s.clock - start, false, err
		}
	}
	return s.clock - start, true, nil
}

func (s *Sim) step() {
	e := s.queue.pop()
	if e.to != nil {
		if !e.to.running() {
			return
		}
		if thaw := e.to.node.frozen; thaw > e.at {
			e.at = thaw
			s.queue.push(e)
			return
		}
		s.note(uint64(e.to.node.index))
	}
	s.clock = e.at
	s.events++
	s.note(uint64(e.at))
	e.do()
	if e.to.running() {
		e.to.react()
	}
}

// after has do happen in d. It is an event of the process to: void once that is gone, put off while it is frozen.
func (s *Sim) after(d time.Duration, to *process, do func()) {
	s.seq++
	s.queue.push(event{at: s.clock + d, seq: s.seq, to: to, do: do})
}

// note adds x to the trace.
func (s *Sim) note(x uint64) {
	s.trace = (bits.RotateLeft64(s.trace, 29) ^ x) * 0x9e3779b97f4a7c15
}

// within is a random duration from 0 up to d.
func (s *Sim) within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(d)))
}

// chance is true with probability p. It draws nothing for 0, so that a fault that is off does not shift the others.
func (s *Sim) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// Violation is an invariant that did not hold. Its text is all that is needed to run it again.
type Violation struct {
	Seed uint64
	At   time.Duration
	What string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d at %s: %s", v.Seed, v.At, v.What)
}

// fail ends the run. The first violation counts.
func (s *Sim) fail(format string, args ...any) {
	if s.violation == nil {
		s.violation = &Violation{Seed: s.cfg.Seed, At: s.clock, What: fmt.Sprintf(format, args...)}
	}
}
