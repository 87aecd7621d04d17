package node

import (
	"context"
	"errors"
	"iter"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/nonce"
	"github.com/p2pnode/p2pnode/nonce/worker"
)

// makePools makes one worker pool a topic.
func (n *Node) makePools() error {
	self, err := replica.OwnerOf(n.host.ID())
	if err != nil {
		return err
	}
	trusted := map[nonce.ID]bool{}
	for _, s := range n.cfg.Work.Submitters {
		id, err := peer.Decode(s)
		if err != nil {
			return err // Validate has accepted it
		}
		owner, err := replica.OwnerOf(id)
		if err != nil {
			return NewError(CodeBadPeerID, err, "work.submitters: "+err.Error(), "name the peer ids of p2pnode nodes")
		}
		trusted[nonce.ID(owner)] = true
	}
	for _, name := range n.cfg.Network.Topics {
		topic, err := n.replica.Topic(name)
		if err != nil {
			return err
		}
		n.pools[name], err = worker.New(worker.Config{
			Self: nonce.ID(self), Enabled: n.cfg.Work.Enabled, Threads: n.cfg.Work.Threads, Workers: n.liveWorkers,
			Trusted: func(id nonce.ID) bool { return n.cfg.Profile == ProfileLocal || trusted[id] },
			Logger:  n.log,
		}, &workState{topic: topic, self: n.host.ID()})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) liveWorkers() []nonce.Worker {
	if workers := n.workers.Load(); workers != nil {
		return *workers
	}
	return nil
}

// workState is a state topic as the worker pool sees it.
type workState struct {
	topic *replica.Topic
	self  peer.ID
}

// errMissed: changes were missed; the pool watches anew.
var errMissed = errors.New("changes were missed")

func (s *workState) Put(ctx context.Context, writes ...worker.Write) error {
	mutations := make([]gossipstate.Mutation, 0, len(writes))
	for _, w := range writes {
		if w.Delete {
			_, err := s.topic.Get(ctx, w.Key, s.self)
			if errors.Is(err, replica.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
		}
		mutations = append(mutations, gossipstate.Mutation{Key: w.Key, Value: w.Value, Delete: w.Delete, ContentType: w.ContentType})
	}
	if len(mutations) == 0 {
		return nil
	}
	_, err := s.topic.Write(ctx, mutations...)
	return err
}

func (s *workState) Watch(ctx context.Context, prefix string) iter.Seq2[worker.Change, error] {
	return func(yield func(worker.Change, error) bool) {
		for e, err := range s.topic.Watch(ctx, prefix) {
			var c worker.Change
			switch {
			case err != nil:
			case e.Kind == replica.Lagged:
				err = errMissed
			case e.Kind == replica.Synced:
				c.Synced = true
			case e.Kind == replica.Put || e.Kind == replica.Deleted:
				c, err = workChange(e.New)
			default:
				continue
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

func workChange(v replica.Value) (worker.Change, error) {
	owner, err := replica.OwnerOf(v.Owner)
	return worker.Change{Owner: nonce.ID(owner), Key: v.Key, Value: v.Value, Deleted: v.Deleted}, err
}
