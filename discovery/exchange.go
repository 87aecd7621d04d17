package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	envelopes "github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// exchangeTimeout bounds one exchange: two round trips and 16 KiB.
	exchangeTimeout = 10 * time.Second

	// eagerExchange is the first pause between two exchanges while neighbours are missing; it doubles up to
	// Config.ExchangeInterval.
	eagerExchange = 2 * time.Second

	// A peer may ask serveBurst times at once and then every serveEvery; maxServing may ask at one time. An honest one asks
	// twice in a minute, more often while it is short of neighbours. So one peer has few of maxServing, however late it says
	// what it wants.
	serveEvery = 5 * time.Second
	serveBurst = 4
	maxServing = 16
)

// exchanged is what came of asking a peer.
type exchanged struct {
	id  peer.ID
	err error
}

// exchange asks one neighbour for peers, if there is one to ask, and reports whether an exchange runs. Its outcome arrives on
// exchanges.
func (c *connector) exchange(ctx context.Context) (runs bool) {
	if c.exchanging {
		return true
	}
	partner := c.table.partner(c.link, c.answers)
	if partner == "" {
		return false
	}
	c.exchanging = true
	c.wg.Go(func() {
		err := c.ask(ctx, partner)
		select {
		case c.exchanges <- exchanged{partner, err}:
		case <-ctx.Done():
		}
	})
	return true
}

// exchangeDone ends a round of the view, and returns the pause before the next.
func (c *connector) exchangeDone(e exchanged) time.Duration {
	c.exchanging = false
	c.table.view.turn()
	switch {
	case e.err == nil:
		c.count.exchanges.Add(1)
	case errors.Is(e.err, errExchange):
		c.count.exchangesMalformed.Add(1)
		c.log.Debug("exchange of peers", "peer", e.id, "err", e.err)
	default:
		c.count.exchangesFailed.Add(1)
		c.log.Debug("exchange of peers", "peer", e.id, "err", e.err)
	}
	return c.exchangePause()
}

func (c *connector) exchangePause() time.Duration {
	if c.lacks() != lacksNothing {
		return c.eager.next()
	}
	c.eager.reset()
	return jitter(c.cfg.ExchangeInterval)
}

// answers reports whether id serves exchanges.
func (c *connector) answers(id peer.ID) bool {
	speaks, err := c.host.Peerstore().SupportsProtocols(id, PeersProtocol(c.cfg.Network))
	return err == nil && len(speaks) > 0
}

// ask is the asking side of an exchange.
func (c *connector) ask(ctx context.Context, id peer.ID) error {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(network.WithNoDial(ctx, "exchange"), "exchange"), exchangeTimeout)
	defer cancel()
	s, err := c.host.NewStream(ctx, id, PeersProtocol(c.cfg.Network))
	if err != nil {
		return fmt.Errorf("asking for peers: %w", err)
	}
	if err := c.asking(ctx, s); err != nil {
		s.Reset()
		return err
	}
	return s.Close()
}

func (c *connector) asking(ctx context.Context, s network.Stream) error {
	if err := s.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return fmt.Errorf("asking for peers: %w", err)
	}
	if _, err := s.Write([]byte{offerSize}); err != nil {
		return fmt.Errorf("asking for peers: %w", err)
	}
	offered, err := readOffer(s)
	if err != nil {
		return err
	}
	var w want
	if !c.do(ctx, func() { w = c.table.wanted(offered) }) {
		return ctx.Err()
	}
	if _, err := s.Write(appendWant(nil, w)); err != nil {
		return fmt.Errorf("naming the records wanted: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("naming the records wanted: %w", err)
	}
	records, err := readRecords(s, offered, w)
	away := !manet.IsIPLoopback(s.Conn().RemoteMultiaddr())
	c.do(ctx, func() {
		for _, r := range records {
			c.sign(r, away)
		}
		c.count.recordsTaken.Add(uint64(len(records)))
		c.table.answered(offered, time.Now())
	})
	return err
}

// sign puts a record into the table, with the addresses that may lead somewhere from here.
func (c *connector) sign(r signedRecord, away bool) {
	if away {
		r.addrs = ma.FilterAddrs(r.addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) })
	}
	r.addrs = c.allowed(r.addrs)
	switch {
	case r.id == c.host.ID():
	case len(r.addrs) == 0:
		c.count.droppedAddress.Add(1)
	default:
		c.table.sign(r, time.Now())
	}
}

// accept is the handler of streams that others open.
func (c *connector) accept(s network.Stream) {
	select {
	case c.streams <- s:
	case <-c.ended:
		s.Reset()
	}
}

// admit reports whether the peer of conn may ask once more now. A stream that says nothing counts as a question: else one
// peer could open all that run at one time.
func (c *connector) admit(conn network.Conn) bool {
	now := time.Now()
	return c.table.met(conn.RemotePeer(), groupOf(conn.RemoteMultiaddr()), now).serve(now)
}

// serve is the answering side of an exchange; admitted says whether the peer may ask.
func (c *connector) serve(ctx context.Context, s network.Stream, admitted bool) {
	err := errRefused
	if admitted {
		err = c.serving(ctx, s)
	}
	switch {
	case err == nil:
		c.count.served.Add(1)
		s.Close()
	case errors.Is(err, errRefused):
		c.count.serveRefused.Add(1)
		s.ResetWithError(network.StreamRateLimited)
	default:
		c.count.serveFailed.Add(1)
		c.log.Debug("exchange of peers", "peer", s.Conn().RemotePeer(), "err", err)
		s.Reset()
	}
}

var errRefused = errors.New("over the limit")

func (c *connector) serving(ctx context.Context, s network.Stream) error {
	if c.serves.Add(1) > maxServing {
		c.serves.Add(-1)
		return errRefused
	}
	defer c.serves.Add(-1)
	if err := s.Scope().ReserveMemory(maxExchange, network.ReservationPriorityMedium); err != nil {
		return errRefused
	}
	defer s.Scope().ReleaseMemory(maxExchange)
	if err := s.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return err
	}
	var ask [1]byte
	if _, err := io.ReadFull(s, ask[:]); err != nil {
		return fmt.Errorf("reading a question: %w", err)
	}
	if ask[0] == 0 || ask[0] > offerSize {
		return fmt.Errorf("%w: it asks for %d peers, the limit is %d", errExchange, ask[0], offerSize)
	}
	var (
		entries []entry
		records [][]byte
	)
	if !c.do(ctx, func() { entries, records = c.answer(s.Conn(), int(ask[0])) }) {
		return ctx.Err()
	}
	if _, err := s.Write(appendOffer(nil, entries)); err != nil {
		return fmt.Errorf("offering peers: %w", err)
	}
	w, err := readWant(s, len(entries))
	if err != nil {
		return err
	}
	var wanted [][]byte
	for i, r := range records {
		if w.has(i) {
			wanted = append(wanted, r)
		}
	}
	if len(wanted) == 0 {
		return nil // the asker has closed its side
	}
	if _, err := s.Write(appendRecords(nil, wanted)); err != nil {
		return fmt.Errorf("sending records: %w", err)
	}
	return nil
}

// answer takes the question as a push of the peer that asks, and draws what to offer it.
func (c *connector) answer(conn network.Conn, n int) (entries []entry, records [][]byte) {
	id, now := conn.RemotePeer(), time.Now()
	c.table.near(now, c.link)
	c.table.pushed(c.table.met(id, groupOf(conn.RemoteMultiaddr()), now))
	for _, o := range c.table.offers(id, n, now, c.link) {
		entries = append(entries, entry{key: keyOf(o.id), seq: o.seq, age: now.Sub(o.heard)})
		records = append(records, o.record)
	}
	return entries, records
}

// learn takes the record that identify brought of the peer of conn, and has verified.
func (c *connector) learn(conn network.Conn, envelope *envelopes.Envelope) {
	rec, err := envelope.Record()
	if err != nil {
		return
	}
	b, err := envelope.Marshal()
	if err != nil {
		return
	}
	if len(b) > maxRecord {
		c.count.droppedRecord.Add(1)
		return
	}
	if told, ok := rec.(*peer.PeerRecord); ok && told.PeerID == conn.RemotePeer() {
		r := signedRecord{bytes: b, id: told.PeerID, seq: told.Seq, addrs: boundAddrs(told.Addrs)}
		c.sign(r, !manet.IsIPLoopback(conn.RemoteMultiaddr()))
	}
}

// near notes who is connected now, and so alive.
func (t *candidates) near(now time.Time, links links) {
	for id, c := range t.byPeer {
		if c.found && links(id) != apart {
			c.heard = now
		}
	}
}

// serve reports whether c may be served once more now, and counts it. Source: the generic cell rate algorithm.
func (c *candidate) serve(now time.Time) bool {
	due := c.served
	if due.Before(now) {
		due = now
	}
	if due.Sub(now) > (serveBurst-1)*serveEvery {
		return false
	}
	c.served = due.Add(serveEvery)
	return true
}

// partner is whom to ask next: a neighbour of this node's own choice, or any when there is none, so that those who only
// came do not decide what it hears. Each group of them is as likely; in one, all are asked in random order before one is
// asked again.
func (t *candidates) partner(links links, answers func(peer.ID) bool) peer.ID {
	byGroup, groups := map[string][]*candidate{}, []string(nil)
	collect := func(c *candidate) {
		if byGroup[c.group] == nil {
			groups = append(groups, c.group)
		}
		byGroup[c.group] = append(byGroup[c.group], c)
	}
	var others []*candidate
	for _, c := range t.sorted() {
		switch {
		case !c.found || links(c.id) == apart || !answers(c.id):
		case c.chosen:
			collect(c)
		default:
			others = append(others, c)
		}
	}
	if len(groups) == 0 {
		for _, c := range others {
			collect(c)
		}
	}
	if len(groups) == 0 {
		return ""
	}
	all := byGroup[groups[t.rng.IntN(len(groups))]]
	open := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.asked })
	if len(open) == 0 {
		for _, c := range all {
			c.asked = false
		}
		open = all
	}
	c := open[t.rng.IntN(len(open))]
	c.asked = true
	return c.id
}

// offers draws up to n peers to tell to another: of the view and the neighbours, those with a record whom somebody met
// lately, and of no group more than a quarter while there are others.
func (t *candidates) offers(to peer.ID, n int, now time.Time, links links) []*candidate {
	var pool []seat
	for _, c := range t.sorted() {
		near := c.found && links(c.id) != apart
		if c.id != to && c.record != nil && (near || holds(t.view.members, c.id) && c.credible(now)) {
			pool = append(pool, c.seat())
		}
	}
	drawn := t.view.draw(nil, pool, n, max(1, n/4))
	drawn = t.view.draw(drawn, pool, n-len(drawn), n)
	offered := make([]*candidate, len(drawn))
	for i, s := range drawn {
		offered[i] = t.byPeer[s.id]
	}
	return offered
}

// wanted are the offered records that are not held, or newer than what is.
func (t *candidates) wanted(offered []entry) (w want) {
	held := t.byKey()
	for i, e := range offered {
		c := held[e.key]
		if e.key != keyOf(t.self) && e.age <= staleAfter && (c == nil || c.record == nil || c.seq < e.seq) {
			w |= 1 << i
		}
	}
	return w
}

// answered takes note of who was offered, once their records were taken.
func (t *candidates) answered(offered []entry, now time.Time) {
	held := t.byKey()
	var pulled []*candidate
	for _, e := range offered {
		if c := held[e.key]; c != nil && c.record != nil && e.age <= staleAfter {
			c.mentioned = now
			t.hear(c, now.Add(-e.age), now)
			pulled = append(pulled, c)
		}
	}
	t.pulled(pulled, now)
}

// byKey finds candidates as entries name them.
func (t *candidates) byKey() map[[8]byte]*candidate {
	keys := make(map[[8]byte]*candidate, len(t.byPeer))
	for id, c := range t.byPeer {
		keys[keyOf(id)] = c
	}
	return keys
}
