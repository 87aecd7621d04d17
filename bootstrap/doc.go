// Package bootstrap brings a node to the first peers of its network: it parses the multiaddrs a person typed, explains
// what is wrong with them, and keeps a connection to every peer they name, for as long as the node runs.
//
//	"/dns4/b1.example.org/udp/4747/quic-v1/p2p/12D3..."
//	   | Parse, ParseAll        a mistake: *AddrError{Slug, Addr, Detail, Hint}
//	peer.AddrInfo
//	   | New(host, Config)      one entry a peer, the node itself left out
//	Dialer.Run                  per peer:  resolve names -> dial -> connected -> lost
//	                                          ^------ jittered back-off ------------+
//
// A peer that does not answer is never given up and never stops the node: it is tried again with a growing pause, and
// State says why each address failed in words that an operator can act on.
package bootstrap
