package api

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// fakeMemory is how many numbers back a reader of a fakeTopic may resume.
const fakeMemory = 3

// History knows every value there ever was.
func (t *fakeTopic) History(_ context.Context, key string, owner peer.ID) (replica.Versions, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return replica.Versions{}, t.err
	}
	v := replica.Versions{Cut: strings.HasPrefix(key, "cut")}
	now, found := t.winner(key)
	for _, e := range t.events {
		known := func(old replica.Value) bool { return old.Clock == e.Old.Clock && old.Owner == e.Old.Owner }
		if e.Old.Key == key && !e.Old.Deleted && (owner == "" || owner == e.Old.Owner) && !slices.ContainsFunc(v.Values, known) {
			v.Values = append(v.Values, e.Old)
		}
	}
	if found && (owner == "" || owner == now.Owner) {
		v.Values, v.Current = append(v.Values, now), true
	}
	if len(v.Values) == 0 {
		return v, replica.ErrNotFound
	}
	slices.SortFunc(v.Values, func(a, b replica.Value) int { return cmp.Compare(b.Clock, a.Clock) })
	return v, nil
}

func (t *fakeTopic) Resume(ctx context.Context, prefix string, since uint64) iter.Seq2[replica.Event, error] {
	return func(yield func(replica.Event, error) bool) {
		t.mu.Lock()
		w := &fakeWatcher{queue: make(chan replica.Event, fakeFeed+fakeMemory)}
		remembered := since <= t.seq && t.seq-since <= fakeMemory
		if remembered {
			for _, e := range t.events {
				if e.Seq > since {
					w.queue <- e
				}
			}
			t.watchers[w] = struct{}{}
		}
		t.mu.Unlock()
		defer func() { t.mu.Lock(); delete(t.watchers, w); t.mu.Unlock() }()
		if remembered {
			if yield(replica.Event{Seq: since, Kind: replica.Synced}, nil) {
				t.follow(ctx, w, prefix, yield)
			}
			return
		}
		if !yield(replica.Event{Kind: replica.Lagged}, nil) {
			return
		}
		for e, err := range t.Watch(ctx, prefix) {
			if !yield(e, err) {
				return
			}
		}
	}
}
