package worker

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/p2pnode/p2pnode/nonce"
)

// scanner tries the nonces of the cells it is given, the first cell first, on as many goroutines as call work.
type scanner struct {
	total  *meter
	events chan event
	low    chan struct{} // of one: the last slice was handed out

	mu     sync.Mutex
	more   sync.Cond // tasks were added, or closed
	tasks  []*task
	closed bool
}

// task is one cell being scanned.
type task struct {
	job     nonce.JobID
	cell    uint64
	end     uint64
	slice   uint64 // nonces handed out at a time
	stop    nonce.Stop
	problem nonce.Problem
	meter   *meter
	dropped atomic.Bool // nobody wants it any more; slices that are out end soon

	// Under scanner.mu:
	next uint64 // first nonce not handed out
	out  int    // slices being scanned
}

// event is what a scanner tells the loop. Every hit in a cell comes before the end of the cell.
type event struct {
	task *task
	hit  nonce.Result // when ended is not set
	end  bool         // all of the cell was tried
}

func newScanner(total *meter) *scanner {
	s := &scanner{total: total, events: make(chan event), low: make(chan struct{}, 1)}
	s.more.L = &s.mu
	return s
}

// add puts a cell at the end of the queue.
func (s *scanner) add(job nonce.JobID, cell nonce.Cell, stop nonce.Stop, p nonce.Problem, m *meter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = append(s.tasks, &task{
		job: job, cell: cell.Index, next: cell.Range.Start, end: cell.Range.End, slice: nonce.Slice(p), stop: stop, problem: p, meter: m,
	})
	s.more.Broadcast()
}

// drop gives up the tasks for which which is true. They end without an event, but for hits on their way.
func (s *scanner) drop(which func(*task) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = slices.DeleteFunc(s.tasks, func(t *task) bool {
		if which(t) {
			t.dropped.Store(true)
		}
		return t.dropped.Load()
	})
}

// starving reports whether every slice was handed out.
func (s *scanner) starving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.tasks, func(t *task) bool { return t.next < t.end })
}

// close ends every work.
func (s *scanner) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.more.Broadcast()
}

// work scans until the scanner is closed. The end of ctx frees it from an event that nobody takes.
func (s *scanner) work(ctx context.Context) {
	for {
		t, r, ok := s.take()
		if !ok {
			return
		}
		s.scan(ctx, t, r)
		runtime.Gosched() // hashing must not starve the network of this process
	}
}

// take waits for the next slice.
func (s *scanner) take() (*task, nonce.Range, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		for i, t := range s.tasks {
			if t.next == t.end {
				continue
			}
			r := nonce.Range{Start: t.next, End: t.next + min(t.slice, t.end-t.next)}
			t.next = r.End
			t.out++
			if t.next == t.end && i == len(s.tasks)-1 {
				select {
				case s.low <- struct{}{}:
				default:
				}
			}
			return t, r, true
		}
		s.more.Wait()
	}
	return nil, nonce.Range{}, false
}

func (s *scanner) scan(ctx context.Context, t *task, r nonce.Range) {
	for r.Len() > 0 && !t.dropped.Load() {
		hit, ok := t.problem.Scan(r)
		tried := r.Len()
		if ok {
			tried = hit.Nonce - r.Start + 1
		}
		t.meter.tried.Add(tried)
		s.total.tried.Add(tried)
		if !ok {
			break
		}
		if t.stop == nonce.First {
			t.dropped.Store(true) // the rest of the cell is not tried, so it must not count as done
		}
		s.tell(ctx, event{task: t, hit: hit})
		r.Start += tried
	}
	s.mu.Lock()
	t.out--
	ended := t.next == t.end && t.out == 0 && !t.dropped.Load()
	s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x == t && ended || x.dropped.Load() })
	s.mu.Unlock()
	if ended {
		s.tell(ctx, event{task: t, end: true})
	}
}

func (s *scanner) tell(ctx context.Context, e event) {
	select {
	case s.events <- e:
	case <-ctx.Done():
	}
}
