package node

import (
	"fmt"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

const (
	// streamsPerPeer is how many streams there may be for each connection, in all. A neighbour has some ten.
	streamsPerPeer = 16
	// peerMemory is what libp2p may buffer for one peer, in bytes; its own least is 64 MiB.
	peerMemory = 16 << 20
)

// newResources bounds what peers take of a host that is to have at most maxPeers connections. Until the connection manager has
// closed some, twice as many may be opened by others, and three times as many in all: each costs 0.4 MiB when its peer means harm
// (measured: a hundred such). libp2p's own limits grow with the machine's memory. What is refused is counted in c.
func newResources(maxPeers int, c *refusals) (network.ResourceManager, error) {
	inbound, all := rcmgr.LimitVal(max(2*maxPeers, 16)), rcmgr.LimitVal(max(3*maxPeers, 32))
	least := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&least)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			ConnsInbound: inbound, ConnsOutbound: all, Conns: all, FD: all + 64,
			StreamsInbound: streamsPerPeer * inbound, StreamsOutbound: streamsPerPeer * all, Streams: streamsPerPeer * all,
			Memory: 128<<20 + rcmgr.LimitVal64(maxPeers)<<20,
		},
		Transient:   rcmgr.ResourceLimits{ConnsInbound: inbound, Conns: all}, // those in a handshake: all may come at once
		PeerDefault: rcmgr.ResourceLimits{Memory: peerMemory},
	}
	stats, err := rcmgr.NewStatsTraceReporter() // libp2p's own metrics
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	m, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(least.Scale(0, 0))), rcmgr.WithMetrics(c), rcmgr.WithTraceReporter(stats))
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	return m, nil
}

// refusals counts what the resource manager refused, by limit. It is safe for concurrent use.
type refusals struct {
	connections, streams, peers, protocols, services, memory atomic.Uint64
}

func (r *refusals) BlockConn(network.Direction, bool)      { r.connections.Add(1) }
func (r *refusals) BlockStream(peer.ID, network.Direction) { r.streams.Add(1) }
func (r *refusals) BlockPeer(peer.ID)                      { r.peers.Add(1) }
func (r *refusals) BlockProtocol(protocol.ID)              { r.protocols.Add(1) }
func (r *refusals) BlockProtocolPeer(protocol.ID, peer.ID) { r.protocols.Add(1) }
func (r *refusals) BlockService(string)                    { r.services.Add(1) }
func (r *refusals) BlockServicePeer(string, peer.ID)       { r.services.Add(1) }
func (r *refusals) BlockMemory(int)                        { r.memory.Add(1) }
func (r *refusals) AllowConn(network.Direction, bool)      {}
func (r *refusals) AllowStream(peer.ID, network.Direction) {}
func (r *refusals) AllowPeer(peer.ID)                      {}
func (r *refusals) AllowProtocol(protocol.ID)              {}
func (r *refusals) AllowService(string)                    {}
func (r *refusals) AllowMemory(int)                        {}
