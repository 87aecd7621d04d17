// Package node is the composition root: it makes a libp2p host and joins the parts on it. Nothing of the network is done
// here; everything that is said of the node as a whole is.
//
//	Config --> New: data directory lock, identity, store, host, gossipsub
//	       --> Run: replica (state topics, liveness), bootstrap, discovery, one worker pool a topic
//	       --> the context ends: leases released, LEAVING signed and told, everything closed in reverse
//
// It knows neither commands nor HTTP: cmd/p2pnode and package node/api stand on it.
package node
