// Package gossipstate is the state that nodes replicate: one namespace of signed keys per owner, and the one rule by which
// a replica takes in news of it. It is pure: values in, values out; time is an argument; nothing here waits, locks or
// logs. One goroutine may use a State at a time. Package replica puts it on a libp2p host.
//
//	State: one topic as this replica holds it
//	└── owner (Ed25519 key)          written by that owner alone
//	    ├── signed digest            generation, version, floor, root
//	    └── Merkle radix tree        key -> value, version, clock (a deleted key is a tombstone)
//
// For each owner a State holds exactly what that owner signed at one digest, never a mixture: an [State.Apply] either moves
// it to a newer digest as a whole or changes nothing. Keys that several owners may write have a merged view over all
// owners: the entry with the highest clock, then the highest owner, wins; a tombstone that wins means "absent".
//
// PROTOCOL.md beside this file states the wire and the invariants for other languages.
package gossipstate
