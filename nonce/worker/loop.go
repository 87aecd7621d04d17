package worker

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/nonce"
)

const (
	tick        = time.Second           // between looks at a running job when nothing else happens: rates, stalled workers
	retryAssign = 50 * time.Millisecond // at least, between tries to get cells when there were none; 1 ms a worker if that is more
	orphanAfter = time.Hour             // for which this node keeps what it said about a job nobody defines: guess
	drain       = 256                   // changes taken in one go
	minWait     = time.Millisecond      // that the loop sleeps when nothing happens, so that no mistake makes it spin
)

// loop is the goroutine that owns the board and all that this node publishes about its work.
type loop struct {
	*Pool
	board   *nonce.Board
	began   time.Time
	synced  bool   // the first snapshot is complete
	waiting []call // until then
	leaving bool   // Release was called

	own      map[nonce.JobID]*own
	running  map[nonce.JobID]bool // jobs seen running, to tell once that they are over
	canceled map[nonce.JobID]bool // withdrawn by this node, and not yet seen to be in the state
	watchers map[chan struct{}]nonce.JobID
	news     map[nonce.JobID]bool // jobs whose watchers are to be told

	stale    bool      // the board or the living changed since the last plan
	assignAt time.Time // not to ask for cells before
	tickAt   time.Time // zero: nothing is running

	outbox
}

func newLoop(p *Pool) *loop {
	return &loop{
		Pool:     p,
		board:    nonce.NewBoard(p.cfg.Kinds),
		began:    time.Now(),
		own:      make(map[nonce.JobID]*own),
		running:  make(map[nonce.JobID]bool),
		canceled: make(map[nonce.JobID]bool),
		watchers: make(map[chan struct{}]nonce.JobID),
		news:     make(map[nonce.JobID]bool),
		outbox:   newOutbox(),
	}
}

func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-l.changes:
			l.takeAll(f)
		case e := <-l.scanner.events:
			l.onEvent(e)
		case <-l.scanner.low:
			l.assignAt, l.stale = time.Time{}, true
		case c := <-l.calls:
			l.onCall(c)
		case <-l.hints:
			l.assignAt, l.stale = time.Time{}, true
		case err := <-l.results:
			l.onPut(err, time.Now())
		case <-timer.C:
		}
		now := time.Now()
		l.plan(now)
		l.tell()
		timer.Reset(max(l.flush(now), minWait))
	}
}

// takeAll applies f and what has come after it, up to a limit: planning once for many changes is cheaper.
func (l *loop) takeAll(f feed) {
	now := time.Now()
	l.onFeed(f, now)
	for range drain {
		select {
		case f := <-l.changes:
			l.onFeed(f, now)
		default:
			return
		}
	}
}

func (l *loop) onFeed(f feed, now time.Time) {
	switch {
	case f.begin:
		l.board.BeginSnapshot()
		return
	case f.change.Synced:
		l.board.EndSnapshot(l.cfg.Self, now)
		l.stale = true
		if !l.synced {
			l.synced = true
			l.resume(now)
			for _, c := range l.waiting {
				c.fn(l)
			}
			l.waiting = nil
		}
		return
	}
	c := f.change
	if c.Owner == l.cfg.Self && l.synced && l.echo(c) {
		return
	}
	value := c.Value
	if c.Deleted {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	l.apply(c.Owner, c.Key, value, now)
}

// echo reports whether c is something of this node's own that was known here before it came back, and is older perhaps
// than what is known now.
func (l *loop) echo(c Change) bool {
	k, err := nonce.ParseKey(c.Key)
	switch {
	case err != nil:
		return false
	case k.Part != nonce.PartDefinition:
		return true
	case c.Deleted:
		delete(l.canceled, k.Job)
		return false
	}
	return l.canceled[k.Job]
}

// apply gives the board one value. What it refuses, it counts.
func (l *loop) apply(owner nonce.ID, key string, value []byte, now time.Time) {
	change, err := l.board.Apply(owner, key, value, now)
	if err != nil {
		refused := l.board.Refused()
		l.refused.Store(&refused)
	}
	if change.Changed {
		l.stale = true
		l.news[change.Job] = true
	}
}

// applyOwn gives the board definitions that this node has just written.
func (l *loop) applyOwn(writes []Write) {
	now := time.Now()
	for _, w := range writes {
		if k, err := nonce.ParseKey(w.Key); err == nil && w.Delete {
			l.canceled[k.Job] = true
		}
		l.apply(l.cfg.Self, w.Key, w.Value, now)
	}
}

func (l *loop) onCall(c call) {
	if l.synced || c.early {
		c.fn(l)
		return
	}
	l.waiting = append(l.waiting, c)
}

func (l *loop) onEvent(e event) {
	now := time.Now()
	id := e.task.job
	o := l.own[id]
	if o == nil || l.board.Problem(id) == nil {
		return // withdrawn meanwhile
	}
	if !e.end {
		l.hit(id, o, e, now)
		return
	}
	if !o.lease.Cells.Contains(e.task.cell) {
		return // given up meanwhile
	}
	l.cells.Add(1)
	l.finish(id, o, e.task.cell, now)
}

// tell wakes the watchers of jobs with news.
func (l *loop) tell() {
	if len(l.news) == 0 {
		return
	}
	for w, id := range l.watchers {
		if l.news[id] {
			select {
			case w <- struct{}{}:
			default:
			}
		}
	}
	clear(l.news)
}

// plan brings what this node scans into line with the board and the living.
func (l *loop) plan(now time.Time) {
	if !l.synced {
		return
	}
	ticking := !l.tickAt.IsZero() && !now.Before(l.tickAt)
	if !l.stale && !ticking {
		return
	}
	workers := l.cfg.Workers()
	l.crew = len(workers)
	running := l.settle(workers, now)
	l.tickAt = time.Time{}
	if len(running) > 0 {
		l.tickAt = now.Add(tick)
	}
	if ticking {
		l.total.sample(now)
		for _, o := range l.own {
			o.meter.sample(now)
		}
	}
	skipped := false
	if l.cfg.Enabled && !l.leaving && has(workers, l.cfg.Self) {
		l.surrender(workers, now)
		skipped = l.refill(running, workers, now)
	}
	l.stale = skipped
}

// settle ends this node's part in jobs that are over and lists those that are not, in order.
func (l *loop) settle(workers []nonce.Worker, now time.Time) (running []nonce.JobID) {
	known := make(map[nonce.JobID]bool)
	for _, id := range l.board.Jobs() {
		known[id] = true
		state := l.board.State(id, workers, now)
		if !state.Over() {
			running = append(running, id)
			l.running[id] = true
			continue
		}
		if l.running[id] {
			delete(l.running, id)
			l.news[id] = true
			l.log.Info("job is over", "job", id, "state", state)
		}
	}
	maps.DeleteFunc(l.running, func(id nonce.JobID, _ bool) bool { return !known[id] })
	for _, id := range l.ownJobs() {
		_, _, defined := l.board.Job(id)
		switch {
		case known[id] && !defined, !known[id] && now.Sub(l.began) >= orphanAfter:
			l.withdraw(id, now)
		case known[id] && !slices.Contains(running, id):
			l.leave(id, now)
		}
	}
	return running
}

// surrender stops scanning cells that are others'.
func (l *loop) surrender(workers []nonce.Worker, now time.Time) {
	for _, id := range l.ownJobs() {
		if l.own[id].lease.Cells.Empty() {
			continue
		}
		if cells := l.board.Surrender(id, l.cfg.Self, workers, now); len(cells) > 0 {
			l.given.Add(uint64(len(cells)))
			l.drop(id, cells, now)
		}
	}
}

// refill takes the next cells when there are none left to hand out, from the first job that has some for this node.
// skipped: it is too early to ask again.
func (l *loop) refill(running []nonce.JobID, workers []nonce.Worker, now time.Time) (skipped bool) {
	if !l.scanner.starving() {
		return false
	}
	if now.Before(l.assignAt) {
		return true
	}
	for _, id := range running {
		def, submitter, ok := l.board.Job(id)
		if !ok || submitter != l.cfg.Self && !l.cfg.Trusted(submitter) || l.own[id] != nil && l.own[id].full {
			continue
		}
		most := l.batch(id, &def, len(workers), now)
		if cells := l.board.Assign(id, l.cfg.Self, workers, now, most); len(cells) > 0 {
			l.take(id, &def, cells, now)
			return false
		}
	}
	l.assignAt = now.Add(max(retryAssign, time.Duration(len(workers))*time.Millisecond))
	return false
}

// batch is how many more cells of a job to lease: what this node scans in half of the time between two publications, so
// that leasing adds little to what is published and a death frees little.
func (l *loop) batch(id nonce.JobID, def *nonce.Job, workers int, now time.Time) int {
	rate := l.board.Problem(id).Rate() * float64(l.cfg.Threads)
	held := uint64(0)
	if o := l.own[id]; o != nil {
		rate = cmp.Or(o.meter.rate(now), rate)
		held = o.lease.Cells.Len()
	}
	cells := nonce.Cadence(workers).Seconds() / 2 * rate / float64(min(def.Cell, def.Range.Len()))
	return int(min(max(math.Ceil(cells), 1), float64(nonce.MaxLease-held)))
}

// ownJobs lists the jobs that this node has said something about, in order.
func (l *loop) ownJobs() []nonce.JobID {
	return slices.SortedFunc(maps.Keys(l.own), nonce.JobID.Compare)
}

func (l *loop) progress(id nonce.JobID) (nonce.Progress, bool) {
	now := time.Now()
	p, ok := l.board.Progress(id, l.cfg.Workers(), now)
	if o := l.own[id]; o != nil {
		p.Rate = o.meter.rate(now)
	}
	return p, ok
}

// finished lists the jobs of this node's own that the next one pushes out. full: there is no room even so.
func (l *loop) finished() (old []nonce.JobID, full bool) {
	workers, now := l.cfg.Workers(), time.Now()
	defined := 0
	for _, id := range l.board.Jobs() { // oldest first
		if _, submitter, ok := l.board.Job(id); !ok || submitter != l.cfg.Self {
			continue
		}
		defined++
		if l.board.State(id, workers, now).Over() {
			old = append(old, id)
		}
	}
	old = old[:max(0, len(old)-keepFinished+1)]
	return old, defined-len(old) >= nonce.MaxJobs
}

func (l *loop) mayCancel(id nonce.JobID) error {
	_, submitter, ok := l.board.Job(id)
	state := l.board.State(id, l.cfg.Workers(), time.Now())
	switch {
	case !ok && state == 0:
		return ErrNotFound
	case ok && submitter != l.cfg.Self:
		return ErrNotSubmitter
	case !ok || state.Over() && state != nonce.Failed:
		return ErrOver
	}
	return nil
}

// has reports whether self is among workers.
func has(workers []nonce.Worker, self nonce.ID) bool {
	return slices.Contains(workers, nonce.Worker{ID: self})
}
