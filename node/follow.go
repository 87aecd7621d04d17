package node

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/nonce"
)

const (
	workTag   = "work"       // of nodes that offer to work; set by work.enabled
	addrsKey  = "node.addrs" // on members: the owner's signed peer record
	tagsKey   = "node.tags"
	agentName = "p2pnode/"
)

// describe tells the network where this node is, and again when its addresses change.
func (n *Node) describe(ctx context.Context) error {
	sub, err := n.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		return fmt.Errorf("watching own addresses: %w", err)
	}
	defer sub.Close()
	d := n.description()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-sub.Out(): // the host's present addresses come first
			envelope := e.(event.EvtLocalAddressesUpdated).SignedPeerRecord
			if envelope == nil {
				continue
			}
			if d.Addrs, err = envelope.Marshal(); err != nil {
				return fmt.Errorf("encoding own peer record: %w", err)
			}
			if err := n.replica.Describe(ctx, d); err != nil {
				return err
			}
		}
	}
}

// description is what this node tells about itself, but for its addresses.
func (n *Node) description() replica.Description {
	d := replica.Description{Name: n.info.Name, Agent: agentName + n.info.Version, Tags: maps.Clone(n.cfg.Node.Tags)}
	if n.cfg.Work.Enabled {
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		d.Tags[workTag] = "true"
	}
	return d
}

// followRecords gives the addresses that members tell of themselves to discovery.
func (n *Node) followRecords(ctx context.Context) error {
	members, err := n.replica.Topic(wire.Members)
	if err != nil {
		return err
	}
	for e, err := range members.Watch(ctx, "node.") {
		if err != nil {
			return err
		}
		switch {
		case e.Kind == replica.Put && e.New.Key == addrsKey && e.New.Owner != n.host.ID():
			if info, ok := addrInfo(e.New); ok {
				n.discovery.Add(info)
			}
		case e.New.Key == tagsKey:
			n.membersChanged()
		}
	}
	return nil
}

// addrInfo reads a signed peer record; false when it is not its owner's.
func addrInfo(v replica.Value) (peer.AddrInfo, bool) {
	_, untyped, err := record.ConsumeEnvelope(v.Value, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return peer.AddrInfo{}, false
	}
	rec, ok := untyped.(*peer.PeerRecord)
	if !ok || rec.PeerID != v.Owner {
		return peer.AddrInfo{}, false
	}
	return peer.AddrInfo{ID: rec.PeerID, Addrs: rec.Addrs}, true
}

const (
	// workersRefresh is how often the list of workers is made anew without a sign: a watcher may have missed one.
	workersRefresh = 5 * time.Second
	// workersPause is the shortest pause after that: it takes a look at every member, and strangers may come and go by hundreds
	// a second.
	workersPause = 100 * time.Millisecond
)

// followMembers keeps the list of live workers, and tells the pools when it changes.
func (n *Node) followMembers(ctx context.Context) error {
	tick := time.NewTicker(workersRefresh)
	defer tick.Stop()
	stopped := make(chan error, 1)
	go func() { stopped <- n.watchMembers(ctx) }()
	for {
		n.refreshWorkers(ctx)
		select {
		case err := <-stopped:
			return err
		case <-time.After(workersPause):
		}
		select {
		case err := <-stopped:
			return err
		case <-n.changed:
		case <-tick.C:
		}
	}
}

// watchMembers notes changes of members until ctx is done.
func (n *Node) watchMembers(ctx context.Context) error {
	for _, err := range n.replica.WatchMembers(ctx) {
		if err != nil {
			return err
		}
		n.membersChanged()
	}
	return ctx.Err()
}

// membersChanged has the list of workers made anew: once for all changes that nobody has looked at.
func (n *Node) membersChanged() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *Node) refreshWorkers(ctx context.Context) {
	members, err := n.replica.Members(ctx)
	if err != nil {
		return
	}
	var workers []nonce.Worker
	for _, m := range members {
		if m.Status != "alive" || !strings.EqualFold(m.Tags[workTag], "true") {
			continue
		}
		if owner, err := replica.OwnerOf(m.ID); err == nil {
			workers = append(workers, nonce.Worker{ID: nonce.ID(owner)})
		}
	}
	if old := n.workers.Swap(&workers); old == nil || !equalWorkers(*old, workers) {
		for _, pool := range n.pools {
			pool.WorkersChanged()
		}
	}
}

func equalWorkers(a, b []nonce.Worker) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
