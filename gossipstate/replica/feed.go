package replica

import (
	"sync"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// What a slow reader may be behind before it lags: bounded, so that no reader costs memory. One update of an owner, the largest
// included, makes nobody lag who was not behind before; and at 5,000 changes a second a reader has most of a second for what
// keeps it, such as a snapshot. With 256 events, readers of 5,000 keys at that rate got one snapshot after the other (measured).
const (
	feedSize  = wire.MaxEntries // events; of a topic 400 bytes each
	feedBytes = 4 << 20         // of values in them, as they are reckoned by whoever puts them
)

// feed is the bounded queue between the table's goroutine and one reader. The table never waits for it: events that do not
// fit are dropped and counted, and the reader is told.
type feed[T any] struct {
	mu     sync.Mutex
	queue  []T
	bytes  int // of queue
	missed uint64
	wake   chan struct{} // holds one token while there is something to take
}

func newFeed[T any]() *feed[T] { return &feed[T]{wake: make(chan struct{}, 1)} }

// put adds one event that holds bytes; false when it was dropped. After the first drop all are dropped until the reader has
// caught up.
func (f *feed[T]) put(event T, bytes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fits := f.missed == 0 && len(f.queue) < feedSize && (len(f.queue) == 0 || f.bytes+bytes <= feedBytes)
	if fits {
		f.queue = append(f.queue, event)
		f.bytes += bytes
	} else {
		f.missed++
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return fits
}

// take empties the queue and says how many events were dropped after what it returns.
func (f *feed[T]) take() (events []T, missed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	events, missed = f.queue, f.missed
	f.queue, f.bytes, f.missed = nil, 0, 0
	return events, missed
}
