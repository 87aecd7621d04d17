package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	syncService     = "p2pnode.sync"
	syncTimeout     = 10 * time.Second // for one frame
	sessionTimeout  = 2 * time.Minute  // for a whole session: what is left comes with the next
	syncRate        = 5                // sessions a second that one peer may open
	syncBurst       = 20
	maxSyncsStarted = 8  // sessions of ours at one time
	maxSyncsServed  = 64 // sessions of others at one time
	maxServedPeer   = 8  // of them of one peer: as many as it pulls at one time

	maxRequests = 2 * wire.MaxTopics // in one session, which has one for each topic
)

// session is one sync stream. The initiator asks, the responder answers; both apply what they get.
type session struct {
	r        *Replica
	peer     peer.ID
	framer   *framer
	key      reconcile.Key
	theirs   []wire.SyncSummary // from the other side's hello
	repaired int                // updates applied here
}

func (s *session) send(f *wire.SyncFrame) error { return s.framer.write(wire.MarshalSyncFrame(f)) }

func (s *session) receive() (f wire.SyncFrame, err error) {
	err = s.framer.read(func(b []byte) error {
		f, err = wire.UnmarshalSyncFrame(b)
		return err
	})
	return f, err
}

// withPeer opens a session with p, says hello and runs f in it.
func (r *Replica) withPeer(ctx context.Context, p peer.ID, f func(context.Context, *session) error) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	open, cancelOpen := context.WithTimeout(network.WithAllowLimitedConn(ctx, syncService), syncTimeout)
	defer cancelOpen()
	stream, err := r.host.NewStream(open, p, r.syncProtocol())
	if err != nil {
		return nil, fmt.Errorf("opening a sync stream to %s: %w", p, err)
	}
	defer resetWith(ctx, stream)()
	s, err := r.initiate(ctx, stream, p, f)
	if err != nil {
		stream.Reset()
		r.countFault(err)
		return nil, fmt.Errorf("syncing with %s: %w", p, err)
	}
	return s, stream.Close()
}

func (r *Replica) initiate(ctx context.Context, stream network.Stream, p peer.ID, f func(context.Context, *session) error) (*session, error) {
	if _, err := OwnerOf(p); err != nil {
		return nil, err
	}
	framer, err := newFramer(stream, syncService, syncTimeout, r.countSyncBytes)
	if err != nil {
		return nil, err
	}
	defer framer.release()
	s := &session{r: r, peer: p, framer: framer}
	hello := &wire.SyncHello{}
	if err := r.do(ctx, func(t *table) {
		hello.Salt = t.link(p).salt
		hello.Topics = t.summaries(r.topics, nil)
	}); err != nil {
		return nil, err
	}
	if err := s.send(&wire.SyncFrame{Hello: hello}); err != nil {
		return nil, err
	}
	answer, err := s.receive()
	if err != nil {
		return nil, err
	}
	if answer.Hello == nil {
		return nil, fmt.Errorf("%w: no hello", wire.ErrMalformed)
	}
	if err := s.setKey(hello.Salt, answer.Hello.Salt); err != nil {
		return nil, err
	}
	s.theirs = answer.Hello.Topics
	return s, f(ctx, s)
}

func (r *Replica) countSyncBytes(direction string, n int) {
	r.counters.add(CountSyncBytes, direction, uint64(n))
}

func (s *session) setKey(ours, theirs wire.Salt) error {
	owner, err := OwnerOf(s.peer)
	if err != nil {
		return err
	}
	s.key = reconcile.LinkKey(s.r.self, ours, owner, theirs)
	return nil
}

// summaries sums up the topics that this node is on, in the order given; with a key, with fingerprints.
func (t *table) summaries(topics []string, key *reconcile.Key) []wire.SyncSummary {
	var all []wire.SyncSummary
	for _, name := range topics {
		tt := t.topics[name]
		if tt == nil {
			continue
		}
		items := tt.state.Items()
		s := wire.SyncSummary{Topic: name, Owners: uint64(len(items))}
		if key != nil {
			s.Fingerprint = reconcile.NewSet(*key, items).Fingerprint()
		}
		all = append(all, s)
	}
	return all
}

// syncAll reconciles every common topic, members first: owners of the others count only while members holds them.
func (s *session) syncAll(ctx context.Context) error {
	for _, name := range s.r.topics {
		i := slices.IndexFunc(s.theirs, func(sum wire.SyncSummary) bool { return sum.Topic == name })
		if i < 0 {
			continue
		}
		var ours wire.SyncSummary
		var items []wire.Item
		if err := s.r.do(ctx, func(t *table) {
			ours = t.summaries([]string{name}, &s.key)[0]
			items = t.topics[name].state.Items()
		}); err != nil {
			return err
		}
		if ours == s.theirs[i] {
			continue
		}
		if err := s.exchange(ctx, name, items); err != nil {
			return err
		}
	}
	return nil
}

// exchange is the initiator's side of the reconciliation of one topic.
func (s *session) exchange(ctx context.Context, topic string, items []wire.Item) error {
	if err := s.sendItems(topic, items); err != nil {
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
	return s.sendUpdates(ctx, topic, wants)
}

// checkWants refuses wants that are not sorted by owner, or name one twice: each costs its answer.
func checkWants(wants []wire.Want) error {
	if len(wants) > wire.MaxOwners {
		return fmt.Errorf("%w: over %d wants", wire.ErrTooLarge, wire.MaxOwners)
	}
	for i := 1; i < len(wants); i++ {
		if wants[i-1].Owner.Compare(wants[i].Owner) >= 0 {
			return fmt.Errorf("%w: wants out of order", wire.ErrMalformed)
		}
	}
	return nil
}

func (s *session) sendItems(topic string, items []wire.Item) error {
	for {
		n := min(len(items), wire.MaxFrameItems)
		f := &wire.SyncItems{Topic: topic, Items: items[:n], More: n < len(items)}
		if err := s.send(&wire.SyncFrame{Items: f}); err != nil {
			return err
		}
		if items = items[n:]; len(items) == 0 {
			return nil
		}
	}
}

// sendUpdates answers wants, one owner at a time so that a large topic is never in memory twice, and then says done.
func (s *session) sendUpdates(ctx context.Context, topic string, wants []wire.Want) error {
	const room = 1 << 10 // for what surrounds an update in its frame
	for _, want := range wants {
		var updates []gossipstate.Update
		var age time.Duration
		if err := s.r.do(ctx, func(t *table) {
			updates = t.topics[topic].state.Updates(want, wire.MaxFrame-room)
			age = t.age(want.Owner)
		}); err != nil {
			return err
		}
		for i := range updates {
			if err := s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: topic, Update: updates[i], Age: age}}); err != nil {
				return err
			}
		}
	}
	return s.send(&wire.SyncFrame{Done: true})
}

// takeUpdates applies updates until the other side is done. onWants may be nil: then wants are a fault.
func (s *session) takeUpdates(ctx context.Context, topic string, onWants func(*wire.SyncWants) error) error {
	for {
		f, err := s.receive()
		if err != nil {
			return err
		}
		switch {
		case f.Done:
			return nil
		case f.Update != nil && f.Update.Topic == topic:
			if err := s.takeUpdate(ctx, f.Update); err != nil {
				return err
			}
		case f.Wants != nil && f.Wants.Topic == topic && onWants != nil:
			if err := onWants(f.Wants); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
		}
	}
}

// takeUpdate verifies and applies one update. Only what its sender could have checked ends the session.
func (s *session) takeUpdate(ctx context.Context, u *wire.SyncUpdate) error {
	domain := wire.Domain{Network: s.r.cfg.Network, Topic: u.Topic}
	v, err := wire.Verify(domain, u.Update)
	if err != nil {
		return err
	}
	return s.r.do(ctx, func(t *table) {
		outcome, _, err := t.receive(t.topics[u.Topic], &v, arrival{from: s.peer, path: "sync", age: u.Age}, time.Now())
		if err == nil && outcome == gossipstate.Applied {
			s.repaired++
		}
	})
}

// pull asks for the owners in wants.
func (s *session) pull(ctx context.Context, topic string, wants []wire.Want) error {
	if err := s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topic, Wants: wants}}); err != nil {
		return err
	}
	return s.takeUpdates(ctx, topic, nil)
}

// digests asks for the items of owners, all when none is named.
func (s *session) digests(topic string, owners []gossipstate.ID) ([]wire.Item, error) {
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
	return s.takeItems(f, topic)
}

// takeItems collects a list of items that begins with f. It must be sorted by owner, without repeats.
func (s *session) takeItems(f wire.SyncFrame, topic string) ([]wire.Item, error) {
	var items []wire.Item
	for {
		if f.Items == nil || f.Items.Topic != topic {
			return nil, fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
		}
		if len(f.Items.Items) == 0 && f.Items.More {
			return nil, fmt.Errorf("%w: no items, and more to come", wire.ErrMalformed)
		}
		for _, it := range f.Items.Items {
			if len(items) > 0 && items[len(items)-1].Owner.Compare(it.Owner) >= 0 {
				return nil, fmt.Errorf("%w: items out of order", wire.ErrMalformed)
			}
			items = append(items, it)
		}
		if len(items) > wire.MaxOwners {
			return nil, fmt.Errorf("%w: over %d items", wire.ErrTooLarge, wire.MaxOwners)
		}
		if !f.Items.More {
			return items, nil
		}
		var err error
		if f, err = s.receive(); err != nil {
			return nil, err
		}
	}
}

// serveSync is the responder's side of a session.
func (r *Replica) serveSync(ctx context.Context, stream network.Stream) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	defer resetWith(ctx, stream)()
	if err := r.respond(ctx, stream); err != nil {
		r.countFault(err)
		r.counters.one(CountSync, syncFailure(err))
		stream.Reset()
		return
	}
	r.counters.one(CountSync, "served")
	stream.Close()
}

var errRefused = errors.New("too many syncs")

func syncFailure(err error) string {
	switch {
	case errors.Is(err, errRefused):
		return "refused"
	case reason(err) != "":
		return "faulty"
	default:
		return "failed"
	}
}

func (r *Replica) respond(ctx context.Context, stream network.Stream) error {
	framer, err := newFramer(stream, syncService, syncTimeout, r.countSyncBytes)
	if err != nil {
		return err
	}
	defer framer.release()
	p := stream.Conn().RemotePeer()
	s := &session{r: r, peer: p, framer: framer}
	var l *link
	if err := r.do(ctx, func(t *table) { l = t.admitSync(p) }); err != nil {
		return err
	}
	if l == nil {
		return errRefused
	}
	defer r.do(context.WithoutCancel(ctx), func(t *table) { t.syncServed(l) })
	hello := wire.SyncHello{Salt: l.salt}
	f, err := s.receive()
	if err != nil {
		return err
	}
	if f.Hello == nil {
		return fmt.Errorf("%w: no hello", wire.ErrMalformed)
	}
	if err := s.setKey(hello.Salt, f.Hello.Salt); err != nil {
		return err
	}
	var topics []string
	for _, sum := range f.Hello.Topics {
		if !slices.Contains(topics, sum.Topic) {
			topics = append(topics, sum.Topic)
		}
	}
	if err := r.do(ctx, func(t *table) { hello.Topics = t.summaries(topics, &s.key) }); err != nil {
		return err
	}
	if err := s.send(&wire.SyncFrame{Hello: &hello}); err != nil {
		return err
	}
	for range maxRequests {
		f, err := s.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.answer(ctx, f); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: over %d requests", wire.ErrTooLarge, maxRequests)
}

// answer serves one request of the initiator.
func (s *session) answer(ctx context.Context, f wire.SyncFrame) error {
	switch {
	case f.Items != nil && slices.Contains(s.r.topics, f.Items.Topic):
		return s.answerItems(ctx, f)
	case f.Wants != nil && slices.Contains(s.r.topics, f.Wants.Topic):
		if err := checkWants(f.Wants.Wants); err != nil {
			return err
		}
		if !f.Wants.Digests {
			return s.sendUpdates(ctx, f.Wants.Topic, f.Wants.Wants)
		}
		var items []wire.Item
		if err := s.r.do(ctx, func(t *table) { items = t.topics[f.Wants.Topic].itemsOf(f.Wants.Wants) }); err != nil {
			return err
		}
		return s.sendItems(f.Wants.Topic, items)
	default:
		return fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
	}
}

// answerItems is the responder's side of the reconciliation of one topic.
func (s *session) answerItems(ctx context.Context, f wire.SyncFrame) error {
	topic := f.Items.Topic
	theirs, err := s.takeItems(f, topic)
	if err != nil {
		return err
	}
	var diff reconcile.Difference
	if err := s.r.do(ctx, func(t *table) { diff = reconcile.Compare(t.topics[topic].state.Items(), theirs) }); err != nil {
		return err
	}
	for wants := range slices.Chunk(diff.Ask, wire.MaxFrameItems) {
		if err := s.send(&wire.SyncFrame{Wants: &wire.SyncWants{Topic: topic, Wants: wants}}); err != nil {
			return err
		}
	}
	if err := s.sendUpdates(ctx, topic, diff.Send); err != nil {
		return err
	}
	return s.takeUpdates(ctx, topic, nil)
}

// itemsOf is what is held of the owners in wants, in their order; of all when none is named, sorted by owner.
func (tt *topicTable) itemsOf(wants []wire.Want) []wire.Item {
	if len(wants) == 0 {
		return tt.state.Items()
	}
	var items []wire.Item
	for _, w := range wants {
		if item, held := tt.state.Item(w.Owner); held {
			items = append(items, item)
		}
	}
	return items
}
