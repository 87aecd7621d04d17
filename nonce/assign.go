package nonce

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// How work is shared out.
const (
	windowPerWorker = 8                // cells looked at for each worker: enough choice to be even, few enough to finish low cells first
	maxLosses       = 3                // workers that died over a cell before it is failed: it may be the cell that kills them
	joinGrace       = 5 * time.Second  // in which a live worker is expected to take part in a new job; guess
	idleGrace       = 30 * time.Second // for which a worker that holds nothing is kept in mind; guess
	leasePatience   = 4                // times the expected time after which a lease that brings no progress is free
)

// Cadence is how often a worker publishes progress that nobody waits for: 2 s, and more in a large crew so that all
// workers together publish at most 20 times a second.
func Cadence(workers int) time.Duration {
	return max(2*time.Second, time.Duration(workers)*50*time.Millisecond)
}

// Cell is one cell that a worker may take.
type Cell struct {
	Index  uint64
	Range  Range
	Losses int // workers that died over it
}

// Assign gives the cells of job id, at most most of them, that self should lease next, in the order to scan them. It is
// empty while others hold all there is, and when self is not among workers.
//
// The lowest 8 cells a worker that are neither done nor failed are shared out, by rendezvous hashing, among the crew:
// the live workers that take part. When some of the crew hold nothing, they get the upper half of what is in store for
// each of the others, again by rendezvous hashing, so that nobody waits for a slow worker. Every free cell has one
// worker, the same for all who see the same.
func (b *Board) Assign(id JobID, self ID, workers []Worker, now time.Time, most int) []Cell {
	j := b.jobs[id]
	if j == nil || !j.defined || j.over() != 0 || !slices.Contains(workers, Worker{ID: self}) {
		return nil
	}
	v := j.look(self, workers, now)
	if j.state(v) != Running {
		return nil
	}
	cells := v.share(self)
	cells = cells[:min(len(cells), most)]
	out := make([]Cell, len(cells))
	for i, c := range cells {
		out[i] = Cell{Index: c, Range: j.cells.At(c), Losses: len(v.lost[c])}
	}
	return out
}

// Surrender gives the cells in self's lease of job id that self should stop scanning: another worker has done them, or
// leases them too and comes before self in an order that is fixed for each cell.
func (b *Board) Surrender(id JobID, self ID, workers []Worker, now time.Time) []uint64 {
	j := b.jobs[id]
	if j == nil || !j.defined || j.workers[self] == nil {
		return nil
	}
	v := j.look(self, workers, now)
	me := member{id: self, seed: j.seed(self)}
	var out []uint64
	for c := range j.workers[self].lease.Cells.Values() {
		beaten := slices.ContainsFunc(v.crew, func(m member) bool {
			return m.id != self && m.lease.Contains(c) && m.before(me, c)
		})
		if beaten || j.done.Contains(c) {
			out = append(out, c)
		}
	}
	return out
}

// view is a job in the light of who is alive at one moment.
type view struct {
	j      *job
	crew   []member        // who takes part, by ID
	leased RangeSet        // what the crew holds
	lost   map[uint64][]ID // by cell that is not done: the workers that died over it
}

type member struct {
	id    ID
	seed  uint64
	lease RangeSet
}

// look makes the view of one who is itself of the crew, or of an outsider when self is zero.
func (j *job) look(self ID, workers []Worker, now time.Time) view {
	v := view{j: j, lost: make(map[uint64][]ID)}
	live := make(map[ID]bool, len(workers))
	for _, w := range workers {
		if live[w.ID] {
			continue
		}
		live[w.ID] = true
		if w.ID != self && !j.takesPart(w.ID, len(workers), now) {
			continue
		}
		m := member{id: w.ID, seed: j.seed(w.ID)}
		if r := j.workers[w.ID]; r != nil {
			m.lease = r.lease.Cells.Subtract(j.done)
		}
		v.crew = append(v.crew, m)
		v.leased = v.leased.Union(m.lease)
	}
	slices.SortFunc(v.crew, func(a, b member) int { return a.id.Compare(b.id) })
	for _, w := range j.ids() {
		r := j.workers[w]
		lost := r.lease.Lost
		if !live[w] {
			lost = lost.Union(r.lease.Cells)
		}
		for c := range lost.Subtract(j.done).Values() {
			v.lost[c] = append(v.lost[c], w)
		}
	}
	return v
}

// takesPart reports whether a live worker is to be reckoned with: it is new to the job, or it holds cells and finishes
// some in time, or it has not been idle for long. Without this a worker that ignores the job would hold its share back.
func (j *job) takesPart(w ID, workers int, now time.Time) bool {
	r := j.workers[w]
	switch {
	case r == nil || !r.hasLease:
		return now.Sub(j.first) <= joinGrace
	case r.lease.Cells.Empty():
		return now.Sub(r.moved) <= idleGrace
	}
	expected := Cadence(workers)
	if j.defined {
		seconds := float64(j.cells.Numbers(r.lease.Cells)) / j.problem.Rate()
		expected += time.Duration(min(seconds, 1e8) * float64(time.Second)) // a lease of years is as good as one for ever
	}
	return now.Sub(r.moved) <= leasePatience*expected
}

// share lists the free cells of the window that are self's: its own in order, then those it takes over from busy ones.
func (v view) share(self ID) []uint64 {
	free := slices.DeleteFunc(v.window(), v.leased.Contains)
	owners := make([]int, len(free))
	total := make([]int, len(v.crew)) // free cells by owner
	var everybody, idle []int
	for i, m := range v.crew {
		everybody = append(everybody, i)
		if m.lease.Empty() {
			idle = append(idle, i)
		}
	}
	for i, c := range free {
		owners[i] = v.first(c, everybody)
		total[owners[i]]++
	}
	var own, help []uint64
	seen := make([]int, len(v.crew))
	for i, c := range free {
		o := owners[i]
		seen[o]++
		busy := !v.crew[o].lease.Empty()
		helped := busy && len(idle) > 0 && seen[o] > total[o]/2
		switch {
		case !helped && v.crew[o].id == self:
			own = append(own, c)
		case helped && v.crew[v.first(c, idle)].id == self:
			help = append(help, c)
		}
	}
	slices.Reverse(help) // start far from where the owner goes on
	return append(own, help...)
}

// window lists the lowest cells that are neither done nor failed, 8 for each of the crew.
func (v view) window() []uint64 {
	size := windowPerWorker * len(v.crew)
	cells := make([]uint64, 0, size)
	for gap := range NewRangeSet(v.j.cells.run()).Subtract(v.j.done).Runs() {
		for c := gap.Start; c < gap.End; c++ {
			if len(cells) == size {
				return cells
			}
			if len(v.lost[c]) < maxLosses {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// first is who comes first for a cell among those of the crew with the given indices, in order and at least one. Who died
// over the cell comes after everybody else.
func (v view) first(cell uint64, among []int) int {
	lost := v.lost[cell]
	best, high, bad := -1, uint64(0), true
	for _, i := range among {
		score := mix(v.crew[i].seed, cell)
		died := lost != nil && slices.Contains(lost, v.crew[i].id)
		if best < 0 || bad && !died || bad == died && score > high { // equal: the lower ID, which came earlier
			best, high, bad = i, score, died
		}
	}
	return best
}

// before reports whether m comes before other for a cell: the rendezvous hash, then the order of IDs.
func (m member) before(other member, cell uint64) bool {
	a, b := mix(m.seed, cell), mix(other.seed, cell)
	if a != b {
		return a > b
	}
	return bytes.Compare(m.id[:], other.id[:]) < 0
}

// seed is where w stands in the job: the first 8 bytes of SHA-256(job | worker).
func (j *job) seed(w ID) uint64 {
	var b [len(JobID{}) + len(ID{})]byte
	copy(b[copy(b[:], j.id[:]):], w[:])
	sum := sha256.Sum256(b[:])
	return binary.BigEndian.Uint64(sum[:8])
}

// mix hashes a cell for a worker. It runs once for each worker and cell of the window, hence no SHA-256. Source: the
// finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(seed, cell uint64) uint64 {
	x := seed + (cell+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
