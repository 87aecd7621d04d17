// Package discovery finds the other nodes of a network and keeps connections to a few of them. It knows nothing of what
// the nodes say to each other.
//
//	DHT rendezvous ---+
//	mDNS -------------+
//	Add (others) -----+--> candidates --> dial while too few --> neighbours --+
//	Remember ---------+     |  view: a random sample <-- exchange of peers ---+
//	                        +-------------- lost: redialled ------------------+
//
// One table holds whom this node knows; a part of it is the view, a random sample of the network after Brahms (see view.go,
// which says why), from which neighbours are chosen first and which others are told.
//
// A node keeps Config.Target neighbours, and of these at least half by its own choice, whoever else connects. They are of as
// many IP prefixes as there are to choose from; two places are reserved for peers that it chose for long or remembers from an
// earlier run. The connection manager may not trim them, nor bootstrap peers, nor those in a gossipsub mesh.
//
// # Exchange of peers
//
// Stream protocol /p2pnode/<network>/peers/1.0.0. Whoever opens it asks one neighbour, every 30 to 60 s in a random order,
// sooner while neighbours are missing. Numbers are big-endian.
//
//	asks     n      1 byte   how many peers it would hear of, 1 to 16
//	answers  count  1 byte   at most n; then for each peer
//	         key    8 bytes  the first of SHA-256(peer id)
//	         seq    8 bytes  of its signed record
//	         age    2 bytes  seconds since somebody was last connected to it
//	asks     want   2 bytes  bit i, from the lowest: the i-th record is wanted; it then closes its side
//	answers  size   2 bytes  for each that is wanted, in order: at most 1,024
//	         record          a libp2p peer record in its signed envelope, as its peer made it
//
// A record is dropped with the rest of the answer unless its peer signed it and it is the one that was offered. By asking, a
// peer pushes itself, known by its connection, and nothing else: what it knows is taken only when it is asked. A peer that
// asks more than 4 times at once and then every 5 s is refused, with the stream error code for a rate limit.
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
