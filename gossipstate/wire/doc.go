// Package wire holds the messages of replicated state: their types, their protobuf form, what is signed and how it is
// verified. It is pure: bytes in, values out. ../PROTOCOL.md is the same in prose, for other languages.
//
// What an owner signs is not each entry but one digest over all of them:
//
//	signature = Ed25519("p2pnode/digest/1" | len(network) network | len(topic) topic | digest bytes)
//	root      = Merkle root of a binary radix tree on SHA-256(key); 32 zero bytes when empty
//	leaf      = SHA-256(0x00 | SHA-256(key) | canonical entry)
//	node      = SHA-256(0x01 | left | right)
//
// The tree has no chains: a leaf alone is its own root; more are split at the first bit of SHA-256(key), counted from the
// most significant, in which they differ: 0 goes left, 1 right.
//
//	canonical entry, integers big-endian
//	 0        8      16       24       32     33                65       67
//	 +--------+------+--------+--------+------+-----------------+--------+--------------+--------+-----+
//	 | version| clock| written| expires| flags| SHA-256(value)  | len ct | content type | len ext| ext |
//	 +--------+------+--------+--------+------+-----------------+--------+--------------+--------+-----+
//	   u64      u64    u64      u64      u8     32 bytes          u16      bytes          u16      bytes
//
// flags is 1 for a tombstone, else 0. Lengths of names in the signed domain are one byte.
//
// Unmarshal checks shape and size only. What it returns is unverified: state accepts nothing but a [Verified], which only
// [Verify] and [VerifyBatch] make.
package wire
