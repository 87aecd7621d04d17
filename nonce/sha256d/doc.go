// Package sha256d is the kind of work that bitcoin miners do: find a nonce for which the double SHA-256 of a block header
// is at or below a target. It is pure.
//
// A header has 80 bytes; a job's payload is the first 76:
//
//	offset  bytes
//	0       4     version, little-endian
//	4       32    hash of the block before, as the hash function returns it
//	36      32    root over the transactions
//	68      4     time, little-endian
//	72      4     bits: the target in floating point, little-endian
//	76      4     nonce, little-endian
//
// The first 64 bytes are the same for every nonce, so their SHA-256 state (the midstate) is computed once, and each try
// costs two more blocks instead of three.
package sha256d
