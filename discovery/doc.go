// Package discovery finds the other nodes of a network and keeps connections to a few of them. It knows nothing of what
// the nodes say to each other.
//
//	DHT rendezvous ---+
//	mDNS -------------+--> candidates --> dial while neighbours < Target --> neighbours
//	Add (others) -----+        ^                                                |
//	                           +-------------- lost: redialled -----------------+
//
// The fixed names of a network: DHT protocol /p2pnode/<network>/kad/1.0.0, rendezvous /p2pnode/<network> (as
// go-libp2p's routing discovery hashes it), mDNS service _p2pnode-<first 8 hex of SHA-256(network)>._udp. So nodes of two
// networks neither ask nor find each other, even through a host that both share.
//
// A neighbour is a connected peer that speaks any protocol below /p2pnode/<network>/. Of two nodes that find each other the
// one with the smaller peer id dials at once, the other only if they are still apart 1 to 2 s later: two TCP dials that
// cross each other both fail. The swarm itself tries QUIC addresses before TCP ones.
//
// The host must be built with libp2p.UDPBlackHoleSuccessCounter(nil) and libp2p.IPv6BlackHoleSuccessCounter(nil): with
// them on, about a hundred dials in vain, as an hour without a network makes, stop nearly all that follow.
//
// Too many neighbours are left to the host's connection manager, which knows what each connection is used for: its
// watermarks bound the connections that an idle DHT gathers, but for up to 16 that the DHT protects.
package discovery
