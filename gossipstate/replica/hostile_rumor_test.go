package replica

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestARumorThatBreaksTheRulesIsRejectedAndCounted(t *testing.T) {
	good := func(p *rawPeer) *pubsubpb.Message {
		p.set(p.t, "k", "v")
		return p.message("test", "main", wire.MarshalUpdate(new(p.update("main"))))
	}
	rumors := map[string]struct {
		reason string
		make   func(p *rawPeer) *pubsubpb.Message
	}{
		"a seqno of 3 bytes": {"malformed", func(p *rawPeer) *pubsubpb.Message {
			m := good(p)
			m.Seqno = m.Seqno[5:]
			return m
		}},
		"no seqno": {"malformed", func(p *rawPeer) *pubsubpb.Message {
			m := good(p)
			m.Seqno = nil
			return m
		}},
		"no data": {"malformed", func(p *rawPeer) *pubsubpb.Message { return p.message("test", "main", nil) }},
		"data that is no protobuf": {"malformed", func(p *rawPeer) *pubsubpb.Message {
			return p.message("test", "main", bytes.Repeat([]byte{0xff}, 100))
		}},
		"data over the limit": {"too_large", func(p *rawPeer) *pubsubpb.Message {
			return p.message("test", "main", make([]byte, wire.MaxRumor+1))
		}},
		"an author who is not the owner": {"malformed", func(p *rawPeer) *pubsubpb.Message {
			return p.message("test", "main", wire.MarshalUpdate(new(newAuthor(p.t).update("members"))))
		}},
		"one part of several": {"malformed", func(p *rawPeer) *pubsubpb.Message {
			p.set(p.t, "k", "v")
			u := p.update("main")
			u.More = true
			return p.message("test", "main", wire.MarshalUpdate(&u))
		}},
		"a forged signature": {"bad_signature", func(p *rawPeer) *pubsubpb.Message {
			p.set(p.t, "k", "v")
			u := p.update("main")
			u.Signed.Signature[0] ^= 1
			return p.message("test", "main", wire.MarshalUpdate(&u))
		}},
		"entries that are not those of the root": {"root_mismatch", func(p *rawPeer) *pubsubpb.Message {
			p.set(p.t, "k", "v")
			u := p.update("main")
			u.Entries[0].Value = []byte("w")
			return p.message("test", "main", wire.MarshalUpdate(&u))
		}},
	}
	for name, r := range rumors {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := besiege(t)
				s.p.join(s.n)
				s.p.gossip(s.n, r.make(s.p))
				within(t, time.Second, "it is counted", func() bool { return s.n.count(CountDropped, r.reason) == 1 })
				require.Zero(t, s.n.digest(t, "main", s.p.id))
				require.Zero(t, s.ally.count(CountDropped, r.reason), "it was not passed on")
				s.withstood(t)
			})
		})
	}
}

// Another libp2p app may be on the topic with a pubsub that checks nothing: what it publishes is checked by us.
func TestAPubsubWithoutOurValidatorIsHeardAndChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		ps, err := pubsub.NewGossipSub(t.Context(), s.p.host, pubsub.WithFloodPublish(true))
		require.NoError(t, err)
		topic, err := ps.Join(GossipTopic("test", "main"), pubsub.WithTopicMessageIdFn(MessageID))
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.NoError(t, topic.Publish(t.Context(), []byte("not an update")))
		require.NoError(t, topic.Publish(t.Context(), wire.MarshalUpdate(new(newAuthor(t).update("members")))))
		s.p.set(t, "k", "v")
		require.NoError(t, topic.Publish(t.Context(), wire.MarshalUpdate(new(s.p.update("main")))))
		within(t, 2*time.Second, "the good one is taken", func() bool { return s.ally.get(t, "k") == "v" })
		require.EqualValues(t, 2, s.n.count(CountDropped, "malformed"))
	})
}

func TestAFloodOfRumorsIsCutToTheRateOfItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flood = 500
		s := besiege(t)
		s.p.join(s.n)
		for i := range flood {
			s.p.set(t, "k", fmt.Sprint(i))
			u, _ := s.p.states["main"].Rumor(s.p.id, wire.Version(i))
			s.p.publish(s.n, "test", "main", wire.MarshalUpdate(&u))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		taken := s.n.count(CountApplied, "rumor") + s.n.count(CountDropped, "gap")
		require.LessOrEqual(t, taken, uint64(rumorBurst+rumorRate+5))
		require.NotZero(t, s.n.count(CountDropped, "over_rate"))
		s.withstood(t)
	})
}

// A change that does not fit a rumor is announced; who hears of it pulls it.
func TestALargeChangeIsAnnouncedAndPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(b, a)
		a.set(t, "small", "1")
		within(t, 5*time.Second, "both agree", func() bool { return b.get(t, "small") == "1" && c.equal(a, b) })
		time.Sleep(3 * time.Second) // in the mesh
		var writes []gossipstate.Mutation
		for i := range 4 {
			writes = append(writes, gossipstate.Mutation{Key: fmt.Sprint("large/", i), Value: make([]byte, 50_000)})
		}
		_, err := a.topic(t).Write(t.Context(), writes...)
		require.NoError(t, err)
		within(t, 500*time.Millisecond, "b has it", func() bool { return len(b.get(t, "large/3")) == 50_000 })
		require.NotZero(t, b.count(CountPull, "ok"))
	})
}
