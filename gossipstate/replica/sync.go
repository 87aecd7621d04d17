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

	// maxRequests is of one session: for each topic what is staged, the list of hashes and the items. Asks that are answered with
	// cells come on top, as many as a reconcile.View gives.
	maxRequests = 3 * wire.MaxTopics
)

// session is one sync stream. The initiator asks, the responder answers; both apply what they get.
type session struct {
	r      *Replica
	peer   peer.ID
	framer *framer
	key    reconcile.Key
	ours   []wire.SyncSummary         // from our hello
	theirs []wire.SyncSummary         // from the other side's
	views  map[string]*reconcile.View // of the responder, by topic
	budget int                        // bytes that this side may send: see mayGive

	requests int // that the responder has answered, those for cells apart

	repaired int  // updates applied here
	staged   int  // parts of updates that were new here
	given    int  // frames of updates sent
	cut      bool // one side's budget ended before it had sent all
}

// progressed says whether the session made a difference, so that another one is worth while when it was cut.
func (s *session) progressed() bool { return s.repaired+s.staged+s.given > 0 }

func (s *session) send(f *wire.SyncFrame) error { return s.framer.write(wire.MarshalSyncFrame(f)) }

func (s *session) receive() (f wire.SyncFrame, err error) {
	err = s.framer.read(func(b []byte) error {
		f, err = wire.UnmarshalSyncFrame(b)
		return err
	})
	return f, err
}

// withPeer opens a session with p that is about owners known by name, says hello and runs f in it.
func (r *Replica) withPeer(ctx context.Context, p peer.ID, f func(context.Context, *session) error) (*session, error) {
	return r.openSession(ctx, p, nil, f)
}

// syncWith reconciles every common topic with p. The session is there unless it could not begin: it says how far it came.
func (r *Replica) syncWith(ctx context.Context, p peer.ID) (*session, error) {
	return r.openSession(ctx, p, r.topics, func(ctx context.Context, s *session) error { return s.syncAll(ctx) })
}

// openSession opens a session in which topics can be reconciled.
func (r *Replica) openSession(ctx context.Context, p peer.ID, topics []string, f func(context.Context, *session) error) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	go r.cancelWhenIdle(ctx, cancel)
	open, cancelOpen := context.WithTimeout(network.WithAllowLimitedConn(ctx, syncService), syncTimeout)
	defer cancelOpen()
	stream, err := r.host.NewStream(open, p, r.syncProtocol())
	if err != nil {
		return nil, fmt.Errorf("opening a sync stream to %s: %w", p, err)
	}
	defer resetWith(ctx, stream)()
	s := &session{r: r, peer: p}
	if err := s.initiate(ctx, stream, topics, f); err != nil {
		stream.Reset()
		r.countFault(err)
		return s, fmt.Errorf("syncing with %s: %w", p, err)
	}
	return s, stream.Close()
}

func (s *session) initiate(ctx context.Context, stream network.Stream, topics []string, f func(context.Context, *session) error) error {
	if _, err := OwnerOf(s.peer); err != nil {
		return err
	}
	if err := s.attach(stream); err != nil {
		return err
	}
	defer s.framer.release()
	hello := &wire.SyncHello{}
	if err := s.r.do(ctx, func(t *table) {
		hello.Salt = t.link(s.peer).salt
		hello.Topics = t.summaries(nil, topics)
		s.budget = t.budgetOf(stream.Conn())
	}); err != nil {
		return err
	}
	if err := s.send(&wire.SyncFrame{Hello: hello}); err != nil {
		return err
	}
	answer, err := s.receive()
	if err != nil {
		return err
	}
	if answer.Hello == nil {
		return fmt.Errorf("%w: no hello", wire.ErrMalformed)
	}
	s.ours, s.theirs = hello.Topics, answer.Hello.Topics
	if err := s.r.do(ctx, func(t *table) {
		if l := t.links[s.peer]; l != nil && l.salt == hello.Salt {
			t.keyed(l, answer.Hello.Salt)
			s.key = l.key
		}
		t.toldForgotten(answer.Hello.Forgotten, time.Now())
	}); err != nil {
		return err
	}
	return f(ctx, s)
}

func (s *session) attach(stream network.Stream) (err error) {
	s.framer, err = newFramer(stream, syncService, syncTimeout, func(direction string, n int) {
		s.r.counters.add(CountSyncBytes, direction, uint64(n))
	})
	return err
}

// summaries sums up the topics that this node is on, in the order given; for a link that is keyed, with fingerprints.
func (t *table) summaries(l *link, topics []string) []wire.SyncSummary {
	var all []wire.SyncSummary
	for _, name := range topics {
		tt := t.topics[name]
		if tt == nil {
			continue
		}
		sum := wire.SyncSummary{Topic: name, Owners: uint64(tt.items.Len())}
		if l != nil {
			sum.Fingerprint = t.sketch(l, tt).Fingerprint()
		}
		all = append(all, sum)
	}
	return all
}

// owners is how many each side said in its hello that it holds of a topic; false when a hello did not name it.
func (s *session) owners(topic string) (ours, theirs uint64, both bool) {
	named := func(sum wire.SyncSummary) bool { return sum.Topic == topic }
	i, j := slices.IndexFunc(s.ours, named), slices.IndexFunc(s.theirs, named)
	if i < 0 || j < 0 {
		return 0, 0, false
	}
	return s.ours[i].Owners, s.theirs[j].Owners, true
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
	s := &session{r: r, peer: stream.Conn().RemotePeer(), views: map[string]*reconcile.View{}}
	if err := s.attach(stream); err != nil {
		return err
	}
	defer s.framer.release()
	var l *link
	if err := r.do(ctx, func(t *table) {
		l = t.admitSync(s.peer)
		s.budget = t.budgetOf(stream.Conn())
	}); err != nil {
		return err
	}
	if l == nil {
		return errRefused
	}
	defer r.do(context.WithoutCancel(ctx), func(t *table) { t.syncServed(l) })
	if err := s.answerHello(ctx, l); err != nil {
		return err
	}
	for s.requests < maxRequests {
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
		if f.Ask == nil { // see answerAsk
			s.requests++
		}
	}
	return fmt.Errorf("%w: over %d requests", wire.ErrTooLarge, maxRequests)
}

func (s *session) answerHello(ctx context.Context, l *link) error {
	f, err := s.receive()
	if err != nil {
		return err
	}
	if f.Hello == nil {
		return fmt.Errorf("%w: no hello", wire.ErrMalformed)
	}
	s.theirs = f.Hello.Topics
	var topics []string
	for _, sum := range f.Hello.Topics {
		if !slices.Contains(topics, sum.Topic) {
			topics = append(topics, sum.Topic)
		}
	}
	hello := wire.SyncHello{Salt: l.salt}
	var fault error
	if err := s.r.do(ctx, func(t *table) {
		if t.links[s.peer] != l {
			fault = errRekeyed
			return
		}
		t.keyed(l, f.Hello.Salt)
		s.key = l.key
		hello.Topics = t.summaries(l, topics)
		hello.Forgotten = t.forgottenAs(l.owner)
	}); err != nil || fault != nil {
		return errors.Join(err, fault)
	}
	s.ours = hello.Topics
	return s.send(&wire.SyncFrame{Hello: &hello})
}

// answer serves one request of the initiator.
func (s *session) answer(ctx context.Context, f wire.SyncFrame) error {
	on := func(topic string) bool { return slices.Contains(s.r.topics, topic) }
	switch {
	case f.Ask != nil && on(f.Ask.Topic):
		return s.answerAsk(ctx, f.Ask)
	case f.Items != nil && on(f.Items.Topic):
		return s.answerItems(ctx, f)
	case f.Wants != nil && on(f.Wants.Topic):
		if err := checkWants(f.Wants.Wants); err != nil {
			return err
		}
		if f.Wants.Digests {
			return s.answerDigests(ctx, f.Wants)
		}
		return s.sendUpdates(ctx, f.Wants.Topic, f.Wants.Wants, false)
	default:
		return fmt.Errorf("%w: frame out of turn", wire.ErrMalformed)
	}
}
