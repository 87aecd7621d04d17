package discovery

import (
	"context"
	"fmt"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	routing "github.com/libp2p/go-libp2p/p2p/discovery/routing"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multihash"
)

const (
	// bucketSize is Kademlia's k and concurrency its alpha: how many nodes hold a record and how many are asked at once. The
	// public DHT's 20 and 10 make a small network nearly a full mesh.
	bucketSize  = 8
	concurrency = 3

	lookupTimeout = 30 * time.Second

	// refreshPeriod is how often every peer of the routing table is asked whether it is there, on a new connection where none
	// was left. A dead one is dropped whenever a look-up meets it. The DHT's own 10 min cost more than all look-ups of a node.
	refreshPeriod = time.Hour
)

// kademlia is the rendezvous over one network's DHT.
type kademlia struct {
	dht        *dht.IpfsDHT
	host       host.Host
	rendezvous string
	protocol   protocol.ID
}

// newKademlia starts a DHT over h. ctx must live until close.
func newKademlia(ctx context.Context, h host.Host, cfg Config) (*kademlia, error) {
	name := Rendezvous(cfg.Network)
	key, err := multihash.Sum([]byte(name), multihash.SHA2_256, -1)
	if err != nil {
		return nil, fmt.Errorf("discovery: hash of the rendezvous name: %w", err)
	}
	mode := dht.ModeServer
	if cfg.Profile == WAN {
		mode = dht.ModeAutoServer
	}
	opts := []dht.Option{
		dht.ProtocolPrefix(protocol.ID(name)),
		dht.Mode(mode),
		dht.BucketSize(bucketSize),
		dht.Concurrency(concurrency),
		dht.RoutingTableRefreshPeriod(refreshPeriod),
		dht.ProviderStore(newRecords(h.ID(), key)),
		dht.DisableValues(),
	}
	if cfg.Profile == Local {
		opts = append(opts, dht.AddressFilter(loopback))
	}
	d, err := dht.New(ctx, h, opts...)
	if err != nil {
		return nil, fmt.Errorf("discovery: start the DHT: %w", err)
	}
	return &kademlia{dht: d, host: h, rendezvous: name, protocol: DHTProtocol(cfg.Network)}, nil
}

// size is how many peers the routing table has.
func (k *kademlia) size() int { return k.dht.RoutingTable().Size() }

// advertise stores this node's record at the nodes closest to the rendezvous. They may need a moment more to have it.
func (k *kademlia) advertise(ctx context.Context) error {
	_, err := routing.NewRoutingDiscovery(k.dht).Advertise(ctx, k.rendezvous)
	return err
}

// find calls found for every peer that a look-up of the rendezvous returns.
func (k *kademlia) find(ctx context.Context, found func(peer.AddrInfo)) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	peers, err := routing.NewRoutingDiscovery(k.dht).FindPeers(ctx, k.rendezvous, discovery.Limit(0))
	if err != nil {
		return err
	}
	for info := range peers {
		found(info)
	}
	return ctx.Err()
}

// close stops the DHT and the streams that its handlers and its peers would go on waiting on.
func (k *kademlia) close() error {
	err := k.dht.Close()
	k.host.RemoveStreamHandler(k.protocol)
	for _, c := range k.host.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == k.protocol {
				s.Reset()
			}
		}
	}
	return err
}

// loopback returns the addresses that do not leave this machine.
func loopback(addrs []ma.Multiaddr) []ma.Multiaddr { return ma.FilterAddrs(addrs, manet.IsIPLoopback) }
