package api

import (
	"context"
	"iter"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/nonce/worker"
)

// Node is what the API needs of a node. Its methods may be called concurrently.
type Node interface {
	Info() node.Info
	Ready() <-chan struct{} // closed once the node runs
	Status(ctx context.Context) (node.Status, error)
	Readiness(ctx context.Context) []node.Check
	Health(ctx context.Context) []node.Check
	// PhiHistory is the suspicion level of a member over the last minute, a sample every node.PhiEvery, oldest first.
	PhiHistory(member peer.ID) []float64
	// Reach says of the members that tell an address how they can be reached.
	Reach(ctx context.Context) (map[peer.ID]node.Reach, error)
	Peers() []node.Peer
	Metrics() []node.Metric
	Members(ctx context.Context) ([]replica.Member, error)
	WatchMembers(ctx context.Context) iter.Seq2[replica.Transition, error]
	// Story tells what became of a member, at most its last 16 changes, oldest first.
	Story(ctx context.Context, member peer.ID) ([]replica.Transition, error)
	// Topic gives a state topic, for "" the first that was asked for.
	Topic(name string) (Topic, error)
	// Work gives the jobs of a topic, for "" of the first that was asked for.
	Work(topic string) (Jobs, error)
	Export(ctx context.Context, o replica.ExportOptions) iter.Seq2[*replica.Snapshot, error]
	// Import begins to take in snapshots.
	Import(dryRun bool) Importer
}

// Importer takes in snapshots: the methods of replica.Import.
type Importer interface {
	Add(ctx context.Context, s *replica.Snapshot) (replica.ImportResult, error)
}

// Topic is what the API needs of a replicated topic: the methods of replica.Topic.
type Topic interface {
	Name() string
	Set(ctx context.Context, key string, value []byte, o replica.WriteOptions) (replica.Written, error)
	Delete(ctx context.Context, key string, o replica.WriteOptions) (replica.Written, error)
	Get(ctx context.Context, key string, owner peer.ID) (replica.Value, error)
	Prove(ctx context.Context, key string, owner peer.ID) (gossipstate.Proof, error)
	List(ctx context.Context, o replica.ListOptions) ([]replica.Value, error)
	History(ctx context.Context, key string, owner peer.ID) (replica.Versions, error)
	Watch(ctx context.Context, prefix string) iter.Seq2[replica.Event, error]
	Resume(ctx context.Context, prefix string, since uint64) iter.Seq2[replica.Event, error]
	Digest(ctx context.Context) (replica.Digest, error)
	Ask(ctx context.Context) ([]replica.Agreement, error)
	WaitSeen(ctx context.Context, v gossipstate.Version, n int) (seen, of int, err error)
}

// Of is n as the API needs it.
func Of(n *node.Node) Node { return ofNode{n} }

type ofNode struct{ *node.Node }

func (n ofNode) Members(ctx context.Context) ([]replica.Member, error) {
	return n.Replica().Members(ctx)
}

func (n ofNode) WatchMembers(ctx context.Context) iter.Seq2[replica.Transition, error] {
	return n.Replica().WatchMembers(ctx)
}

func (n ofNode) Story(ctx context.Context, member peer.ID) ([]replica.Transition, error) {
	return n.Replica().Story(ctx, member)
}

func (n ofNode) Export(ctx context.Context, o replica.ExportOptions) iter.Seq2[*replica.Snapshot, error] {
	return n.Replica().Export(ctx, o)
}

func (n ofNode) Import(dryRun bool) Importer { return n.Replica().Import(dryRun) }

func (n ofNode) Topic(name string) (Topic, error) {
	t, err := n.Node.Topic(name)
	if err != nil {
		return nil, err // not a Topic that holds nil
	}
	return t, nil
}

func (n ofNode) Work(topic string) (Jobs, error) {
	p, err := n.Node.Work(topic)
	if err != nil {
		return nil, err
	}
	return p, nil
}

var (
	_ Topic = (*replica.Topic)(nil)
	_ Jobs  = (*worker.Pool)(nil)
)
