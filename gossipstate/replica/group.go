package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// groupBytes is how much the writes of one commit may weigh beyond the first: half a rumor, so that what is committed
// together still goes out as one.
const groupBytes = wire.MaxRumor / 2

// ownWrite is a write that waits for the table.
type ownWrite struct {
	ifClock   *gossipstate.Clock
	mutations []gossipstate.Mutation
	peers     int

	done    chan struct{} // closed when written and err are valid
	written []Written
	err     error
}

// ownWrites are those of one topic, in the order in which they came. Whoever comes while the disk is busy waits here, and
// the next commit, with its one fsync, has them all: measured, BenchmarkSet.
type ownWrites struct {
	mu      sync.Mutex
	waiting []*ownWrite
}

func (q *ownWrites) add(w *ownWrite) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
}

// remove takes back a write; false when the table has it.
func (q *ownWrites) remove(w *ownWrite) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

func (q *ownWrites) takeAll() []*ownWrite {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	return all
}

// commitWrite has the table commit w, with whatever else waits. After ctx's error nothing of w was done.
func (t *Topic) commitWrite(ctx context.Context, w *ownWrite) ([]Written, error) {
	q := t.r.writes[t.name]
	q.add(w)
	err := t.do(ctx, func(tb *table, tt *topicTable) { tb.commitWaiting(tt, q.takeAll()) })
	if err != nil && q.remove(w) {
		return nil, err
	}
	select {
	case <-w.done: // by this call of the table, or by another's before it
	case <-t.r.idle:
		select {
		case <-w.done:
		default:
			return nil, ErrStopped
		}
	}
	return w.written, w.err
}

// commitWaiting commits all writes in order, as many as possible together.
func (t *table) commitWaiting(tt *topicTable, all []*ownWrite) {
	for len(all) > 0 {
		n := together(all)
		t.commitGroup(tt, all[:n])
		for _, w := range all[:n] {
			close(w.done)
		}
		all = all[n:]
	}
}

// together is how many of all, from the first on, may share a commit: they change different keys, so that each sees what it
// would see alone.
func together(all []*ownWrite) int {
	keys, bytes := map[string]bool{}, 0
	for i, w := range all {
		for _, m := range w.mutations {
			bytes += len(m.Key) + len(m.Value)
			if i > 0 && (keys[m.Key] || bytes > groupBytes) {
				return i
			}
		}
		for _, m := range w.mutations {
			keys[m.Key] = true
		}
	}
	return len(all)
}

// commitGroup commits writes of different keys. One that fails does not fail the others.
func (t *table) commitGroup(tt *topicTable, group []*ownWrite) {
	now := time.Now()
	var mutations []gossipstate.Mutation
	var fit []*ownWrite
	for _, w := range group {
		if w.err = t.checkClock(tt, w.ifClock, w.mutations); w.err == nil {
			fit = append(fit, w)
			mutations = append(mutations, w.mutations...)
		}
	}
	if len(fit) > 1 {
		if _, err := tt.state.Prepare(t.selfOn(tt.name), mutations, t.r.sign, now, t.forgetBefore(now)); err == nil {
			_, err := t.commit(tt, mutations, now)
			for _, w := range fit {
				t.finish(tt, w, err)
			}
			return
		}
	}
	for _, w := range fit { // one of them can't be done: which, and why, each is told by itself
		_, err := t.commit(tt, w.mutations, now)
		t.finish(tt, w, err)
	}
}

// finish notes what became of w.
func (t *table) finish(tt *topicTable, w *ownWrite, err error) {
	if w.err = err; err != nil {
		return
	}
	for _, m := range w.mutations {
		w.written = append(w.written, Written{Value: tt.value(tt.state.GetOwned(t.r.self, m.Key)), PeersSent: w.peers})
	}
}
