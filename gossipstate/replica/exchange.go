package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// syncAll reconciles every common topic, members first: owners of the others count only while members holds them. It ends
// early when a budget does.
func (s *session) syncAll(ctx context.Context) error {
	for _, name := range s.r.topics {
		equal, err := s.agrees(ctx, name)
		if err != nil {
			return err
		}
		if equal {
			continue
		}
		if err := s.resume(ctx, name); err != nil || s.cut {
			return err
		}
		if err := s.exchange(ctx, name); err != nil || s.cut {
			return err
		}
	}
	return nil
}

// agrees says whether both sides hold the same of a topic, or the other one is not on it.
func (s *session) agrees(ctx context.Context, topic string) (equal bool, err error) {
	_, _, both := s.owners(topic)
	if !both {
		return true, nil
	}
	fault := s.r.do(ctx, func(t *table) {
		var k *reconcile.Sketch
		if k, err = s.sketch(t, topic); err != nil {
			return
		}
		for _, theirs := range s.theirs {
			if theirs.Topic == topic {
				equal = theirs.Owners == uint64(k.Len()) && theirs.Fingerprint == k.Fingerprint()
				return
			}
		}
	})
	return equal, errors.Join(fault, err)
}

// resume asks for the rest of the updates of which parts have arrived: only this side knows how far they have come.
func (s *session) resume(ctx context.Context, topic string) error {
	var wants []wire.Want
	if err := s.r.do(ctx, func(t *table) { wants = t.begun(t.topics[topic], s.peer) }); err != nil || len(wants) == 0 {
		return err
	}
	return s.pull(ctx, topic, wants)
}

// exchange is the initiator's side of the reconciliation of one topic.
func (s *session) exchange(ctx context.Context, topic string) error {
	onlyOurs, onlyTheirs, found, err := s.findDifference(ctx, topic)
	if err != nil {
		return err
	}
	list := wire.SyncItems{Topic: topic, Partial: found}
	var fault error
	if err := s.r.do(ctx, func(t *table) {
		if !found {
			list.Items = t.topics[topic].state.Items()
			return
		}
		var k *reconcile.Sketch
		if k, fault = s.sketch(t, topic); fault == nil {
			list.Items = k.Items(onlyOurs)
		}
	}); err != nil || fault != nil {
		return errors.Join(err, fault)
	}
	if found && len(onlyOurs)+len(onlyTheirs) == 0 {
		return nil // it came right meanwhile
	}
	list.Hashes = reconcile.EncodeHashes(onlyTheirs)
	if err := s.sendItems(list); err != nil {
		return err
	}
	var wants []wire.Want
	if err := s.takeUpdates(ctx, topic, func(w *wire.SyncWants) error {
		if wants = append(wants, w.Wants...); len(w.Wants) == 0 {
			return fmt.Errorf("%w: no wants", wire.ErrMalformed)
		}
		return checkWants(wants)
	}); err != nil {
		return err
	}
	return s.sendUpdates(ctx, topic, wants, true)
}

// findDifference finds the hashes of the items that one side alone has. found is false when it is cheaper to send all items.
func (s *session) findDifference(ctx context.Context, topic string) (onlyOurs, onlyTheirs []uint64, found bool, err error) {
	ours, theirs, _ := s.owners(topic)
	d := reconcile.NewDecoder(ours, theirs)
	var view *reconcile.View
	if err := s.sketched(ctx, topic, func(k *reconcile.Sketch) error {
		view = k.View(ours, theirs)
		return nil
	}); err != nil {
		return nil, nil, false, err
	}
	for !d.Done() {
		step := d.Next()
		var cells []reconcile.Cell
		switch step.Ask {
		case reconcile.SendItems:
			return nil, nil, false, nil
		case reconcile.AskCells:
			err := s.sketched(ctx, topic, func(*reconcile.Sketch) (err error) {
				cells, err = view.Cells(step.Cells)
				return err
			})
			if errors.Is(err, reconcile.ErrChanged) {
				step.Cells = 0 // the list of hashes is of now
			} else if err != nil {
				return nil, nil, false, err
			}
		}
		if err := s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: topic, Cells: uint32(step.Cells)}}); err != nil {
			return nil, nil, false, err
		}
		f, err := s.receive()
		if err != nil {
			return nil, nil, false, err
		}
		switch {
		case f.Hashes != nil: // whatever was asked for: the other side's set may have changed too much
			onlyOurs, onlyTheirs, err = s.differ(ctx, topic, f.Hashes)
			return onlyOurs, onlyTheirs, true, err
		case f.Cells == nil || step.Cells == 0:
			return nil, nil, false, fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
		}
		other, err := reconcile.DecodeCells(f.Cells.Cells)
		if err != nil {
			return nil, nil, false, err
		}
		if err := d.Add(cells, other); err != nil {
			return nil, nil, false, err
		}
	}
	return d.Ours(), d.Theirs(), true, nil
}

// sketched runs f with the sketch of a topic in the table's goroutine.
func (s *session) sketched(ctx context.Context, topic string, f func(*reconcile.Sketch) error) error {
	var fault error
	err := s.r.do(ctx, func(t *table) {
		var k *reconcile.Sketch
		if k, fault = s.sketch(t, topic); fault == nil {
			fault = f(k)
		}
	})
	return errors.Join(err, fault)
}

// differ compares the list of the other side's hashes with ours.
func (s *session) differ(ctx context.Context, topic string, list *wire.SyncHashes) (onlyOurs, onlyTheirs []uint64, err error) {
	theirs, err := reconcile.DecodeHashes(list.Hashes)
	if err != nil {
		return nil, nil, err
	}
	err = s.sketched(ctx, topic, func(k *reconcile.Sketch) error {
		onlyOurs, onlyTheirs = k.Diff(theirs)
		return nil
	})
	return onlyOurs, onlyTheirs, err
}

// answerAsk gives the next cells of a topic that both hellos named, or all hashes, also in the place of cells when the set has
// changed too much since the first ones. Lists of hashes count as requests: no View bounds them.
func (s *session) answerAsk(ctx context.Context, ask *wire.SyncAsk) error {
	ours, theirs, both := s.owners(ask.Topic)
	if !both {
		return fmt.Errorf("%w: ask for a topic that was not greeted", wire.ErrMalformed)
	}
	var answer wire.SyncFrame
	if err := s.sketched(ctx, ask.Topic, func(k *reconcile.Sketch) error {
		if ask.Cells > 0 {
			if s.views[ask.Topic] == nil {
				s.views[ask.Topic] = k.View(ours, theirs)
			}
			cells, err := s.views[ask.Topic].Cells(int(ask.Cells))
			if !errors.Is(err, reconcile.ErrChanged) {
				answer.Cells = &wire.SyncCells{Cells: reconcile.EncodeCells(cells)}
				return err
			}
		}
		s.requests++
		answer.Hashes = &wire.SyncHashes{Hashes: reconcile.EncodeHashes(k.Hashes())}
		return nil
	}); err != nil {
		return err
	}
	return s.send(&answer)
}

// answerItems is the responder's side of the reconciliation of one topic, once the difference is found.
func (s *session) answerItems(ctx context.Context, f wire.SyncFrame) error {
	topic := f.Items.Topic
	theirs, hashes, err := s.takeItems(f, topic)
	if err != nil {
		return err
	}
	var diff reconcile.Difference
	var fault error
	if err := s.r.do(ctx, func(t *table) {
		tt := t.topics[topic]
		if !f.Items.Partial {
			diff = reconcile.Compare(tt.state.Items(), theirs)
		} else if k, err := s.sketch(t, topic); err != nil {
			fault = err
		} else {
			diff = k.Compare(theirs, hashes)
		}
		for i := range diff.Ask {
			diff.Ask[i].Staged = t.staged(tt, diff.Ask[i].Owner, s.peer)
		}
	}); err != nil || fault != nil {
		return errors.Join(err, fault)
	}
	if err := s.sendWants(topic, diff.Ask); err != nil {
		return err
	}
	if err := s.sendUpdates(ctx, topic, diff.Send, true); err != nil {
		return err
	}
	return s.takeUpdates(ctx, topic, nil)
}

// sendItems sends a list in frames; the hashes go with the last one, alone when there are many.
func (s *session) sendItems(list wire.SyncItems) error {
	const together = wire.MaxFrameItems / 2 * wire.HashBytes // beside a full frame of items they would not fit
	items, hashes := list.Items, list.Hashes
	for {
		n := min(len(items), wire.MaxFrameItems)
		f := list
		f.Items, items = items[:n], items[n:]
		f.More = len(items) > 0 || n > 0 && len(hashes) > together
		if f.Hashes = nil; !f.More {
			f.Hashes = hashes
		}
		if err := s.send(&wire.SyncFrame{Items: &f}); err != nil || !f.More {
			return err
		}
	}
}

// takeItems collects a list of items that begins with f. It must be sorted by owner, without repeats. hashes are those of
// a partial list.
func (s *session) takeItems(f wire.SyncFrame, topic string) (items []wire.Item, hashes []uint64, err error) {
	partial := f.Items != nil && f.Items.Partial
	for {
		if f.Items == nil || f.Items.Topic != topic || f.Items.Partial != partial {
			return nil, nil, fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
		}
		if len(f.Items.Items) == 0 && f.Items.More {
			return nil, nil, fmt.Errorf("%w: no items, and more to come", wire.ErrMalformed)
		}
		for _, it := range f.Items.Items {
			if len(items) > 0 && items[len(items)-1].Owner.Compare(it.Owner) >= 0 {
				return nil, nil, fmt.Errorf("%w: items out of order", wire.ErrMalformed)
			}
			items = append(items, it)
		}
		if len(items) > wire.MaxOwners {
			return nil, nil, fmt.Errorf("%w: over %d items", wire.ErrTooLarge, wire.MaxOwners)
		}
		if !f.Items.More {
			hashes, err = reconcile.DecodeHashes(f.Items.Hashes)
			return items, hashes, err
		}
		if f, err = s.receive(); err != nil {
			return nil, nil, err
		}
	}
}

// digests asks for the items of owners, all when none is named.
func (s *session) digests(topic string, owners []wire.ID) ([]wire.Item, error) {
	ask := &wire.SyncWants{Topic: topic, Digests: true}
	for _, owner := range owners {
		ask.Wants = append(ask.Wants, wire.Want{Owner: owner})
	}
	if err := s.send(&wire.SyncFrame{Wants: ask}); err != nil {
		return nil, err
	}
	f, err := s.receive()
	if err != nil {
		return nil, err
	}
	items, _, err := s.takeItems(f, topic)
	return items, err
}

// hasOwn asks whether the other side has this node's state at version v: an error when it has not.
func (s *session) hasOwn(topic string, v gossipstate.Version) error {
	items, err := s.digests(topic, []wire.ID{s.r.self})
	if err == nil && (len(items) != 1 || items[0].Owner != s.r.self || items[0].Version < v) {
		err = fmt.Errorf("peer %s has not taken it", s.peer)
	}
	return err
}

// answerDigests lists what is held of the owners in wants, in their order; of all when none is named.
func (s *session) answerDigests(ctx context.Context, wants *wire.SyncWants) error {
	list := wire.SyncItems{Topic: wants.Topic}
	if err := s.r.do(ctx, func(t *table) {
		state := t.topics[wants.Topic].state
		if len(wants.Wants) == 0 {
			list.Items = state.Items()
		}
		for _, w := range wants.Wants {
			if item, held := state.Item(w.Owner); held {
				list.Items = append(list.Items, item)
			}
		}
	}); err != nil {
		return err
	}
	return s.sendItems(list)
}
