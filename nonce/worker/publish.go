package worker

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/nonce"
)

// flushPause is the least time between two commits, so that tiny cells don't turn into a flood of them.
const flushPause = 50 * time.Millisecond

// own is what this node says as a worker about one job.
type own struct {
	hasLease bool
	lease    nonce.Lease
	segments []nonce.RangeSet // of done cells; only the last one still grows
	found    []nonce.Result
	full     bool // no room for more results or segments: this node does no more for the job
	meter    meter
}

// outbox holds the writes that are not yet safe.
type outbox struct {
	pending  map[string]pending
	sending  map[string]uint64 // revisions of what put is writing; nil: nothing
	revision uint64
	urgent   bool // something of pending should not wait
	crew     int  // workers, for the pace of what may wait
	last     time.Time
	failures int
	retryAt  time.Time
	released []chan struct{} // closed when nothing is pending

	batches chan []Write // of one, and no more than one is under way: the loop never waits
	results chan error
}

type pending struct {
	write    Write
	revision uint64
}

func newOutbox() outbox {
	return outbox{pending: make(map[string]pending), batches: make(chan []Write, 1), results: make(chan error)}
}

// put commits one batch after the other.
func (l *loop) put(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-l.batches:
			select {
			case l.results <- l.state.Put(ctx, batch...):
			case <-ctx.Done():
				return
			}
		}
	}
}

// write makes value this node's own under k, nil deletes it: on the board at once, in the state with the next commit.
func (l *loop) write(k nonce.Key, value []byte, urgent bool, now time.Time) {
	key := k.String()
	l.apply(l.cfg.Self, key, value, now)
	w := Write{Key: key, Value: value, Delete: value == nil}
	if value != nil {
		w.ContentType = nonce.ContentType
	}
	l.revision++
	l.pending[key] = pending{write: w, revision: l.revision}
	l.urgent = l.urgent || urgent
}

// flush starts the next commit when it is due and returns how long the loop may sleep.
func (l *loop) flush(now time.Time) time.Duration {
	next := time.Duration(math.MaxInt64)
	if !l.tickAt.IsZero() {
		next = min(next, l.tickAt.Sub(now))
	}
	if l.stale {
		next = min(next, l.assignAt.Sub(now))
	}
	if len(l.pending) == 0 || l.sending != nil {
		return next
	}
	due := l.last.Add(nonce.Cadence(l.crew))
	if l.urgent {
		due = l.last.Add(flushPause)
	}
	if l.leaving {
		due = now
	}
	if l.failures > 0 {
		due = l.retryAt
	}
	if due.After(now) {
		return min(next, due.Sub(now))
	}
	l.sending = make(map[string]uint64, len(l.pending))
	batch := make([]Write, 0, len(l.pending))
	for _, key := range slices.Sorted(maps.Keys(l.pending)) {
		l.sending[key] = l.pending[key].revision
		batch = append(batch, l.pending[key].write)
	}
	l.urgent = false
	l.batches <- batch
	return next
}

// onPut ends a commit. What failed, or was overtaken, stays pending.
func (l *loop) onPut(err error, now time.Time) {
	l.last = now
	if err != nil {
		l.putFails.Add(1)
		if l.failures == 0 {
			l.log.Warn("writing work is interrupted; it goes on and is written later", "err", err)
		}
		l.retryAt = now.Add(backoff(l.failures))
		l.failures++
		l.sending = nil
		return
	}
	l.puts.Add(1)
	l.failures = 0
	for key, revision := range l.sending {
		if l.pending[key].revision == revision {
			delete(l.pending, key)
		}
	}
	l.sending = nil
	l.settleRelease()
}

func (l *loop) settleRelease() {
	if len(l.pending) > 0 || l.sending != nil {
		return
	}
	for _, c := range l.released {
		close(c)
	}
	l.released = nil
}

// release withdraws every lease for good. done is closed when nothing is left to write.
func (l *loop) release(done chan struct{}) {
	now := time.Now()
	l.leaving = true
	for _, id := range l.ownJobs() {
		l.leave(id, now)
	}
	l.released = append(l.released, done)
	l.settleRelease()
}

// resume goes on from what this node said in an earlier life. What it leased then and has not done, it died over.
func (l *loop) resume(now time.Time) {
	for _, id := range l.board.WorksOn(l.cfg.Self) {
		lease, hasLease, segments, found := l.board.Said(id, l.cfg.Self)
		o := &own{found: found, hasLease: hasLease, full: len(found) >= nonce.MaxResults}
		var done nonce.RangeSet
		for _, n := range slices.Sorted(maps.Keys(segments)) {
			for len(o.segments) <= n {
				o.segments = append(o.segments, nonce.RangeSet{})
			}
			o.segments[n] = segments[n]
			done = done.Union(segments[n])
		}
		l.own[id] = o
		if !hasLease {
			continue
		}
		o.lease.Lost = first(lease.Lost.Union(lease.Cells).Subtract(done), nonce.MaxLease)
		if !l.cfg.Enabled {
			l.leave(id, now)
			continue
		}
		l.writeLease(id, o, true, now)
	}
}

// first is the n lowest numbers of s.
func first(s nonce.RangeSet, n int) nonce.RangeSet {
	var out nonce.RangeSet
	for x := range s.Values() {
		if n--; n < 0 {
			break
		}
		out = out.Union(nonce.Single(x))
	}
	return out
}

// take leases cells and has them scanned. In other jobs this node then takes no part.
func (l *loop) take(id nonce.JobID, def *nonce.Job, cells []nonce.Cell, now time.Time) {
	for _, other := range l.ownJobs() {
		if o := l.own[other]; other != id && o.hasLease && o.lease.Cells.Empty() && o.lease.Lost.Empty() {
			l.leave(other, now)
		}
	}
	o := l.own[id]
	if o == nil {
		o = &own{}
		l.own[id] = o
	}
	o.meter.sample(now)
	l.total.sample(now)
	for _, c := range cells {
		o.lease.Cells = o.lease.Cells.Union(nonce.Single(c.Index))
		if c.Losses > 0 {
			l.taken.Add(1)
		}
		l.scanner.add(id, c, def.Stop, l.board.Problem(id), &o.meter)
	}
	l.writeLease(id, o, true, now)
}

// finish marks a cell done. Only the last cell of a lease is urgent.
func (l *loop) finish(id nonce.JobID, o *own, cell uint64, now time.Time) {
	n := len(o.segments) - 1
	if n < 0 {
		o.segments, n = append(o.segments, nonce.RangeSet{}), 0
	}
	grown := o.segments[n].Union(nonce.Single(cell))
	value := nonce.EncodeDone(nonce.Segment{Cells: grown, Results: len(o.found)})
	if len(value) > nonce.MaxSegment {
		n++
		grown = nonce.Single(cell)
		value = nonce.EncodeDone(nonce.Segment{Cells: grown, Results: len(o.found)})
		o.segments = append(o.segments, nonce.RangeSet{})
	}
	o.segments[n] = grown
	l.write(nonce.Key{Job: id, Part: nonce.PartDone, Segment: n}, value, false, now)
	l.drop(id, []uint64{cell}, now)
	if n == nonce.MaxSegments-1 && len(value) > nonce.MaxSegment/2 {
		l.stopFull(id, o, now)
	}
}

// hit keeps a result, whoever the cell belongs to by now.
func (l *loop) hit(id nonce.JobID, o *own, e event, now time.Time) {
	if slices.ContainsFunc(o.found, func(r nonce.Result) bool { return r.Nonce == e.hit.Nonce }) {
		return
	}
	if len(o.found) >= nonce.MaxResults {
		l.stopFull(id, o, now)
		return
	}
	e.hit.Worker = l.cfg.Self
	o.found = append(o.found, e.hit)
	l.found.Add(1)
	l.log.Info("found a result", "job", id, "nonce", e.hit.Nonce, "hash", e.hit.Hash)
	l.write(nonce.Key{Job: id, Part: nonce.PartFound}, nonce.EncodeFound(o.found), true, now)
}

// stopFull ends this node's part in a job for which it can't write anything more. Others do the rest.
func (l *loop) stopFull(id nonce.JobID, o *own, now time.Time) {
	if !o.full {
		l.log.Warn("no room for more results or cells of this node: it does no more for the job", "job", id)
	}
	o.full = true
	l.leave(id, now)
}

// drop takes cells out of the lease and stops scanning them. An empty lease is urgent: it asks for work.
func (l *loop) drop(id nonce.JobID, cells []uint64, now time.Time) {
	o := l.own[id]
	l.scanner.drop(func(t *task) bool { return t.job == id && slices.Contains(cells, t.cell) })
	for _, c := range cells {
		o.lease.Cells = o.lease.Cells.Subtract(nonce.Single(c))
		o.lease.Lost = o.lease.Lost.Subtract(nonce.Single(c))
	}
	l.writeLease(id, o, o.lease.Cells.Empty(), now)
}

// leave withdraws the lease of a job.
func (l *loop) leave(id nonce.JobID, now time.Time) {
	o := l.own[id]
	l.scanner.drop(func(t *task) bool { return t.job == id })
	if o.hasLease {
		o.hasLease, o.lease = false, nonce.Lease{}
		l.write(nonce.Key{Job: id, Part: nonce.PartLease}, nil, true, now)
	}
}

// withdraw takes back everything said about a job that has no definition any more.
func (l *loop) withdraw(id nonce.JobID, now time.Time) {
	o := l.own[id]
	l.leave(id, now)
	for n := range o.segments {
		l.write(nonce.Key{Job: id, Part: nonce.PartDone, Segment: n}, nil, false, now)
	}
	if len(o.found) > 0 {
		l.write(nonce.Key{Job: id, Part: nonce.PartFound}, nil, false, now)
	}
	delete(l.own, id)
}

func (l *loop) writeLease(id nonce.JobID, o *own, urgent bool, now time.Time) {
	o.hasLease = true
	l.write(nonce.Key{Job: id, Part: nonce.PartLease}, nonce.EncodeLease(o.lease), urgent, now)
}
