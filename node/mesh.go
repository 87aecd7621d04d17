package node

import (
	"maps"
	"slices"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// meshTracer knows which peers are in the gossipsub mesh of which topic, and counts messages: pubsub itself has no such
// getter. Its methods are called by pubsub.
type meshTracer struct {
	mu     sync.Mutex
	mesh   map[string]map[peer.ID]bool
	counts gossipCounts
}

// gossipCounts are messages of all topics since the start.
type gossipCounts struct {
	Delivered, Duplicate, Undeliverable, DroppedRPC, Graft, Prune uint64

	Rejected map[string]uint64 // by why: one of pubsub's constants
}

func newMeshTracer() *meshTracer {
	return &meshTracer{mesh: map[string]map[peer.ID]bool{}, counts: gossipCounts{Rejected: map[string]uint64{}}}
}

// peers is how many peers are in the mesh of a gossipsub topic.
func (t *meshTracer) peers(topic string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.mesh[topic])
}

// topics are the gossipsub topics in whose mesh p is, sorted.
func (t *meshTracer) topics(p peer.ID) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var topics []string
	for topic, peers := range t.mesh {
		if peers[p] {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

func (t *meshTracer) counted() gossipCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Rejected = maps.Clone(c.Rejected)
	return c
}

func (t *meshTracer) count(n *uint64) {
	t.mu.Lock()
	*n++
	t.mu.Unlock()
}

func (t *meshTracer) Graft(p peer.ID, topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Graft++
	if t.mesh[topic] == nil {
		t.mesh[topic] = map[peer.ID]bool{}
	}
	t.mesh[topic][p] = true
}

func (t *meshTracer) Prune(p peer.ID, topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Prune++
	delete(t.mesh[topic], p)
}

func (t *meshTracer) OnClosedOutboundStream(p peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, peers := range t.mesh {
		delete(peers, p)
	}
}

func (t *meshTracer) Leave(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mesh, topic)
}

func (t *meshTracer) RejectMessage(_ *pubsub.Message, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Rejected[why]++
}

func (t *meshTracer) DeliverMessage(*pubsub.Message)       { t.count(&t.counts.Delivered) }
func (t *meshTracer) DuplicateMessage(*pubsub.Message)     { t.count(&t.counts.Duplicate) }
func (t *meshTracer) UndeliverableMessage(*pubsub.Message) { t.count(&t.counts.Undeliverable) }
func (t *meshTracer) DropRPC(*pubsub.RPC, peer.ID)         { t.count(&t.counts.DroppedRPC) }

func (t *meshTracer) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (t *meshTracer) Join(string)                              {}
func (t *meshTracer) ValidateMessage(*pubsub.Message)          {}
func (t *meshTracer) ThrottlePeer(peer.ID)                     {}
func (t *meshTracer) RecvRPC(*pubsub.RPC)                      {}
func (t *meshTracer) SendRPC(*pubsub.RPC, peer.ID)             {}
