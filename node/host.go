package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// makeHost listens on what the configuration names, and on all of it.
func (n *Node) makeHost(key crypto.PrivKey) error {
	listen := multiaddrs(n.cfg.Network.Listen)
	for _, addr := range listen {
		if err := checkPort(addr); err != nil {
			return err
		}
	}
	low, high := n.cfg.Network.LowPeers, n.cfg.Network.MaxPeers
	if n.cfg.Membership.Quiet {
		low, high = min(low, quietLowPeers), min(high, quietMaxPeers)
	}
	connections, err := connmgr.NewConnManager(low, high)
	if err != nil {
		return fmt.Errorf("connection manager: %w", err)
	}
	secured, err := transports()
	if err != nil {
		return err
	}
	resources, err := newResources(n.cfg.Network.MaxPeers, &n.refused)
	if err != nil {
		return err
	}
	known, err := newPeerstore()
	if err != nil {
		return err
	}
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.ResourceManager(resources),
		libp2p.Peerstore(known),
		libp2p.ListenAddrs(listen...),
		secured,
		libp2p.ConnectionManager(connections),
		libp2p.UserAgent("p2pnode/" + n.info.Version),
		libp2p.AddrsFactory(n.announced),
		// A long outage must not make the swarm refuse the dials that would end it.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
	}
	if n.cfg.Network.UPnP {
		options = append(options, libp2p.NATPortMap())
	}
	if n.cfg.Profile == ProfileLocal {
		n.gater = loopbackOnly{}
		options = append(options, libp2p.ConnectionGater(n.gater), libp2p.DisableRelay())
	}
	if n.host, err = libp2p.New(options...); err != nil {
		return n.listenError(listen, err)
	}
	n.info.ID = n.host.ID()
	n.info.Listen = slices.DeleteFunc(n.host.Network().ListenAddresses(), func(addr multiaddr.Multiaddr) bool {
		return !manet.IsThinWaist(addr) // the relay transport "listens" on /p2p-circuit
	})
	n.listening.Store(&n.info.Listen)
	if err := n.checkListening(listen); err != nil {
		return err
	}
	n.stray = newStrays(n.host, n.cfg.Network.Name, n.log)
	return nil
}

// multiaddrs parses addresses that Validate has accepted.
func multiaddrs(addrs []string) []multiaddr.Multiaddr {
	parsed := make([]multiaddr.Multiaddr, len(addrs))
	for i, s := range addrs {
		parsed[i] = multiaddr.StringCast(s)
	}
	return parsed
}

// announced is what the node tells others: what the host found, as far as the interfaces agree, and what the configuration adds.
func (n *Node) announced(found []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	if listening := n.listening.Load(); listening != nil { // not while the host is made
		found = n.interfaces.amend(found, *listening, time.Now())
	}
	return append(found, multiaddrs(n.cfg.Network.Announce)...)
}

// checkPort listens on a fixed port as an ordinary program would, and lets go again. libp2p itself shares a TCP port that
// another node holds, and the kernel then spreads connections over both.
func checkPort(addr multiaddr.Multiaddr) error {
	kind, hostport, err := manet.DialArgs(addr)
	if err != nil {
		return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %s: %v", addr, err), "use /ip4/0.0.0.0/tcp/4747 or a like address")
	}
	if _, port, _ := net.SplitHostPort(hostport); port == "0" {
		return nil
	}
	var closer interface{ Close() error }
	if kind[:3] == "tcp" {
		closer, err = net.Listen(kind, hostport)
	} else {
		closer, err = net.ListenPacket(kind, hostport)
	}
	if err != nil {
		return portError(addr, err)
	}
	return closer.Close()
}

func portError(addr multiaddr.Multiaddr, err error) error {
	_, hostport, _ := manet.DialArgs(addr)
	_, port, _ := net.SplitHostPort(hostport)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return NewError(CodePortInUse, err, fmt.Sprintf("port %s of %s is taken by another process", port, addr),
			fmt.Sprintf("stop that one, or use --listen %s", withPort0(addr)))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %s: that address is not on this machine", addr), "use /ip4/0.0.0.0/...")
	case errors.Is(err, syscall.EACCES):
		return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %s: this user may not use port %s", addr, port), "use a port above 1023")
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %s: this machine has no such kind of address", addr), "leave it out, or set network.listen_strict = false")
	default:
		return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %s: %v", addr, err), "choose another address with --listen")
	}
}

// withPort0 is addr with a free port in place of its own.
func withPort0(addr multiaddr.Multiaddr) multiaddr.Multiaddr {
	var out multiaddr.Multiaddr
	multiaddr.ForEach(addr, func(c multiaddr.Component) bool {
		switch c.Protocol().Code {
		case multiaddr.P_TCP, multiaddr.P_UDP:
			out = append(out, multiaddr.StringCast("/"+c.Protocol().Name+"/0")...)
		default:
			out = append(out, c)
		}
		return true
	})
	return out
}

func (n *Node) listenError(listen []multiaddr.Multiaddr, err error) error {
	for _, addr := range listen {
		if again := checkPort(addr); again != nil {
			return again // taken since it was checked
		}
	}
	return NewError(CodeListenLost, err, fmt.Sprintf("can't listen on %v: %v", listen, err), "choose other addresses with --listen")
}

// checkListening finds the addresses that the host left out without an error.
func (n *Node) checkListening(asked []multiaddr.Multiaddr) error {
	for _, addr := range asked {
		if listens(n.info.Listen, addr) {
			continue
		}
		err := portError(addr, errors.New("the host left it out"))
		if n.cfg.Network.ListenStrict {
			return err
		}
		n.log.Warn(err.Error(), "code", CodeListenLost)
	}
	return nil
}

// listens says whether one of the addresses is addr, any port standing for port 0.
func listens(addrs []multiaddr.Multiaddr, addr multiaddr.Multiaddr) bool {
	for _, have := range addrs {
		if have.Equal(addr) || withPort0(have).Equal(addr) {
			return true
		}
	}
	return false
}

// loopbackOnly keeps a node of profile local on its machine.
type loopbackOnly struct{}

func (loopbackOnly) InterceptPeerDial(peer.ID) bool { return true }
func (loopbackOnly) InterceptAddrDial(_ peer.ID, addr multiaddr.Multiaddr) bool {
	return manet.IsIPLoopback(addr)
}
func (loopbackOnly) InterceptAccept(network.ConnMultiaddrs) bool { return true }
func (loopbackOnly) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}
func (loopbackOnly) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// gossipsub's queues: under load the default of 32 overflows, and repairs make seconds of milliseconds.
const (
	outboundQueue = 1024
	validateQueue = 2048
	rumorOverhead = 4 << 10 // of a pubsub message around an Update

	// seenFor is how long gossipsub knows a message again, some 100 bytes each; what is repeated later is stale to the replica. Its
	// own 2 min would have a flood fill eight times the memory. Neighbours offer messages for 3 heartbeats, 15 s at most.
	seenFor = 15 * time.Second
)

func (n *Node) makePubsub() error {
	ctx, cancel := context.WithCancel(context.Background())
	n.endPubsub = cancel
	n.tracer = newMeshTracer()
	topics := []string{replica.GossipTopic(n.cfg.Network.Name, wire.Members)}
	for _, topic := range n.cfg.Network.Topics {
		topics = append(topics, replica.GossipTopic(n.cfg.Network.Name, topic))
	}
	var err error
	n.pubsub, err = pubsub.NewGossipSub(ctx, n.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithGossipSubParams(meshParams(n.cfg.Gossip.MeshSize, n.cfg.Membership.Quiet)),
		pubsub.WithFloodPublish(true), // the first hop reaches every peer on the topic, mesh or not
		pubsub.WithMaxMessageSize(wire.MaxRumor+rumorOverhead),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithSeenMessagesTTL(seenFor),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(topics...), 4*wire.MaxTopics)),
		pubsub.WithRawTracer(n.tracer),
	)
	if err != nil {
		return fmt.Errorf("gossipsub: %w", err)
	}
	return nil
}

// meshParams are gossipsub's parameters for a mesh of size d: it is kept between two less and twice as many.
func meshParams(d int, quiet bool) pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	if quiet {
		p.HeartbeatInterval = quietHeartbeat
	}
	p.D, p.Dlo, p.Dhi = d, max(1, d-2), 2*d
	p.Dout = max(0, min(d/2-1, p.Dlo-1))
	p.Dscore = min(p.Dscore, d)
	return p
}
