package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pnode/p2pnode/nonce"
)

// Pool is one node's part in the work of one topic. All methods may be called concurrently. Those that take a context
// wait until Run has read the first snapshot.
type Pool struct {
	cfg     Config
	state   State
	log     *slog.Logger
	total   meter
	scanner *scanner

	started  atomic.Bool
	stopped  chan struct{} // closed when Run has ended
	calls    chan call
	hints    chan struct{} // of one
	changes  chan feed
	submits  chan struct{} // of one: who submits holds it
	cells    atomic.Uint64
	taken    atomic.Uint64
	given    atomic.Uint64
	found    atomic.Uint64
	puts     atomic.Uint64
	putFails atomic.Uint64
	rewatch  atomic.Uint64
	refused  atomic.Pointer[map[nonce.Reason]uint64] // never written to once stored
}

// call is a function to run on the loop.
type call struct {
	fn    func(*loop)
	early bool // run it even before the first snapshot is complete
}

// feed is what the watching goroutine sends to the loop.
type feed struct {
	change Change
	begin  bool // a new snapshot starts; change is not set
}

// New makes a pool over state. Nothing happens before Run.
func New(cfg Config, state State) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Threads == 0 {
		cfg.Threads = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if cfg.Workers == nil {
		alone := []nonce.Worker{{ID: cfg.Self}}
		cfg.Workers = func() []nonce.Worker { return alone }
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func(nonce.ID) bool { return false }
	}
	if cfg.Kinds == nil {
		cfg.Kinds = DefaultKinds()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		cfg: cfg, state: state, log: cfg.Logger,
		stopped: make(chan struct{}),
		calls:   make(chan call),
		hints:   make(chan struct{}, 1),
		changes: make(chan feed, drain),
		submits: make(chan struct{}, 1),
	}
	p.scanner = newScanner(&p.total)
	p.refused.Store(&map[nonce.Reason]uint64{})
	return p, nil
}

// Run works until ctx ends, and then returns nil once every goroutine of the pool has ended. It may be called once. Call
// Release before, or others take this node's leases over only when they hold it for dead.
func (p *Pool) Run(ctx context.Context) error {
	if p.started.Swap(true) {
		return errors.New("worker: Run was called twice")
	}
	defer close(p.stopped)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer p.scanner.close()
	defer cancel()

	l := newLoop(p)
	wg.Go(func() { p.watch(ctx) })
	wg.Go(func() { l.put(ctx) })
	if p.cfg.Enabled {
		for range p.cfg.Threads {
			wg.Go(func() { p.scanner.work(ctx) })
		}
	}
	l.run(ctx)
	return nil
}

// watch feeds the loop with everybody's keys, from a new snapshot whenever the last stream ended.
func (p *Pool) watch(ctx context.Context) {
	for failures := 0; ; failures++ {
		if !p.feed(ctx, feed{begin: true}) {
			return
		}
		var err error
		for c, e := range p.state.Watch(ctx, nonce.Prefix) {
			if err = e; err != nil {
				break
			}
			if c.Synced {
				failures = 0
			}
			if !p.feed(ctx, feed{change: c}) {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		p.rewatch.Add(1)
		p.log.Warn("watching work is interrupted", "err", err)
		select {
		case <-time.After(backoff(failures)):
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pool) feed(ctx context.Context, f feed) bool {
	select {
	case p.changes <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff is how long to wait after so many failures in a row: 100 ms doubling up to 5 s, less up to half by chance.
func backoff(failures int) time.Duration {
	d := min(100*time.Millisecond<<min(failures, 10), 5*time.Second)
	return d/2 + rand.N(d/2)
}

// do runs fn on the loop and waits for it.
func (p *Pool) do(ctx context.Context, early bool, fn func(*loop)) error {
	done := make(chan struct{})
	c := call{early: early, fn: func(l *loop) {
		defer close(done)
		if ctx.Err() == nil {
			fn(l)
		}
	}}
	select {
	case p.calls <- c:
	case <-p.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return ctx.Err()
	case <-p.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Submit defines a job and returns its id once the definition is safe here. Of job, Kind, Payload and Range are needed;
// the kind may take the target from the payload, and Cell 0 chooses by range and live workers. What makes no sense is a
// *JobError.
//
// The oldest finished jobs of this node beyond the newest 32 are withdrawn with it.
func (p *Pool) Submit(ctx context.Context, job nonce.Job) (nonce.JobID, error) {
	if err := p.complete(&job, time.Now()); err != nil {
		return nonce.JobID{}, &JobError{Err: err}
	}
	select {
	case p.submits <- struct{}{}:
		defer func() { <-p.submits }()
	case <-ctx.Done():
		return nonce.JobID{}, ctx.Err()
	}
	var old []nonce.JobID
	var full bool
	if err := p.do(ctx, false, func(l *loop) { old, full = l.finished() }); err != nil {
		return nonce.JobID{}, err
	}
	if full {
		return nonce.JobID{}, ErrTooManyJobs
	}
	value := nonce.EncodeJob(&job)
	id := nonce.NewJobID(p.cfg.Self, value)
	writes := []Write{{Key: definitionKey(id), Value: value, ContentType: nonce.ContentType}}
	for _, o := range old {
		writes = append(writes, Write{Key: definitionKey(o), Delete: true})
	}
	if err := p.state.Put(ctx, writes...); err != nil {
		return nonce.JobID{}, fmt.Errorf("writing job %v: %w", id, err)
	}
	err := p.do(context.WithoutCancel(ctx), true, func(l *loop) { l.applyOwn(writes) })
	if err != nil {
		return nonce.JobID{}, err
	}
	return id, nil
}

// complete fills in what the submitter left open.
func (p *Pool) complete(job *nonce.Job, now time.Time) error {
	kind, err := p.cfg.Kinds.Find(job.Kind)
	if err != nil {
		return err
	}
	if err := job.Range.Validate(); err != nil {
		return err
	}
	if err := kind.Complete(job); err != nil {
		return err
	}
	if job.Cell == 0 {
		problem, err := kind.Open(job)
		if err != nil {
			return err
		}
		job.Cell = nonce.DefaultCell(job.Range.Len(), len(p.cfg.Workers()), problem.Rate()*float64(p.cfg.Threads))
	}
	if job.Submitted.IsZero() {
		job.Submitted = now
	}
	job.Submitted = job.Submitted.Truncate(time.Millisecond).UTC()
	return job.Validate()
}

// Cancel withdraws a running job of this node's own. Errors wrap ErrNotFound, ErrNotSubmitter or ErrOver.
func (p *Pool) Cancel(ctx context.Context, id nonce.JobID) error {
	var refusal error
	if err := p.do(ctx, false, func(l *loop) { refusal = l.mayCancel(id) }); err != nil {
		return err
	}
	if refusal != nil {
		return fmt.Errorf("job %v: %w", id, refusal)
	}
	write := Write{Key: definitionKey(id), Delete: true}
	if err := p.state.Put(ctx, write); err != nil {
		return fmt.Errorf("canceling job %v: %w", id, err)
	}
	return p.do(context.WithoutCancel(ctx), true, func(l *loop) { l.applyOwn([]Write{write}) })
}

func definitionKey(id nonce.JobID) string {
	return nonce.Key{Job: id, Part: nonce.PartDefinition}.String()
}

// Jobs lists every job known here, in the order in which they are worked on: by the time of submission, then by id.
func (p *Pool) Jobs(ctx context.Context) ([]nonce.Progress, error) {
	var jobs []nonce.Progress
	err := p.do(ctx, false, func(l *loop) {
		for _, id := range l.board.Jobs() {
			progress, _ := l.progress(id)
			jobs = append(jobs, progress)
		}
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}

// Job tells how one job stands. An unknown one is an error that wraps ErrNotFound.
func (p *Pool) Job(ctx context.Context, id nonce.JobID) (nonce.Progress, error) {
	var progress nonce.Progress
	var ok bool
	if err := p.do(ctx, false, func(l *loop) { progress, ok = l.progress(id) }); err != nil {
		return nonce.Progress{}, err
	}
	if !ok {
		return nonce.Progress{}, fmt.Errorf("job %v: %w", id, ErrNotFound)
	}
	return progress, nil
}

// How often Watch yields.
const (
	watchEvery = time.Second            // without news
	watchPause = 250 * time.Millisecond // between news, other than results and the end
)

// Watch gives the progress of a job: as it stands, then when it moves (at most 4 times a second, results and the end at
// once) and at least every second. It ends after a state that is Over, or with an error.
func (p *Pool) Watch(ctx context.Context, id nonce.JobID) iter.Seq2[nonce.Progress, error] {
	return func(yield func(nonce.Progress, error) bool) {
		news := make(chan struct{}, 1)
		defer p.do(context.WithoutCancel(ctx), true, func(l *loop) { delete(l.watchers, news) })
		if err := p.do(ctx, true, func(l *loop) { l.watchers[news] = id }); err != nil {
			yield(nonce.Progress{}, err)
			return
		}
		var last nonce.Progress
		var shown time.Time
		for {
			now, err := p.Job(ctx, id)
			if err != nil {
				yield(nonce.Progress{}, err)
				return
			}
			wait := watchEvery
			important := now.State != last.State || len(now.Found) != len(last.Found)
			if since := time.Since(shown); important || since >= watchPause {
				if !yield(now, nil) || now.State.Over() {
					return
				}
				last, shown = now, time.Now()
			} else {
				wait = watchPause - since
			}
			select {
			case <-news:
			case <-time.After(wait):
			case <-p.stopped:
			case <-ctx.Done():
			}
		}
	}
}

// WorkersChanged says that Config.Workers would answer otherwise than before. It never blocks.
func (p *Pool) WorkersChanged() {
	select {
	case p.hints <- struct{}{}:
	default:
	}
}

// Release withdraws this node's leases, writes everything else that is still to be written, and takes no more cells.
// It returns when that is safe here, or with ctx.
func (p *Pool) Release(ctx context.Context) error {
	released := make(chan struct{})
	if err := p.do(ctx, true, func(l *loop) { l.release(released) }); err != nil {
		return err
	}
	select {
	case <-released:
		return nil
	case <-p.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Rate is how many nonces a second this node tried over the last 10 s.
func (p *Pool) Rate() float64 { return p.total.rate(time.Now()) }

// Counters are as of now.
func (p *Pool) Counters() Counters {
	return Counters{
		Tried: p.total.tried.Load(), Cells: p.cells.Load(), TakenOver: p.taken.Load(), Surrendered: p.given.Load(),
		Found: p.found.Load(), Puts: p.puts.Load(), PutFailures: p.putFails.Load(), Rewatches: p.rewatch.Load(),
		Refused: maps.Clone(*p.refused.Load()),
	}
}
