package replica

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// Watch yields what is under prefix as Put events, then Synced, then every change in order: of the merged view for shared
// keys, of each owner's entry for keys of its own. A reader that falls behind gets Lagged with the number of events it
// missed, then the snapshot anew. It ends when the loop breaks, and with an error when ctx ends or the replica stops. Any
// call to the replica is allowed inside the loop.
func (t *Topic) Watch(ctx context.Context, prefix string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := newFeed[Event]()
		events, _, err := t.watchFrom(ctx, f, prefix)
		if err == nil {
			defer t.do(context.WithoutCancel(ctx), func(_ *table, tt *topicTable) { delete(tt.feeds, f) })
		}
		var missed uint64
		for err == nil {
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if missed > 0 {
				events, err = t.catchUp(ctx, f, prefix, missed)
				missed = 0
				continue
			}
			select {
			case <-f.wake:
				events, missed = f.take()
			case <-ctx.Done():
				err = ctx.Err()
			case <-t.r.idle:
				err = ErrStopped
			}
		}
		yield(Event{}, err)
	}
}

// catchUp is what a reader sees after the events that waited for it, when others did not fit: Lagged and a new snapshot.
func (t *Topic) catchUp(ctx context.Context, f *feed[Event], prefix string, missed uint64) ([]Event, error) {
	snapshot, skipped, err := t.watchFrom(ctx, f, prefix)
	if err != nil {
		return nil, err
	}
	missed += skipped
	t.r.counters.add(CountLagged, "state", missed)
	synced := snapshot[len(snapshot)-1]
	return append([]Event{{Seq: synced.Seq, Kind: Lagged, Missed: missed}}, snapshot...), nil
}

// watchFrom registers f and returns the snapshot that its events follow, with Synced at its end, and how many events that
// waited in f the snapshot makes up for.
func (t *Topic) watchFrom(ctx context.Context, f *feed[Event], prefix string) (snapshot []Event, skipped uint64, err error) {
	err = t.do(ctx, func(_ *table, tt *topicTable) {
		waiting, missed := f.take()
		skipped = uint64(len(waiting)) + missed
		tt.feeds[f] = prefix
		for _, rec := range tt.state.List(prefix) {
			if rec.Live() {
				snapshot = append(snapshot, Event{Seq: tt.seq, Kind: Put, New: tt.value(rec), Remote: rec.Owner != t.r.self})
			}
		}
		snapshot = append(snapshot, Event{Seq: tt.seq, Kind: Synced})
	})
	return snapshot, skipped, err
}

// notify gives the events of one change to the watchers of the topic.
func (t *table) notify(tt *topicTable, events []gossipstate.Event, remote bool) {
	for _, e := range events {
		tt.seq++
		if len(tt.feeds) == 0 {
			continue
		}
		out := Event{Seq: tt.seq, Kind: eventKinds[e.Kind], Old: tt.value(e.Old), New: tt.value(e.New), Remote: remote}
		if e.Kind == gossipstate.EventDelete {
			out.New.Key, out.New.Deleted = e.Key, true
			if out.New.Owner == "" { // the entry is gone altogether, without a tombstone
				out.New.Owner = out.Old.Owner
			}
		}
		for f, prefix := range tt.feeds {
			if strings.HasPrefix(e.Key, prefix) {
				f.put(out)
			}
		}
	}
}

var eventKinds = map[gossipstate.EventKind]EventKind{
	gossipstate.EventPut: Put, gossipstate.EventDelete: Deleted, gossipstate.EventLost: Lost,
}

// value is rec as readers see it; the zero Value for the zero Record.
func (tt *topicTable) value(rec gossipstate.Record) Value {
	if rec.Entry == nil {
		return Value{}
	}
	e := rec.Entry
	v := Value{
		Key: e.Key, Owner: PeerOf(rec.Owner), Value: e.Value, Clock: e.Clock, Version: e.Version,
		ContentType: e.ContentType, Deleted: e.Tombstone,
	}
	v.Written, v.Expires = stamp(e.Written), stamp(e.Expires)
	if d, _, held := tt.state.Digest(rec.Owner); held {
		v.Root = d.Root
	}
	return v
}

// lastStamp is the end of the year 9999 in unix ms: what comes after has no form in RFC 3339.
const lastStamp = 253_402_300_799_999

// stamp is a time that an owner claims; zero for none, and for one that no clock shows.
func stamp(ms uint64) time.Time {
	if ms == 0 || ms > lastStamp {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// transitions gives changes of members to the watchers and the log.
func (t *table) transitions(all []liveness.Transition) {
	for _, tr := range all {
		id := PeerOf(tr.Owner)
		out := Transition{
			ID: id, Name: t.nameOf(tr.Owner), From: tr.From.String(), To: tr.To.String(),
			Phi: tr.Phi, Reason: tr.Reason, At: tr.At,
		}
		t.r.counters.one(CountTransition, out.To)
		t.r.log.Debug("member "+out.To, "peer", id, "name", out.Name, "from", out.From, "phi", out.Phi, "reason", out.Reason)
		for f := range t.feeds {
			f.put(out)
		}
	}
}

// WatchMembers yields every change of a member's status from now on. It ends when the loop breaks, and with an error when ctx
// ends or the replica stops. A slow reader misses changes; each gap is counted, and Members tells where things stand.
func (r *Replica) WatchMembers(ctx context.Context) iter.Seq2[Transition, error] {
	return func(yield func(Transition, error) bool) {
		f := newFeed[Transition]()
		if err := r.do(ctx, func(t *table) { t.feeds[f] = true }); err != nil {
			yield(Transition{}, err)
			return
		}
		defer r.do(context.WithoutCancel(ctx), func(t *table) { delete(t.feeds, f) })
		for {
			select {
			case <-f.wake:
			case <-ctx.Done():
				yield(Transition{}, ctx.Err())
				return
			case <-r.idle:
				yield(Transition{}, ErrStopped)
				return
			}
			events, missed := f.take()
			r.counters.add(CountLagged, "members", missed)
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}
