package replica

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// tasks are the goroutines of one Run: all end with it.
type tasks struct {
	ctx    context.Context // stored because later tasks begin in stream handlers, which are given none
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	ended bool
}

func newTasks(ctx context.Context) *tasks {
	ctx, cancel := context.WithCancel(ctx)
	return &tasks{ctx: ctx, cancel: cancel}
}

// spawn runs f unless Run is ending.
func (t *tasks) spawn(f func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.wg.Go(func() { f(t.ctx) })
	return true
}

// handler is a stream handler that ends with Run: its stream is reset then, which unblocks it.
func (t *tasks) handler(f func(context.Context, network.Stream)) network.StreamHandler {
	return func(s network.Stream) {
		done := make(chan struct{})
		if !t.spawn(func(ctx context.Context) {
			defer close(done)
			defer resetWith(ctx, s)()
			f(ctx, s)
		}) {
			s.Reset()
			return
		}
		<-done
	}
}

// end lets no further task begin, cancels the running ones and waits for them.
func (t *tasks) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}

// resetWith resets s when ctx ends, unless the returned function was called before.
func resetWith(ctx context.Context, s network.Stream) (stop func()) {
	unhook := context.AfterFunc(ctx, func() { s.Reset() })
	return func() { unhook() }
}
