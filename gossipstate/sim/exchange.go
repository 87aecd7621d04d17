package sim

import (
	"errors"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// sketchOf is the sketch of a topic for the session's link.
func (s *session) sketchOf(topic int) *reconcile.Sketch { return s.p.sketch(s.link, topic) }

// viewOf is what an exchange about a topic takes its cells from.
func (s *session) viewOf(topic int) *reconcile.View {
	if s.views[topic] == nil {
		s.views[topic] = s.sketchOf(topic).View(s.ours[topic].Owners, s.theirs[topic].Owners)
	}
	return s.views[topic]
}

// findDifference begins to find out what differs on the topic under way.
func (s *session) findDifference() {
	s.decoder = reconcile.NewDecoder(s.ours[s.topic].Owners, s.theirs[s.topic].Owners)
	s.ask()
}

// ask takes the next step of the exchange.
func (s *session) ask() {
	topic := topicNames[s.topic]
	if s.decoder.Done() {
		s.sendDifference(s.decoder.Ours(), s.decoder.Theirs())
		return
	}
	step := s.decoder.Next()
	switch step.Ask {
	case reconcile.SendItems:
		s.decoder = nil
		s.sendItems(wire.SyncItems{Topic: topic, Items: s.p.topic[s.topic].state.Items()})
		return
	case reconcile.AskCells:
		var err error
		if s.cells, err = s.viewOf(s.topic).Cells(step.Cells); errors.Is(err, reconcile.ErrChanged) {
			step.Cells = 0 // the list of hashes is of now
		} else if err != nil {
			s.p.s.fail("node %d: its own sketch has no cells: %v", s.p.node.index, err)
			return
		}
	}
	s.send(&wire.SyncFrame{Ask: &wire.SyncAsk{Topic: topic, Cells: uint32(step.Cells)}})
}

func (s *session) addCells(f *wire.SyncCells) {
	theirs, err := reconcile.DecodeCells(f.Cells)
	if err == nil {
		err = s.decoder.Add(s.cells, theirs)
	}
	if err != nil {
		s.p.s.fail("node %d sent cells that are of no use: %v", s.link.peer.index, err)
		return
	}
	s.ask()
}

func (s *session) compareHashes(f *wire.SyncHashes) {
	theirs, err := reconcile.DecodeHashes(f.Hashes)
	if err != nil {
		s.p.s.fail("node %d sent hashes that are of no use: %v", s.link.peer.index, err)
		return
	}
	s.sendDifference(s.sketchOf(s.topic).Diff(theirs))
}

// sendDifference names the items that this side alone has, and the hashes of those that it lacks.
func (s *session) sendDifference(onlyOurs, onlyTheirs []uint64) {
	s.decoder = nil
	if len(onlyOurs)+len(onlyTheirs) == 0 {
		s.next() // it came right meanwhile
		return
	}
	s.sendItems(wire.SyncItems{
		Topic: topicNames[s.topic], Partial: true, Items: s.sketchOf(s.topic).Items(onlyOurs),
		Hashes: reconcile.EncodeHashes(onlyTheirs),
	})
}

// sendItems sends a list in frames; the hashes go with the last one, alone when there are many.
func (s *session) sendItems(list wire.SyncItems) {
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
		if s.send(&wire.SyncFrame{Items: &f}); !f.More {
			return
		}
	}
}

// answerAsk gives the next cells of a topic, or all hashes, also in the place of cells when the set has changed too much since
// the first ones.
func (s *session) answerAsk(ask *wire.SyncAsk) {
	topic := topicOf(ask.Topic)
	if ask.Cells > 0 {
		cells, err := s.viewOf(topic).Cells(int(ask.Cells))
		switch {
		case err == nil:
			s.send(&wire.SyncFrame{Cells: &wire.SyncCells{Cells: reconcile.EncodeCells(cells)}})
			return
		case !errors.Is(err, reconcile.ErrChanged):
			s.p.s.fail("node %d asks for cells that there cannot be: %v", s.link.peer.index, err)
			return
		}
	}
	s.send(&wire.SyncFrame{Hashes: &wire.SyncHashes{Hashes: reconcile.EncodeHashes(s.sketchOf(topic).Hashes())}})
}

// answerItems is the responder's side of the reconciliation of one topic, once the difference is found.
func (s *session) answerItems(last *wire.SyncItems) {
	topic := topicOf(last.Topic)
	t := s.p.topic[topic]
	var diff reconcile.Difference
	if last.Partial {
		hashes, err := reconcile.DecodeHashes(last.Hashes)
		if err != nil {
			s.p.s.fail("node %d sent hashes that are of no use: %v", s.link.peer.index, err)
			return
		}
		diff = s.sketchOf(topic).Compare(s.items, hashes)
	} else {
		diff = reconcile.Compare(t.state.Items(), s.items)
	}
	for i := range diff.Ask {
		diff.Ask[i].Staged = t.state.Staged(diff.Ask[i].Owner, s.link.owner)
	}
	s.items, s.taking = nil, true
	for wants := range slices.Chunk(diff.Ask, wire.MaxFrameItems) {
		s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: last.Topic, Wants: wants}})
	}
	s.sendUpdates(topic, diff.Send, true)
}
