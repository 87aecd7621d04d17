package testnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// listener is a replica in this process that hears all that a node says, over every life of it, and holds what it signed
// against what it signed before.
type listener struct {
	t       *testing.T
	host    host.Host
	replica *replica.Replica
	network string

	mu     sync.Mutex
	said   map[saying]gossipstate.Root
	faults []string
}

// saying is what may have one root only.
type saying struct {
	topic      string
	owner      gossipstate.ID
	generation gossipstate.Generation
	version    gossipstate.Version
}

func newListener(t *testing.T, name string) *listener {
	t.Helper()
	l := &listener{t: t, network: name, said: map[saying]gossipstate.Root{}}
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"))
	require.NoError(t, err)
	l.host = h
	ctx, cancel := context.WithCancel(context.Background())
	gossip, err := pubsub.NewGossipSub(ctx, h, pubsub.WithDefaultValidator(l.rumor))
	require.NoError(t, err)
	cfg := replica.DefaultConfig(name)
	cfg.FirstSync = 0
	cfg.Liveness.Trusting = true
	l.replica, err = replica.New(tappedHost{h, l}, gossip, cfg)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- l.replica.Run(ctx) }()
	<-l.replica.Ready()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, h.Close())
	})
	return l
}

// addr is where to join through the listener.
func (l *listener) addr() string {
	return fmt.Sprintf("%s/p2p/%s", l.host.Addrs()[0], l.host.ID())
}

func (l *listener) topic() *replica.Topic {
	l.t.Helper()
	topic, err := l.replica.Topic("main")
	require.NoError(l.t, err)
	return topic
}

func (l *listener) set(key, value string) {
	l.t.Helper()
	_, err := l.topic().Set(context.Background(), key, []byte(value), replica.WriteOptions{})
	require.NoError(l.t, err)
}

// rumor hears what is published.
func (l *listener) rumor(_ context.Context, _ peer.ID, m *pubsub.Message) bool {
	for _, topic := range []string{"members", "main"} {
		if m.GetTopic() != replica.GossipTopic(l.network, topic) {
			continue
		}
		if u, err := wire.UnmarshalUpdate(m.GetData()); err == nil {
			l.hear(topic, &u)
		}
	}
	return true
}

// hear notes a digest, when it is one that its owner signed.
func (l *listener) hear(topic string, u *wire.Update) {
	if wire.VerifyDigest(wire.Domain{Network: l.network, Topic: topic}, &u.Digest, u.Signed) != nil {
		return
	}
	d := u.Digest
	l.mu.Lock()
	defer l.mu.Unlock()
	key := saying{topic, d.Owner, d.Generation, d.Version}
	before, known := l.said[key]
	if known && before != d.Root {
		l.faults = append(l.faults, fmt.Sprintf("two roots of %s on %s at generation %d version %d: %x and %x",
			d.Owner, topic, d.Generation, d.Version, before[:4], d.Root[:4]))
	}
	l.said[key] = d.Root
}

// heard is how many different digests of owner were heard, and in what they contradict one another.
func (l *listener) heard(owner peer.ID) (n int, faults []string) {
	id, err := replica.OwnerOf(owner)
	require.NoError(l.t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.said {
		if key.owner == id {
			n++
		}
	}
	return n, l.faults
}

// tappedHost lets a listener read along on sync streams.
type tappedHost struct {
	host.Host
	l *listener
}

func (h tappedHost) SetStreamHandler(p protocol.ID, handle network.StreamHandler) {
	if p == replica.SyncProtocol(h.l.network) {
		next := handle
		handle = func(s network.Stream) { next(&tappedStream{Stream: s, l: h.l}) }
	}
	h.Host.SetStreamHandler(p, handle)
}

func (h tappedHost) NewStream(ctx context.Context, to peer.ID, ps ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, to, ps...)
	if err != nil || s.Protocol() != replica.SyncProtocol(h.l.network) {
		return s, err
	}
	return &tappedStream{Stream: s, l: h.l}, nil
}

// tappedStream shows the frames that come in to its listener. Only one goroutine reads a stream.
type tappedStream struct {
	network.Stream
	l   *listener
	buf bytes.Buffer // of a frame that is not whole yet
}

func (s *tappedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.buf.Write(p[:n])
	for {
		size, head := binary.Uvarint(s.buf.Bytes())
		if head <= 0 || size > wire.MaxFrame || s.buf.Len() < head+int(size) {
			return n, err
		}
		s.buf.Next(head)
		// A copy: what is decoded keeps parts of it.
		f, bad := wire.UnmarshalSyncFrame(bytes.Clone(s.buf.Next(int(size))))
		if bad == nil && f.Update != nil {
			s.l.hear(f.Update.Topic, &f.Update.Update)
		}
	}
}

// holds waits until the listener holds what want is of the topic main.
func (l *listener) holds(ctx context.Context, want func() (fingerprint string, err error)) error {
	tick := time.NewTicker(pollAgreement)
	defer tick.Stop()
	for {
		there, err := want()
		if err != nil {
			return err
		}
		here, err := l.topic().Digest(ctx)
		if err != nil {
			return err
		}
		if fmt.Sprintf("%x", here.Fingerprint) == there {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the listener holds %x, the node %s", here.Fingerprint, there)
		}
	}
}
