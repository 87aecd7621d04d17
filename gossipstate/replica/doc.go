// Package replica keeps the state of a network's topics on a libp2p host and pubsub that the application owns: it publishes
// and validates rumors, repairs what they missed over sync streams, and exchanges beats with neighbours. Close leaves host
// and pubsub running. New makes a node that writes and is a member of the network, Subscribe one that only reads.
//
//	gossipsub topic  /p2pnode/<network>/state/<topic>/1   rumors: the newest change, pushed to all
//	sync stream      /p2pnode/<network>/sync/1.0.0        anti-entropy: what differs, both ways
//	beat stream      /p2pnode/<network>/beat/1.0.0        heartbeats and fingerprints between neighbours
//
//	           pubsub validator   sync streams   beat streams      Set, Get, Watch ...
//	                  |  verify        | verify        | verify           |
//	                  +----------------+-------+-------+------------------+
//	                                           v
//	                          one goroutine owns every table
//	                 gossipstate.State per topic, liveness.Table, links, pulls
//	                                           |
//	                              store, publishers, watchers
//
// Signatures are checked before the queue to that goroutine, updates applied after it. No lock is held across network I/O.
package replica
