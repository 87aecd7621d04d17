package nonce

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is how a job stands.
type State uint8

const (
	// Running: there is something left to do.
	Running State = iota + 1
	// Done: a job with stop first has a verified result; one with stop all is searched to the end.
	Done
	// Exhausted: stop first, and the whole range was searched in vain.
	Exhausted
	// Canceled: its submitter withdrew it before it was over.
	Canceled
	// Failed: all that is left are cells that several workers died over.
	Failed
)

func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Done:
		return "done"
	case Exhausted:
		return "exhausted"
	case Canceled:
		return "canceled"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Over reports whether nobody works on a job in this state.
func (s State) Over() bool { return s != Running }

// Progress is a job as one node sees it. Its slices are the reader's.
type Progress struct {
	ID         JobID
	Name       string
	Kind       string
	Submitter  ID
	Range      Range
	Target     Target
	Stop       Stop
	Cell       uint64    // nonces in a cell at most
	Cells      uint64    // cells in all
	Submitted  time.Time // the submitter's claim
	State      State
	Done       uint64   // nonces searched
	Total      uint64   // nonces in Range
	Leased     uint64   // nonces in cells that workers hold now
	Duplicates uint64   // nonces that more than one worker has searched, counted once for each worker after the first
	Workers    int      // workers that hold cells now
	Failed     []Range  // cells given up after 3 workers died over them, in order
	Found      []Result // verified, by nonce; of several finders of one nonce the one with the lowest ID
	Rate       float64  // nonces a second searched by this node over the last 10 s
}

// Jobs lists the jobs that have a definition, or had one not long ago, in the order in which they are worked on: by the
// time they were submitted, then by id.
func (b *Board) Jobs() []JobID {
	ids := slices.Collect(maps.Keys(b.jobs))
	ids = slices.DeleteFunc(ids, func(id JobID) bool { return !b.jobs[id].defined && b.jobs[id].ended == 0 })
	slices.SortFunc(ids, func(x, y JobID) int {
		return cmp.Or(b.jobs[x].def.Submitted.Compare(b.jobs[y].def.Submitted), x.Compare(y))
	})
	return ids
}

// Job gives the definition of a job that has one, and who submitted it.
func (b *Board) Job(id JobID) (def Job, submitter ID, ok bool) {
	j := b.jobs[id]
	if j == nil || !j.defined {
		return Job{}, ID{}, false
	}
	return j.def, j.submitter, true
}

// Problem is what a defined job poses, nil without a definition.
func (b *Board) Problem(id JobID) Problem {
	if j := b.jobs[id]; j != nil {
		return j.problem
	}
	return nil
}

// Progress tells how job id stands at now, given the live workers; ok is false for an unknown job. Rate stays 0: it is
// the caller's to know.
func (b *Board) Progress(id JobID, workers []Worker, now time.Time) (p Progress, ok bool) {
	j := b.jobs[id]
	switch {
	case j == nil || !j.defined && j.ended == 0:
		return Progress{}, false
	case !j.defined:
		p = j.frozen
		p.Failed, p.Found = slices.Clone(p.Failed), slices.Clone(p.Found)
		return p, true
	}
	v := j.look(ID{}, workers, now)
	done := j.cells.Numbers(j.done)
	p = Progress{
		ID: id, Name: j.def.Name, Kind: j.def.Kind, Submitter: j.submitter, Range: j.def.Range, Target: j.def.Target,
		Stop: j.def.Stop, Cell: j.def.Cell, Cells: j.cells.Count(), Submitted: j.def.Submitted,
		State: j.state(v), Done: done, Total: j.def.Range.Len(), Duplicates: j.claimed - done, Found: j.found(),
	}
	if p.State == Running {
		p.Leased = j.cells.Numbers(v.leased)
		for _, m := range v.crew {
			if !m.lease.Empty() {
				p.Workers++
			}
		}
	}
	for c := range v.failed().Values() {
		p.Failed = append(p.Failed, j.cells.At(c))
	}
	return p, true
}

// State tells how job id stands, 0 for an unknown one.
func (b *Board) State(id JobID, workers []Worker, now time.Time) State {
	j := b.jobs[id]
	switch {
	case j == nil:
		return 0
	case !j.defined:
		return j.ended
	}
	if s := j.over(); s != 0 {
		return s
	}
	return j.state(j.look(ID{}, workers, now))
}

// over is the state of a defined job that the living can't change any more, else 0.
func (j *job) over() State {
	switch {
	case j.def.Stop == First && j.hits > 0:
		return Done
	case !j.done.Covers(j.cells.run()):
		return 0
	case j.def.Stop == First:
		return Exhausted
	}
	return Done
}

// state of a defined job.
func (j *job) state(v view) State {
	if s := j.over(); s != 0 {
		return s
	}
	if failed := v.failed(); !failed.Empty() && j.done.Union(failed).Covers(j.cells.run()) {
		return Failed
	}
	return Running
}

// failed is the cells that too many workers died over and that nobody is scanning.
func (v view) failed() RangeSet {
	var cells []Range
	for c, lost := range v.lost {
		if len(lost) >= maxLosses && !v.leased.Contains(c) {
			cells = append(cells, Range{Start: c, End: c + 1})
		}
	}
	return NewRangeSet(cells...)
}

// found lists the verified results by nonce, each nonce once.
func (j *job) found() []Result {
	var all []Result
	for _, r := range j.workers {
		all = append(all, r.verified...)
	}
	slices.SortFunc(all, func(a, b Result) int { return cmp.Or(cmp.Compare(a.Nonce, b.Nonce), a.Worker.Compare(b.Worker)) })
	return slices.CompactFunc(all, func(a, b Result) bool { return a.Nonce == b.Nonce })
}

// Said is what worker has said about job id, as this board holds it: what a worker that starts anew goes on from.
func (b *Board) Said(id JobID, worker ID) (lease Lease, hasLease bool, segments map[int]RangeSet, found []Result) {
	j := b.jobs[id]
	if j == nil || j.workers[worker] == nil {
		return Lease{}, false, nil, nil
	}
	r := j.workers[worker]
	segments = make(map[int]RangeSet, len(r.segments))
	for n, s := range r.segments {
		segments[n] = s.Cells
	}
	return r.lease, r.hasLease, segments, slices.Clone(r.found)
}

// WorksOn lists the jobs that worker has said something about, in the order of their ids, defined or not.
func (b *Board) WorksOn(worker ID) []JobID {
	var ids []JobID
	for id, j := range b.jobs {
		if j.workers[worker] != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, JobID.Compare)
	return ids
}
