package api

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/nonce"
	"github.com/p2pnode/p2pnode/nonce/worker"
)

// fakeJobs is the work on one topic in memory. Progress is made by the test.
type fakeJobs struct {
	self nonce.ID

	mu    sync.Mutex
	order []nonce.JobID
	jobs  map[nonce.JobID]nonce.Progress
	moved chan struct{} // closed and replaced with every change
	clock int64         // makes each submission another one
	err   error         // of Submit, when set
}

func newFakeJobs(self peer.ID) *fakeJobs {
	id, err := replica.OwnerOf(self)
	if err != nil {
		panic(err)
	}
	return &fakeJobs{self: nonce.ID(id), jobs: map[nonce.JobID]nonce.Progress{}, moved: make(chan struct{})}
}

func (j *fakeJobs) Submit(_ context.Context, job nonce.Job) (nonce.JobID, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return nonce.JobID{}, j.err
	}
	if job.Target == (nonce.Target{}) {
		job.Target = nonce.Target{4: 0xff, 5: 0xff} // the genesis block's
	}
	if job.Cell == 0 {
		job.Cell = 1 << 20
	}
	j.clock++
	job.Submitted = time.UnixMilli(1_795_000_000_000 + j.clock)
	id := nonce.NewJobID(j.self, nonce.EncodeJob(&job))
	j.order = append(j.order, id)
	j.set(nonce.Progress{
		ID: id, Name: job.Name, Kind: job.Kind, Submitter: j.self, Range: job.Range, Target: job.Target, Stop: job.Stop,
		Cell: job.Cell, Cells: job.Cells().Count(), Submitted: job.Submitted, State: nonce.Running, Total: job.Range.Len(),
	})
	return id, nil
}

// set changes a job. The lock is held.
func (j *fakeJobs) set(p nonce.Progress) {
	j.jobs[p.ID] = p
	close(j.moved)
	j.moved = make(chan struct{})
}

// change lets f change the job id.
func (j *fakeJobs) change(id nonce.JobID, f func(*nonce.Progress)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.jobs[id]
	f(&p)
	j.set(p)
}

func (j *fakeJobs) Cancel(_ context.Context, id nonce.JobID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.jobs[id]
	switch {
	case !ok:
		return fmt.Errorf("job %v: %w", id, worker.ErrNotFound)
	case p.Submitter != j.self:
		return fmt.Errorf("job %v: %w", id, worker.ErrNotSubmitter)
	case p.State.Over():
		return fmt.Errorf("job %v: %w", id, worker.ErrOver)
	}
	p.State = nonce.Canceled
	j.set(p)
	return nil
}

func (j *fakeJobs) Jobs(context.Context) ([]nonce.Progress, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []nonce.Progress
	for _, id := range j.order {
		all = append(all, j.copy(id))
	}
	return all, nil
}

func (j *fakeJobs) copy(id nonce.JobID) nonce.Progress {
	p := j.jobs[id]
	p.Found = slices.Clone(p.Found)
	return p
}

func (j *fakeJobs) Job(_ context.Context, id nonce.JobID) (nonce.Progress, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.jobs[id]; !ok {
		return nonce.Progress{}, fmt.Errorf("job %v: %w", id, worker.ErrNotFound)
	}
	return j.copy(id), nil
}

func (j *fakeJobs) Watch(ctx context.Context, id nonce.JobID) iter.Seq2[nonce.Progress, error] {
	return func(yield func(nonce.Progress, error) bool) {
		for {
			j.mu.Lock()
			p, moved := j.copy(id), j.moved
			j.mu.Unlock()
			if !yield(p, nil) || p.State.Over() {
				return
			}
			select {
			case <-moved:
			case <-ctx.Done():
				yield(nonce.Progress{}, ctx.Err())
				return
			}
		}
	}
}
