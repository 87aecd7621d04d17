package replica

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// author is an identity that signs state by hand, true or not.
type author struct {
	key    crypto.PrivKey
	id     gossipstate.ID
	sign   wire.Signer
	chain  *liveness.Chain
	states map[string]*gossipstate.State
	self   gossipstate.Self
}

func newAuthor(t *testing.T) *author { return authorOf(t, newKey(t), "test") }

func authorOf(t *testing.T, key crypto.PrivKey, network string) *author {
	t.Helper()
	std, err := crypto.PrivKeyToStdKey(key)
	require.NoError(t, err)
	private := *std.(*ed25519.PrivateKey)
	a := &author{
		key: key, id: gossipstate.ID(private.Public().(ed25519.PublicKey)), states: map[string]*gossipstate.State{},
		sign: func(message []byte) []byte { return ed25519.Sign(private, message) },
	}
	for _, topic := range []string{"members", "main"} {
		a.states[topic] = gossipstate.New(gossipstate.DefaultConfig(wire.Domain{Network: network, Topic: topic}))
	}
	generation := gossipstate.Generation(time.Now().Unix() << 16)
	a.chain = liveness.NewChain(a.id, generation, [16]byte{1}, 200)
	a.self = gossipstate.Self{ID: a.id, Generation: generation}
	a.write(t, "members")
	return a
}

// write changes the author's state on a topic.
func (a *author) write(t *testing.T, topic string, mutations ...gossipstate.Mutation) {
	t.Helper()
	self := a.self
	if topic == wire.Members {
		self.BeatAnchor, self.BeatInterval, self.BeatLength = a.chain.Anchor(), 700*time.Millisecond, a.chain.Length()
	}
	p, err := a.states[topic].Prepare(self, mutations, a.sign, time.Now(), 0)
	require.NoError(t, err)
	a.states[topic].Install(p)
}

// set is write of one key on "main".
func (a *author) set(t *testing.T, key, value string) {
	t.Helper()
	a.write(t, "main", gossipstate.Mutation{Key: key, Value: []byte(value)})
}

// updates bring one who holds the version to the author's state.
func (a *author) updates(topic string, from gossipstate.Version) []wire.Update {
	return a.states[topic].Updates(wire.Want{Owner: a.id, Version: from}, wire.MaxFrame-1024)
}

func (a *author) update(topic string) wire.Update { return a.updates(topic, 0)[0] }

// rawPeer is a libp2p host without a replica, that speaks the protocols by hand.
type rawPeer struct {
	*author
	t     *testing.T
	host  host.Host
	on    string // network whose protocols it speaks
	seqno uint64
	rpc   network.Stream // of gossipsub, to the one node that it gossips with

	serving sync.WaitGroup // streams that are answered
}

// raw adds a peer on the cluster's network.
func (c *cluster) raw() *rawPeer {
	c.t.Helper()
	a := newAuthor(c.t)
	h, _ := c.newHost(a.key)
	p := &rawPeer{author: a, t: c.t, host: h, on: "test"}
	c.t.Cleanup(func() {
		h.Close()
		p.serving.Wait()
	})
	return p
}

// stream opens a stream of one of the protocols, "sync" or "beat".
func (p *rawPeer) stream(n *node, name string) *rawStream {
	p.t.Helper()
	s, err := p.host.NewStream(context.Background(), n.host.ID(), protocol.ID("/p2pnode/"+p.on+"/"+name+"/1.0.0"))
	require.NoError(p.t, err)
	return &rawStream{t: p.t, Stream: s, r: msgio.NewVarintReaderSize(s, wire.MaxFrame), w: msgio.NewVarintWriter(s)}
}

// greeted is a sync stream on which both sides have said hello.
func (p *rawPeer) greeted(n *node) *rawStream {
	p.t.Helper()
	s := p.stream(n, "sync")
	s.send(&wire.SyncFrame{Hello: &wire.SyncHello{Topics: []wire.SyncSummary{{Topic: "members"}, {Topic: "main"}}}})
	require.NotNil(p.t, s.receive().Hello)
	return s
}

// push gives n updates of a topic, as the end of an exchange in which n lacks everything.
func (p *rawPeer) push(n *node, topic string, updates ...wire.Update) *rawStream {
	p.t.Helper()
	s := p.exchange(n, topic)
	for _, u := range updates {
		s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: topic, Update: u}})
	}
	return s
}

// exchange is a sync stream on which it is the peer's turn to send updates of a topic.
func (p *rawPeer) exchange(n *node, topic string) *rawStream {
	p.t.Helper()
	s := p.greeted(n)
	s.send(&wire.SyncFrame{Items: &wire.SyncItems{Topic: topic}})
	for !s.receive().Done {
	}
	return s
}

// join makes the peer a member that n knows and holds on "main".
func (p *rawPeer) join(n *node) {
	p.t.Helper()
	for _, topic := range []string{"members", "main"} {
		s := p.push(n, topic, p.updates(topic, 0)...)
		s.send(&wire.SyncFrame{Done: true})
		require.NoError(p.t, s.Close())
	}
	within(p.t, 5*time.Second, "the peer is a member", func() bool { return n.digest(p.t, "members", p.id).Version > 0 })
}

// rawStream sends frames of any kind.
type rawStream struct {
	t *testing.T
	network.Stream
	r msgio.ReadCloser
	w msgio.WriteCloser
}

func (s *rawStream) send(f *wire.SyncFrame) { s.sendBytes(wire.MarshalSyncFrame(f)) }

// sendBytes sends one frame; when the other side has reset the stream, nothing.
func (s *rawStream) sendBytes(b []byte) { _ = s.w.WriteMsg(b) }

// receive is the next frame of a sync stream; the zero frame when the stream has ended.
func (s *rawStream) receive() wire.SyncFrame {
	s.t.Helper()
	b, err := s.r.ReadMsg()
	if err != nil {
		return wire.SyncFrame{}
	}
	f, err := wire.UnmarshalSyncFrame(b)
	require.NoError(s.t, err)
	return f
}

// isReset waits until the other side has reset the stream.
func (s *rawStream) isReset(limit time.Duration) {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(limit)))
	_, err := io.Copy(io.Discard, s.Stream)
	require.ErrorIs(s.t, err, network.ErrReset)
}

// wantEverything asks for all that n itself wrote on "main".
func wantEverything(n *node) *wire.SyncFrame {
	return &wire.SyncFrame{Wants: &wire.SyncWants{Topic: "main", Wants: []wire.Want{{Owner: n.self}}}}
}

// publish sends one gossipsub message of the peer's own by hand, so that no validator of its own is asked.
func (p *rawPeer) publish(n *node, network, topic string, data []byte) {
	p.t.Helper()
	p.gossip(n, p.message(network, topic, data))
}

// message is a gossipsub message as pubsub would make and sign it, with a seqno that counts up.
func (p *rawPeer) message(network, topic string, data []byte) *pubsubpb.Message {
	p.seqno++
	return &pubsubpb.Message{
		From: []byte(p.host.ID()), Topic: new(GossipTopic(network, topic)), Data: data, Seqno: binary.BigEndian.AppendUint64(nil, p.seqno),
	}
}

// gossip signs messages that are not yet and sends them to n.
func (p *rawPeer) gossip(n *node, messages ...*pubsubpb.Message) {
	p.t.Helper()
	for _, m := range messages {
		if m.Signature == nil {
			unsigned, err := proto.Marshal(m)
			require.NoError(p.t, err)
			m.Signature, err = p.key.Sign(append([]byte(pubsub.SignPrefix), unsigned...))
			require.NoError(p.t, err)
		}
	}
	b, err := proto.Marshal(&pubsubpb.RPC{Publish: messages})
	require.NoError(p.t, err)
	if p.rpc == nil {
		p.rpc, err = p.host.NewStream(context.Background(), n.host.ID(), pubsub.GossipSubID_v11)
		require.NoError(p.t, err)
	}
	require.NoError(p.t, msgio.NewVarintWriter(p.rpc).WriteMsg(b))
}

// beats opens a beat stream.
func (p *rawPeer) beats(n *node) *rawStream { return p.stream(n, "beat") }

// serve answers the sync streams that n opens.
func (p *rawPeer) serve(n *node, answer func(*rawStream)) {
	p.host.SetStreamHandler(n.syncProtocol(), func(s network.Stream) {
		p.serving.Add(1)
		defer p.serving.Done()
		defer s.Close()
		answer(&rawStream{t: p.t, Stream: s, r: msgio.NewVarintReaderSize(s, wire.MaxFrame), w: msgio.NewVarintWriter(s)})
	})
}
