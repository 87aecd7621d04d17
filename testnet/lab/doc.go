// Package lab makes small networks inside this machine, for tests that need more than loopback: hosts with addresses of their
// own, and a network between them that can lose packets or go silent. A host is a Linux network namespace.
//
//	 host 0            host 1            host 2
//	11.0.0.1          11.0.0.2          11.0.0.3        addresses that look public
//	 eth0              eth0              eth0
//	  |                 |                 |             veth pairs
//	  h0                h1                h2
//	  +------- lan (bridge, nftables) ----+             in a namespace of its own
//
// Nothing of it is seen from outside: no namespace has a name, no interface or rule is in the machine's own namespace. Each
// namespace lives as long as a thread of this process, or a process started in it, so all is gone with this process however
// it ends: a process started in the lab is killed by the kernel when this one dies.
//
// It needs Linux, root, and the programs ip (Debian: iproute2) and nft (nftables): Available says what is missing.
package lab
