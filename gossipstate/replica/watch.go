package replica

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// Watch yields what is under prefix as Put events, then Synced, then every change in order: of the merged view for shared
// keys, of each owner's entry for keys of its own. A reader that falls behind gets Lagged with the number of events it
// missed, then the snapshot anew. It ends when the loop breaks, and with an error when ctx ends or the replica stops. Any
// call to the replica is allowed inside the loop.
func (t *Reader) Watch(ctx context.Context, prefix string) iter.Seq2[Event, error] {
	return t.watch(ctx, prefix, func(tt *topicTable) []Event { return tt.snapshot(prefix) })
}

// Resume is Watch for a reader that has seen all up to the event of number since: it yields Synced, of that number, and the
// changes after it. When this replica does not remember all of those (it does the newest 4,096, up to 4 MiB, of this
// process), it yields Lagged and goes on as Watch does.
func (t *Reader) Resume(ctx context.Context, prefix string, since uint64) iter.Seq2[Event, error] {
	return t.watch(ctx, prefix, func(tt *topicTable) []Event { return tt.resumed(prefix, since) })
}

// watch yields what begin gives and the changes after that.
func (t *Reader) watch(ctx context.Context, prefix string, begin func(*topicTable) []Event) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := newFeed[Event]()
		events, _, err := t.watchFrom(ctx, f, prefix, begin)
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
func (t *Reader) catchUp(ctx context.Context, f *feed[Event], prefix string, missed uint64) ([]Event, error) {
	snapshot, skipped, err := t.watchFrom(ctx, f, prefix, func(tt *topicTable) []Event { return tt.snapshot(prefix) })
	if err != nil {
		return nil, err
	}
	missed += skipped
	t.r.counters.add(CountLagged, "state", missed)
	synced := snapshot[len(snapshot)-1]
	return append([]Event{{Seq: synced.Seq, Kind: Lagged, Missed: missed}}, snapshot...), nil
}

// watchFrom registers f and returns the events that its events follow, and how many that waited in f those make up for.
func (t *Reader) watchFrom(ctx context.Context, f *feed[Event], prefix string, begin func(*topicTable) []Event,
) (events []Event, skipped uint64, err error) {
	err = t.do(ctx, func(_ *table, tt *topicTable) {
		waiting, missed := f.take()
		skipped = uint64(len(waiting)) + missed
		tt.feeds[f] = prefix
		events = begin(tt)
	})
	return events, skipped, err
}

// snapshot is what is under prefix, with Synced at its end.
func (tt *topicTable) snapshot(prefix string) []Event {
	var events []Event
	for _, rec := range tt.state.List(prefix) {
		if rec.Live() {
			events = append(events, Event{Seq: tt.seq, Kind: Put, New: tt.value(rec), Remote: rec.Owner != tt.self})
		}
	}
	return append(events, Event{Seq: tt.seq, Kind: Synced})
}

// resumed is what a reader has missed that has seen all up to since.
func (tt *topicTable) resumed(prefix string, since uint64) []Event {
	missed, remembered := tt.recent.after(since, tt.seq)
	if !remembered {
		return append([]Event{{Seq: tt.seq, Kind: Lagged, Missed: tt.seq - min(tt.seq, max(since, tt.began))}}, tt.snapshot(prefix)...)
	}
	events := []Event{{Seq: since, Kind: Synced}}
	for i, e := range missed {
		if strings.HasPrefix(e.event.Key, prefix) {
			events = append(events, tt.eventOf(&e, since+1+uint64(i)))
		}
	}
	return events
}

// notify gives the events of one change to the watchers of the topic, and keeps them for those who come back.
func (t *table) notify(tt *topicTable, events []gossipstate.Event, cause Cause) {
	if cause != CauseForgotten {
		tt.history.Take(events)
	}
	for _, e := range events {
		tt.seq++
		r := recentEvent{e, causeOf(&e, cause), cause != CauseWrite}
		tt.recent.add(r)
		if len(tt.feeds) == 0 {
			continue
		}
		out := tt.eventOf(&r, tt.seq)
		for f, prefix := range tt.feeds {
			if strings.HasPrefix(e.Key, prefix) {
				f.put(out, len(out.Old.Value)+len(out.New.Value))
			}
		}
	}
}

// causeOf is cause, but of a tombstone that keeps the clock of what it ends: only expiry shows readers such a one.
func causeOf(e *gossipstate.Event, cause Cause) Cause {
	if e.Kind == gossipstate.EventDelete && e.New.Entry != nil && e.New.Owner == e.Old.Owner && e.New.Entry.Clock == e.Old.Entry.Clock {
		return CauseExpired
	}
	return cause
}

// eventOf is an event as readers see it.
func (tt *topicTable) eventOf(r *recentEvent, seq uint64) Event {
	e := &r.event
	out := Event{Seq: seq, Kind: eventKinds[e.Kind], Old: tt.value(e.Old), New: tt.value(e.New), Remote: r.remote, Cause: r.cause}
	if e.Kind == gossipstate.EventDelete {
		out.New.Key, out.New.Deleted = e.Key, true
		if out.New.Owner == "" { // the entry is gone altogether, without a tombstone
			out.New.Owner = out.Old.Owner
		}
	}
	return out
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

// transitions gives changes of members to the watchers and the log. Whatever the failure detector is told, what it returns goes
// here, so that what else it has come up with is looked at.
func (t *table) transitions(all []liveness.Transition) {
	t.stirred = true
	for i := range all {
		out := t.transition(&all[i])
		t.r.counters.one(CountTransition, out.To)
		t.r.log.Debug("member "+out.To, "peer", out.ID, "name", out.Name, "from", out.From, "phi", out.Phi, "accusers", out.Accusers,
			"timeout", out.Timeout, "refuter", out.Refuter, "reason", out.Reason)
		for f := range t.feeds {
			f.put(out, len(out.Accusers)*accuserBytes)
		}
	}
}

// accuserBytes is what one accuser of a Transition takes: a peer ID and its header.
const accuserBytes = 64

// transition is tr as readers see it.
func (t *table) transition(tr *liveness.Transition) Transition {
	return Transition{
		ID: PeerOf(tr.Owner), Name: t.nameOf(tr.Owner), From: tr.From.String(), To: tr.To.String(), Phi: tr.Phi,
		Accusers: peersOf(tr.Accusers), Timeout: tr.Timeout, Refuter: peerOrNone(tr.Refuter), Reason: tr.Reason, At: tr.At,
	}
}

func peersOf(owners []gossipstate.ID) []peer.ID {
	var peers []peer.ID
	for _, owner := range owners {
		peers = append(peers, PeerOf(owner))
	}
	return peers
}

// peerOrNone is "" for the zero owner.
func peerOrNone(owner gossipstate.ID) peer.ID {
	if owner == (gossipstate.ID{}) {
		return ""
	}
	return PeerOf(owner)
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
