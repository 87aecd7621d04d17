package nonce

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"
)

// Limits on what one owner may make a Board remember.
const (
	MaxJobs       = 64   // jobs that one submitter has defined
	MaxWorkerJobs = 1024 // jobs that one worker has said something about
	maxWithdrawn  = 256  // jobs remembered after their definition is gone, for people to look at
)

// Worker is one live member that offers to work.
type Worker struct {
	ID ID
}

// Change says what an applied value was about.
type Change struct {
	Job     JobID
	Part    Part // 0: nothing this version knows
	Changed bool // the answers of the Board may differ from before
}

// Board is what this node knows about all jobs. It is not safe for concurrent use.
//
// The memory it uses is in proportion to the keys it was given, and those are bounded for each owner.
type Board struct {
	kinds     Kinds
	jobs      map[JobID]*job
	defines   map[ID]int // jobs that a submitter has defined
	works     map[ID]int // jobs in which a worker has a record
	withdrawn []JobID    // jobs kept after their definition went, oldest first
	epoch     uint64     // of the current snapshot; see BeginSnapshot
	refused   map[Reason]uint64
}

// job is everything said about one job. Workers' keys may come before its definition.
type job struct {
	id      JobID
	defined bool
	epoch   uint64    // of the definition
	first   time.Time // when the definition came; zero: never
	ended   State     // what it was when the definition went; 0 while defined
	frozen  Progress  // the rest of what it was then

	submitter ID
	def       Job
	problem   Problem
	cells     Cells

	workers map[ID]*record
	done    RangeSet // union over workers
	claimed uint64   // nonces of done, summed over workers: what is above the union was done twice
	hits    int      // verified results, summed over workers
}

// record is what one worker says about one job.
type record struct {
	hasLease   bool
	lease      Lease
	leaseEpoch uint64
	segments   map[int]segment
	done       RangeSet // union of the segments that count
	hasFound   bool
	found      []Result // as claimed
	foundEpoch uint64
	verified   []Result
	moved      time.Time // when its done grew, or its lease ceased to be empty; see Board.participants
}

type segment struct {
	Segment
	epoch uint64
}

// NewBoard is an empty board on which jobs of kinds are known.
func NewBoard(kinds Kinds) *Board {
	return &Board{
		kinds:   kinds,
		jobs:    make(map[JobID]*job),
		defines: make(map[ID]int),
		works:   make(map[ID]int),
		refused: make(map[Reason]uint64),
	}
}

// Apply takes what owner says under key; a nil value says that the key is gone. A value that is refused leaves what the
// owner said before under that key withdrawn, is counted, and gives a *RefusedError. Of results, the true ones count
// even when others beside them are refused.
func (b *Board) Apply(owner ID, key string, value []byte, now time.Time) (Change, error) {
	k, err := ParseKey(key)
	if err != nil {
		return Change{}, b.count(err)
	}
	c := Change{Job: k.Job, Part: k.Part}
	switch {
	case k.Part == 0:
		return c, nil
	case k.Part == PartDefinition && value == nil:
		c.Changed = b.withdraw(owner, k.Job, now)
	case k.Part == PartDefinition:
		if c.Changed, err = b.define(owner, k.Job, value, now); err != nil {
			c.Changed = b.withdraw(owner, k.Job, now) // what was there is overwritten
		}
	default:
		c.Changed, err = b.say(owner, k, value, now)
	}
	return c, b.count(err)
}

// Refused is how many values were refused, by reason. The map is the caller's.
func (b *Board) Refused() map[Reason]uint64 { return maps.Clone(b.refused) }

func (b *Board) count(err error) error {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		b.refused[r.Reason]++
	}
	return err
}

// BeginSnapshot says that all keys there are will be applied again, followed by EndSnapshot.
func (b *Board) BeginSnapshot() { b.epoch++ }

// EndSnapshot withdraws every key that was not applied since BeginSnapshot, apart from what self says as a worker: that
// does not come from snapshots.
func (b *Board) EndSnapshot(self ID, now time.Time) {
	for _, id := range slices.SortedFunc(maps.Keys(b.jobs), JobID.Compare) {
		j := b.jobs[id]
		for _, w := range j.ids() {
			if w == self {
				continue
			}
			for _, k := range b.stale(j, j.workers[w]) {
				b.say(w, k, nil, now) // a deletion is never refused
			}
		}
		if j.defined && j.epoch != b.epoch {
			b.withdraw(j.submitter, id, now)
		}
	}
}

// stale lists the keys behind r that the current snapshot did not hold.
func (b *Board) stale(j *job, r *record) []Key {
	var keys []Key
	if r.hasLease && r.leaseEpoch != b.epoch {
		keys = append(keys, Key{Job: j.id, Part: PartLease})
	}
	if r.hasFound && r.foundEpoch != b.epoch {
		keys = append(keys, Key{Job: j.id, Part: PartFound})
	}
	for _, n := range slices.Sorted(maps.Keys(r.segments)) {
		if r.segments[n].epoch != b.epoch {
			keys = append(keys, Key{Job: j.id, Part: PartDone, Segment: n})
		}
	}
	return keys
}

// define takes the definition of a job. It binds its id, so a second one is the same one.
func (b *Board) define(owner ID, id JobID, value []byte, now time.Time) (bool, error) {
	if j := b.jobs[id]; j != nil && j.defined && j.submitter == owner && NewJobID(owner, value) == id {
		j.epoch = b.epoch
		return false, nil
	}
	if len(value) > MaxValue {
		return false, refuse(TooLarge, "definition has %d bytes, at most %d", len(value), MaxValue)
	}
	if got := NewJobID(owner, value); got != id {
		return false, refuse(WrongID, "definition of %v is that of job %v, not of %v", owner, got, id)
	}
	if b.defines[owner] >= MaxJobs {
		return false, refuse(TooManyJobs, "%v has %d jobs defined already", owner, MaxJobs)
	}
	def, err := DecodeJob(value)
	if err != nil {
		return false, err
	}
	kind, err := b.kinds.Find(def.Kind)
	if err != nil {
		return false, refuse(UnknownKind, "%v", err)
	}
	problem, err := kind.Open(&def)
	if err != nil {
		return false, refuse(BadDefinition, "%v", err)
	}
	j := b.job(id)
	j.defined, j.epoch, j.ended, j.frozen = true, b.epoch, 0, Progress{}
	j.submitter, j.def, j.problem, j.cells, j.first = owner, def, problem, def.Cells(), now
	b.withdrawn = slices.DeleteFunc(b.withdrawn, func(w JobID) bool { return w == id })
	b.defines[owner]++
	for _, w := range j.ids() {
		r := j.workers[w]
		if err := j.holds(r.lease); err != nil {
			r.hasLease, r.lease = false, Lease{}
			b.count(err)
		}
		b.count(b.verify(j, w))
		b.count(j.tally(w, now))
		b.tidy(j, w)
	}
	return true, nil
}

// withdraw takes the definition away, if it is owner's: the job is canceled unless it was over.
func (b *Board) withdraw(owner ID, id JobID, now time.Time) bool {
	j := b.jobs[id]
	if j == nil || !j.defined || j.submitter != owner {
		return false
	}
	j.frozen, _ = b.Progress(id, nil, now)
	if j.ended = j.frozen.State; j.ended == Running || j.ended == Failed {
		j.ended = Canceled
	}
	j.frozen.State, j.frozen.Leased, j.frozen.Workers = j.ended, 0, 0
	j.defined, j.problem, j.done, j.claimed, j.hits = false, nil, RangeSet{}, 0, 0
	for _, r := range j.workers {
		r.done, r.verified = RangeSet{}, nil
	}
	release(b.defines, owner)
	b.withdrawn = append(b.withdrawn, id)
	if len(b.withdrawn) > maxWithdrawn {
		old := b.jobs[b.withdrawn[0]]
		b.withdrawn = slices.Delete(b.withdrawn, 0, 1)
		old.ended, old.frozen = 0, Progress{}
		b.forget(old)
	}
	return true
}

// say takes what a worker says about a job, or its withdrawal when value is nil.
func (b *Board) say(owner ID, k Key, value []byte, now time.Time) (bool, error) {
	if j := b.jobs[k.Job]; value == nil && (j == nil || j.workers[owner] == nil) {
		return false, nil
	}
	j := b.job(k.Job)
	defer b.forget(j)
	r := j.workers[owner]
	if r == nil {
		if b.works[owner] >= MaxWorkerJobs {
			return false, refuse(TooManyJobs, "%v works on %d jobs already", owner, MaxWorkerJobs)
		}
		r = &record{segments: make(map[int]segment)}
		j.workers[owner] = r
		b.works[owner]++
	}
	var err error
	switch k.Part {
	case PartLease:
		err = b.sayLease(j, r, value, now)
	case PartDone:
		err = b.sayDone(j, owner, k.Segment, value, now)
	case PartFound:
		err = cmp.Or(b.sayFound(j, owner, value), j.tally(owner, now))
	}
	b.tidy(j, owner)
	return true, err
}

// tidy drops the record of worker w when it says nothing any more.
func (b *Board) tidy(j *job, w ID) {
	if r := j.workers[w]; !r.hasLease && !r.hasFound && len(r.segments) == 0 {
		delete(j.workers, w)
		release(b.works, w)
	}
}

func (b *Board) sayLease(j *job, r *record, value []byte, now time.Time) error {
	was := r.lease.Cells
	r.hasLease, r.lease, r.leaseEpoch = false, Lease{}, b.epoch
	if value == nil {
		return nil
	}
	lease, err := DecodeLease(value)
	if err != nil {
		return err
	}
	if err := j.holds(lease); err != nil {
		return err
	}
	if r.hasLease, r.lease = true, lease; was.Empty() && !lease.Cells.Empty() || r.moved.IsZero() {
		r.moved = now
	}
	return nil
}

// holds says whether a lease names cells that the job does not have, once that is known.
func (j *job) holds(l Lease) error {
	if end := max(l.Cells.End(), l.Lost.End()); j.defined && end > j.cells.Count() {
		return refuse(OutsideJob, "lease reaches cell %d, the job has %d", end-1, j.cells.Count())
	}
	return nil
}

func (b *Board) sayDone(j *job, owner ID, n int, value []byte, now time.Time) error {
	r := j.workers[owner]
	delete(r.segments, n)
	var err error
	if value != nil {
		var s Segment
		if s, err = DecodeDone(value); err == nil {
			r.segments[n] = segment{Segment: s, epoch: b.epoch}
		}
	}
	return cmp.Or(err, j.tally(owner, now))
}

func (b *Board) sayFound(j *job, owner ID, value []byte) error {
	r := j.workers[owner]
	r.hasFound, r.found, r.foundEpoch = false, nil, b.epoch
	var err error
	if value != nil {
		r.found, err = DecodeFound(value, owner)
		r.hasFound = err == nil
	}
	return cmp.Or(err, b.verify(j, owner))
}

// tally brings the done cells of worker w, and with them the job's, up to date with its segments.
func (j *job) tally(w ID, now time.Time) error {
	if !j.defined {
		return nil
	}
	r := j.workers[w]
	var done RangeSet
	var err error
	for _, n := range slices.Sorted(maps.Keys(r.segments)) {
		s := r.segments[n]
		switch {
		case s.Cells.End() > j.cells.Count():
			err = refuse(OutsideJob, "segment %d reaches cell %d, the job has %d", n, s.Cells.End()-1, j.cells.Count())
		case s.Results <= len(r.found):
			done = done.Union(s.Cells)
		}
	}
	was := r.done
	r.done = done
	if !done.Subtract(was).Empty() {
		r.moved = now
	}
	j.claimed = j.claimed - j.cells.Numbers(was) + j.cells.Numbers(done)
	if was.Subtract(done).Empty() {
		j.done = j.done.Union(done)
		return err
	}
	j.done = RangeSet{} // something was taken back: another worker may hold it too
	for _, other := range j.workers {
		j.done = j.done.Union(other.done)
	}
	return err
}

// verify hashes what worker w claims to have found. The error tells of the first false one; the others are counted here.
func (b *Board) verify(j *job, w ID) error {
	if !j.defined {
		return nil
	}
	r := j.workers[w]
	j.hits -= len(r.verified)
	r.verified = nil
	var lies []error
	for _, claim := range r.found {
		hash, hit := j.problem.Verify(claim.Nonce)
		switch {
		case !j.def.Range.Contains(claim.Nonce):
			lies = append(lies, refuse(OutsideJob, "nonce %d of %v is outside %v", claim.Nonce, w, j.def.Range))
		case !hit || hash != claim.Hash:
			lies = append(lies, refuse(FalseResult, "nonce %d of %v has hash %v: no hit, or not the hash claimed", claim.Nonce, w, hash))
		default:
			r.verified = append(r.verified, claim)
		}
	}
	j.hits += len(r.verified)
	if len(lies) == 0 {
		return nil
	}
	for _, lie := range lies[1:] {
		b.count(lie)
	}
	return lies[0]
}

func (b *Board) job(id JobID) *job {
	j := b.jobs[id]
	if j == nil {
		j = &job{id: id, workers: make(map[ID]*record)}
		b.jobs[id] = j
	}
	return j
}

// forget drops j when nothing is known about it any more.
func (b *Board) forget(j *job) {
	if !j.defined && j.ended == 0 && len(j.workers) == 0 {
		delete(b.jobs, j.id)
	}
}

// ids lists the workers that have a record, in order.
func (j *job) ids() []ID { return slices.SortedFunc(maps.Keys(j.workers), ID.Compare) }

// release counts one less for id.
func release(counts map[ID]int, id ID) {
	if counts[id]--; counts[id] <= 0 {
		delete(counts, id)
	}
}
