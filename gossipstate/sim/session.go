package sim

import (
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	syncTimeout     = 10 * time.Second // for one frame
	syncRate        = 5                // sessions a second that one peer may open
	syncBurst       = 20
	maxSyncsStarted = 8
	maxSyncsServed  = 64
	maxServedPeer   = 8 // of one peer
)

// session is one end of a sync stream. The initiator asks, the responder answers; both apply what they get.
//
//	initiator                 responder
//	hello               -->
//	                    <--   hello with fingerprints
//	wants with cursors  -->                              a topic that differs: the rest of what has begun to come,
//	                    <--   updates, done
//	ask                 -->                              what differs, in as many rounds as it takes,
//	                    <--   cells, or hashes
//	items, hashes       -->                              and both sides' news
//	                    <--   wants, updates, done
//	updates, done       -->
//	wants               -->                              a pull, or a question
//	                    <--   updates, done; items
type session struct {
	p        *process
	link     *link
	stream   *stream
	ours     []wire.SyncSummary      // in this side's hello
	theirs   []wire.SyncSummary      // in the other side's hello
	views    [topics]*reconcile.View // of the link's sketches, while an exchange runs
	repaired int                     // updates applied here
	staged   int                     // parts of updates that were new here
	given    int                     // frames of updates sent
	heard    time.Time               // when its last frame came

	mismatched bool // the last update did not lead to its digest

	// Of the initiator.
	done  func(s *session, ok bool) // once, at the end; nil at the responder
	pull  *wire.Want                // what it asks for; nil: everything that differs
	tell  wire.Version              // at the end, ask whether this node's members are held at it; 0: do not
	topic int                       // that is under way; -1 before the first
	wants []wire.Want

	resuming bool // the rest of updates in parts was asked for
	decoder  *reconcile.Decoder
	cells    []reconcile.Cell // of this side, that go with those asked for

	// Of the responder.
	items  []wire.Item // as they come
	taking bool        // the initiator's updates follow
}

// startSession opens a stream over l for s.
func (p *process) startSession(l *link, s *session) {
	s.p, s.link, s.heard = p, l, p.s.now()
	if s.pull == nil {
		s.topic = -1
	}
	s.stream = l.open(s, (*process).serveSync)
	p.sessions = append(p.sessions, s)
	l.sessions++
	p.node.Syncs++
	s.greet(false)
}

// greet says hello, with fingerprints once the link is keyed by theirs.
func (s *session) greet(keyed bool) {
	s.ours = make([]wire.SyncSummary, topics)
	for i := range s.ours {
		s.ours[i] = s.p.summary(s.link, i, keyed)
	}
	s.send(&wire.SyncFrame{Hello: &wire.SyncHello{Salt: s.link.salt, Topics: s.ours}})
}

// serveSync is the responder of a new stream, if it is admitted.
func (p *process) serveSync(st *stream) receiver {
	l := st.linkOf(p)
	if !p.has(l) || p.syncsServed >= maxSyncsServed || l.serving >= maxServedPeer || !l.served.take(p.s.now()) {
		p.node.SyncsRefused++
		return nil
	}
	l.syncBegins()
	p.syncsServed++
	l.serving++
	l.sessions++
	s := &session{p: p, link: l, stream: st, heard: p.s.now()}
	p.sessions = append(p.sessions, s)
	return s
}

// linkOf is p's link to the other side.
func (st *stream) linkOf(p *process) *link { return st.conn.links[st.conn.edge.side(p.node)] }

// progressed says whether the session made a difference, so that another one is worth while when it broke.
func (s *session) progressed() bool { return s.repaired+s.staged+s.given > 0 }

func (s *session) send(f *wire.SyncFrame) {
	n := s.stream.send(s.link.side, f, len(wire.MarshalSyncFrame(f)))
	s.p.node.SyncFrames++
	s.p.node.SyncBytes += uint64(n)
}

// finish ends the session at this side, with a close or a break.
func (s *session) finish(ok bool) {
	if ok {
		s.stream.close(s.link.side)
	} else {
		s.stream.reset(s.link.side)
	}
	s.over(ok)
}

// over forgets the session and tells who began it.
func (s *session) over(ok bool) {
	i := slices.Index(s.p.sessions, s)
	if i < 0 {
		return
	}
	s.p.sessions = slices.Delete(s.p.sessions, i, i+1)
	s.link.sessions--
	s.p.unsketch(s.link)
	if s.done == nil {
		s.p.syncsServed--
		s.link.serving--
		return
	}
	s.done(s, ok)
}

// ended implements receiver. A responder is done when the initiator closes; an initiator never is.
func (s *session) ended(clean bool) { s.over(clean && s.done == nil) }

// timeouts breaks sessions and beat streams on which nothing came for too long.
func (p *process) timeouts(now time.Time) {
	for _, s := range slices.Clone(p.sessions) {
		if now.Sub(s.heard) > syncTimeout {
			s.finish(false)
		}
	}
	for _, l := range p.links {
		if l != nil && l.beats != nil && now.Sub(l.beats.heard) > beatTimeout {
			p.neighbourLost(l)
		}
	}
}

// summary sums up a topic for the peer of l; with its fingerprint when l is keyed.
func (p *process) summary(l *link, topic int, keyed bool) wire.SyncSummary {
	sum := wire.SyncSummary{Topic: topicNames[topic], Owners: uint64(p.topic[topic].items.Len())}
	if keyed {
		sum.Fingerprint = p.sketch(l, topic).Fingerprint()
	}
	return sum
}

// receive implements receiver.
func (s *session) receive(frame any) {
	f := frame.(*wire.SyncFrame)
	s.heard = s.p.s.now()
	switch {
	case s.p.s.violation != nil:
	case f.Hello != nil && s.theirs == nil:
		s.hello(f.Hello)
	case s.theirs == nil:
		s.fault()
	case s.done != nil:
		s.answered(f)
	default:
		s.asked(f)
	}
}

// fault is a frame out of turn: a bug here, since nobody lies.
func (s *session) fault() {
	s.p.s.fail("node %d: a sync frame out of turn from node %d", s.p.node.index, s.link.peer.index)
}

func (s *session) hello(h *wire.SyncHello) {
	s.link.key = reconcile.LinkKey(s.p.node.id, s.link.salt, s.link.owner, h.Salt)
	s.theirs = h.Topics
	switch {
	case s.done == nil:
		s.greet(true)
	case s.pull != nil:
		s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topicNames[s.topic], Wants: []wire.Want{*s.pull}}})
	default:
		s.next()
	}
}

// next begins with the next topic that differs, members first.
func (s *session) next() {
	for s.topic++; s.topic < topics; s.topic++ {
		t := s.p.topic[s.topic]
		if s.p.summary(s.link, s.topic, true) == s.theirs[s.topic] {
			continue
		}
		if wants := s.begun(t); len(wants) > 0 {
			s.resuming = true
			s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topicNames[s.topic], Wants: wants}})
		} else {
			s.findDifference()
		}
		return
	}
	if s.tell == 0 {
		s.finish(true)
		return
	}
	ask := &wire.SyncWants{Topic: wire.Members, Wants: []wire.Want{{Owner: s.p.node.id}}, Digests: true}
	s.send(&wire.SyncFrame{Wants: ask})
}

// begun are the wants for the rest of the updates of which parts have arrived.
func (s *session) begun(t *topic) []wire.Want {
	var wants []wire.Want
	for _, owner := range t.state.StagedOwners() {
		if want := t.wantOf(owner, s.link); want.Staged != nil {
			wants = append(wants, want)
		}
	}
	return wants
}

// wantOf is what to ask the peer of l for, to have what it has newer of owner.
func (t *topic) wantOf(owner wire.ID, l *link) wire.Want {
	want := wire.Want{Owner: owner}
	if l != nil {
		want.Staged = t.state.Staged(owner, l.owner)
	}
	if d, _, held := t.state.Digest(owner); held {
		want.Generation, want.Version = d.Generation, d.Version
	}
	return want
}

// answered is what the initiator does with a frame.
func (s *session) answered(f *wire.SyncFrame) {
	switch {
	case f.Update != nil:
		s.takeUpdate(f.Update)
	case f.Wants != nil && s.pull == nil:
		s.wants = append(s.wants, f.Wants.Wants...)
	case f.Cells != nil && s.decoder != nil:
		s.addCells(f.Cells)
	case f.Hashes != nil && s.decoder != nil:
		s.compareHashes(f.Hashes)
	case f.Items != nil && s.topic == topics:
		items := f.Items.Items
		s.finish(len(items) == 1 && items[0].Version >= s.tell)
	case f.Done && s.pull != nil:
		s.pulled()
	case f.Done && s.resuming:
		s.resuming = false
		s.findDifference()
	case f.Done:
		s.sendUpdates(s.topic, s.wants, true)
		s.wants = nil // they were of this topic
		s.next()
	default:
		s.fault()
	}
}

// pulled ends a pull. When the delta did not match, the owner has lost its store or is of two minds: a snapshot settles it.
func (s *session) pulled() {
	if s.mismatched && s.pull.Version > 0 {
		*s.pull = wire.Want{Owner: s.pull.Owner}
		s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topicNames[s.topic], Wants: []wire.Want{*s.pull}}})
		return
	}
	s.finish(true)
}

// asked is what the responder does with a frame.
func (s *session) asked(f *wire.SyncFrame) {
	switch {
	case f.Update != nil && s.taking:
		s.takeUpdate(f.Update)
	case f.Done && s.taking:
		s.taking = false
	case f.Ask != nil:
		s.answerAsk(f.Ask)
	case f.Items != nil:
		if s.items = append(s.items, f.Items.Items...); !f.Items.More {
			s.answerItems(f.Items)
		}
	case f.Wants != nil && f.Wants.Digests:
		s.sendItems(wire.SyncItems{Topic: f.Wants.Topic, Items: s.itemsOf(f.Wants)})
	case f.Wants != nil:
		s.sendUpdates(topicOf(f.Wants.Topic), f.Wants.Wants, false)
	default:
		s.fault()
	}
}

// itemsOf is what is held of the owners that a request names.
func (s *session) itemsOf(w *wire.SyncWants) []wire.Item {
	var items []wire.Item
	for _, want := range w.Wants {
		if item, held := s.p.topic[topicOf(w.Topic)].state.Item(want.Owner); held {
			items = append(items, item)
		}
	}
	return items
}

func topicOf(name string) int { return slices.Index(topicNames[:], name) }

// sendUpdates answers wants and then says done. With once it leaves out what another sync with the peer sends at this time.
func (s *session) sendUpdates(topic int, wants []wire.Want, once bool) {
	const room = 1 << 10 // for what surrounds an update in its frame
	for _, want := range wants {
		if d, _, held := s.p.topic[topic].state.Digest(want.Owner); once && held && !s.link.gives(topic, &d) {
			continue
		}
		age := s.p.age(want.Owner).Truncate(time.Millisecond)
		for _, u := range s.p.topic[topic].state.Updates(want, wire.MaxFrame-room) {
			s.given++
			s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: topicNames[topic], Update: u, Age: age}})
		}
	}
	s.send(&wire.SyncFrame{Done: true})
}

// takeUpdate verifies and applies one update.
func (s *session) takeUpdate(u *wire.SyncUpdate) {
	t := s.p.topic[topicOf(u.Topic)]
	v, err := s.p.s.verify(t, &u.Update)
	if err != nil {
		s.p.s.fail("node %d sent an update that does not verify: %v", s.link.peer.index, err)
		return
	}
	outcome, _, err := s.p.receive(t, v, arrival{from: s.link, by: bySync, age: u.Age}, s.p.s.now())
	s.mismatched = err != nil
	switch {
	case err != nil:
	case outcome == gossipstate.Applied:
		s.repaired++
	case outcome == gossipstate.Staged:
		s.staged++
	}
}
