package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// inboxUpdates is how many updates of one session are checked together: with 64, a signature costs half of what it costs
	// alone (wire's BenchmarkVerifyBatch), and more gain little.
	inboxUpdates = 64
	// inboxBytes is of the entries of these updates: a moment's work for the table, which takes them at one time.
	inboxBytes = 128 << 10
)

// inbox holds the updates that arrived together, to check their signatures together: on a slow stream each is taken by itself.
// All are of one topic and one peer, who answers for a wrong one.
type inbox struct {
	updates []wire.Update
	arrived []arrival
	bytes   int
}

func (b *inbox) add(u *wire.SyncUpdate, a arrival) {
	b.updates, b.arrived = append(b.updates, u.Update), append(b.arrived, a)
	for i := range u.Update.Entries {
		b.bytes += u.Update.Entries[i].Size()
	}
}

func (b *inbox) full() bool { return len(b.updates) >= inboxUpdates || b.bytes >= inboxBytes }

// takeUpdates applies updates until the other side is done, and what has come when the stream breaks. onWants may be nil: then
// wants are a fault.
func (s *session) takeUpdates(ctx context.Context, topic string, onWants func(*wire.SyncWants) error) error {
	var b inbox
	err := s.collect(ctx, topic, &b, onWants)
	return errors.Join(err, s.empty(ctx, topic, &b))
}

// collect reads frames until the other side is done.
func (s *session) collect(ctx context.Context, topic string, b *inbox, onWants func(*wire.SyncWants) error) error {
	for {
		f, err := s.receive()
		if err != nil {
			return err
		}
		switch {
		case f.Done:
			s.cut = s.cut || f.More
			return nil
		case f.Update != nil && f.Update.Topic == topic:
			b.add(f.Update, arrival{from: s.peer, path: "sync", age: f.Update.Age, beat: f.Update.Beat})
			if s.framer.waiting() && !b.full() {
				continue
			}
			if err := s.empty(ctx, topic, b); err != nil {
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

// empty verifies the updates in b and applies them in their order, up to the first that is wrong. Only what its sender could
// have checked is an error.
func (s *session) empty(ctx context.Context, topic string, b *inbox) error {
	if len(b.updates) == 0 {
		return nil
	}
	verified, faults := wire.VerifyBatch(wire.Domain{Network: s.r.cfg.Network, Topic: topic}, b.updates)
	var fault error
	err := s.r.do(ctx, func(t *table) {
		for i := range verified {
			if fault = faults[i]; fault != nil {
				return
			}
			outcome, _, err := t.receive(t.topics[topic], &verified[i], b.arrived[i], time.Now())
			switch {
			case err != nil: // of this replica, or nobody's: counted
			case outcome == gossipstate.Applied:
				s.repaired++
			case outcome == gossipstate.Staged:
				s.staged++
			}
		}
	})
	*b = inbox{}
	return errors.Join(err, fault)
}
