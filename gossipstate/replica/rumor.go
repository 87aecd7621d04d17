package replica

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	rumorRate  = 20  // rumors a second of one owner
	rumorBurst = 100 // at one time

	seqnoLen = 8 // bytes; pubsub and other implementations index it unchecked
)

// MessageID is the message id function of the gossipsub topics: the first 20 bytes of SHA-256(from | topic | data). Who joins
// one must use it: implementations differ in their defaults, and would take one message for many.
func MessageID(m *pubsubpb.Message) string {
	h := sha256.New()
	h.Write(m.GetFrom())
	h.Write([]byte(m.GetTopic()))
	h.Write(m.GetData())
	return string(h.Sum(nil)[:20])
}

// validator checks and applies the rumors of one topic. What it rejects costs the forwarder score, so only what the
// forwarder could have seen is rejected.
func (r *Replica) validator(tt *topicTable) pubsub.ValidatorEx {
	return func(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == r.host.ID() {
			return pubsub.ValidationAccept // applied before it was published
		}
		v, err := r.checkRumor(tt.domain, m)
		if err != nil {
			return pubsub.ValidationReject
		}
		verdict := pubsub.ValidationIgnore
		if !r.try(func(t *table) { verdict = t.takeRumor(tt, &v, from) }) {
			r.counters.one(CountDropped, "queue_full")
		}
		return verdict
	}
}

// checkRumor decodes and verifies a message, whose author must be the owner it speaks of.
func (r *Replica) checkRumor(domain wire.Domain, m *pubsub.Message) (wire.Verified, error) {
	refuse := func(label string) (wire.Verified, error) {
		r.counters.one(CountDropped, label)
		return wire.Verified{}, errors.New(label)
	}
	if len(m.GetSeqno()) != seqnoLen {
		return refuse("malformed")
	}
	if len(m.GetData()) > wire.MaxRumor {
		return refuse("too_large")
	}
	author, err := OwnerOf(m.GetFrom())
	if err != nil {
		return refuse("malformed")
	}
	u, err := wire.UnmarshalUpdate(m.GetData())
	if err != nil {
		return refuse(reason(err))
	}
	if u.Digest.Owner != author || u.More {
		return refuse("malformed")
	}
	v, err := wire.Verify(domain, u)
	if err != nil {
		return refuse(reason(err))
	}
	return v, nil
}

// takeRumor applies a rumor and says what becomes of the message.
func (t *table) takeRumor(tt *topicTable, v *wire.Verified, from peer.ID) pubsub.ValidationResult {
	now := time.Now()
	owner := v.Update().Digest.Owner
	held, _, ok := tt.state.Digest(owner)
	if ok && v.Update().Digest.Compare(&held) <= 0 && !gossipstate.Contradict(&v.Update().Digest, &held) {
		t.r.counters.one(CountDropped, "stale") // and costs the owner nothing: anybody may repeat what it said
		return pubsub.ValidationIgnore
	}
	rate := tt.rates[owner]
	if rate == nil {
		rate = newBucket(rumorRate, rumorBurst, now)
		tt.rates[owner] = rate
	}
	if !rate.take(now) {
		t.r.counters.one(CountDropped, "over_rate")
		return pubsub.ValidationIgnore
	}
	outcome, newer, err := t.receive(tt, v, arrival{from: from, path: "rumor", heard: true}, now)
	if err == nil && (outcome == gossipstate.Applied || newer) {
		return pubsub.ValidationAccept
	}
	return pubsub.ValidationIgnore
}

// publish sends this node's changes of a topic as rumors: the first at once, then what has gathered in each window.
func (r *Replica) publish(ctx context.Context, tt *topicTable) {
	p := newPace()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tt.wake:
		}
		start := time.Now()
		size, err := r.publishOnce(ctx, tt)
		if err != nil && ctx.Err() == nil {
			r.counters.one(CountPublish, "failed")
			r.log.Warn("cannot publish; anti-entropy will bring it", "topic", tt.name, "error", err)
		}
		window := time.NewTimer(p.next(size, time.Since(start)))
		select {
		case <-ctx.Done():
			window.Stop()
			return
		case <-window.C:
		}
	}
}

// publishOnce publishes what changed since the last rumor, if anything did, and says how many bytes that took; an announcement
// counts as the largest rumor, since more than that is fetched for it.
func (r *Replica) publishOnce(ctx context.Context, tt *topicTable) (size int, err error) {
	var u wire.Update
	var fresh bool
	if err := r.do(ctx, func(*table) {
		d, _, held := tt.state.Digest(r.self)
		if fresh = held && d.Version > tt.published; fresh {
			u, _ = tt.state.Rumor(r.self, tt.published)
			tt.published = d.Version
		}
	}); err != nil || !fresh {
		return 0, err
	}
	data := wire.MarshalUpdate(&u)
	if size = len(data); u.Previous == u.Digest.Version {
		size = wire.MaxRumor
	}
	if err := tt.gossip.Publish(ctx, data); err != nil {
		return size, err
	}
	r.counters.one(CountPublish, "ok")
	return size, nil
}
