package node

import (
	"context"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// How a member can be reached, by the addresses that it tells.
const (
	ReachPublic  = "public"  // one of them is of the Internet; whether a firewall is before it nobody has tried
	ReachPrivate = "private" // none is: only nodes of its own network, or a relay, reach it
)

// Reach is what is known of how to reach a member.
type Reach struct {
	Addrs    []multiaddr.Multiaddr // that it tells, in its order; nil: none
	Status   string                // ReachPublic or ReachPrivate; "": it tells no address
	Protocol int                   // the newest version of the sync protocol that it speaks; 0: never connected
}

// Reach says of each member how it can be reached. Members that tell no address are left out.
func (n *Node) Reach(ctx context.Context) (map[peer.ID]Reach, error) {
	members, err := n.replica.Topic(wire.Members)
	if err != nil {
		return nil, err
	}
	told, err := members.List(ctx, replica.ListOptions{Prefix: addrsKey})
	if err != nil {
		return nil, err
	}
	all := map[peer.ID]Reach{}
	for _, v := range told {
		if v.Key != addrsKey {
			continue
		}
		if addrs := addrsOf(v); len(addrs) > 0 {
			all[v.Owner] = Reach{Addrs: addrs, Status: reachStatus(addrs), Protocol: n.speaks(v.Owner)}
		}
	}
	return all, nil
}

// maxRecord is the size in bytes of the largest peer record that is read: no node tells a larger one of itself.
const maxRecord = 4 << 10

// addrsOf reads the addresses in a signed peer record, nil when it is not its owner's. The record's own signature is not
// checked again: what holds it is the owner's signed state.
func addrsOf(v replica.Value) []multiaddr.Multiaddr {
	if len(v.Value) > maxRecord {
		return nil
	}
	envelope, err := record.UnmarshalEnvelope(v.Value)
	if err != nil {
		return nil
	}
	var rec peer.PeerRecord
	if err := rec.UnmarshalRecord(envelope.RawPayload); err != nil || rec.PeerID != v.Owner {
		return nil
	}
	return rec.Addrs
}

func reachStatus(addrs []multiaddr.Multiaddr) string {
	for _, addr := range addrs {
		if _, err := addr.ValueForProtocol(multiaddr.P_CIRCUIT); err != nil && manet.IsPublicAddr(addr) {
			return ReachPublic
		}
	}
	return ReachPrivate
}

// speaks is the newest version of the sync protocol among those that a peer told when it was connected; 0 for none.
func (n *Node) speaks(id peer.ID) int {
	protocols, err := n.host.Peerstore().GetProtocols(id)
	if err != nil {
		return 0
	}
	prefix := strings.TrimSuffix(string(replica.SyncProtocol(n.cfg.Network.Name)), "1.0.0")
	newest := 0
	for _, p := range protocols {
		version, ok := strings.CutPrefix(string(p), prefix)
		if !ok {
			continue
		}
		major, _, _ := strings.Cut(version, ".")
		if v, err := strconv.Atoi(major); err == nil {
			newest = max(newest, v)
		}
	}
	return newest
}
