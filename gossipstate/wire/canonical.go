package wire

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	leafPrefix = 0x00
	nodePrefix = 0x01

	flagTombstone = 1

	canonicalFixed = 4*8 + 1 + sha256.Size + 2 + 2 // bytes of a canonical entry without content type and ext
)

// KeyHash is the place of a key in the Merkle tree: SHA-256 of its bytes.
func KeyHash(key string) [32]byte { return sha256.Sum256([]byte(key)) }

// AppendCanonical appends the canonical form of e, as the package comment shows it. It does not hold the key.
func AppendCanonical(b []byte, e *Entry) []byte {
	value := sha256.Sum256(e.Value)
	return appendCanonical(b, e, &value)
}

// appendCanonical is AppendCanonical for who has the SHA-256 of the value.
func appendCanonical(b []byte, e *Entry, value *[32]byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Clock))
	b = binary.BigEndian.AppendUint64(b, e.Written)
	b = binary.BigEndian.AppendUint64(b, e.Expires)
	var flags byte
	if e.Tombstone {
		flags |= flagTombstone
	}
	b = append(b, flags)
	b = append(b, value[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.ContentType)))
	b = append(b, e.ContentType...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Ext)))
	return append(b, e.Ext...)
}

// LeafHash is the Merkle leaf of e under keyHash, which must be KeyHash(e.Key).
func LeafHash(keyHash [32]byte, e *Entry) [32]byte {
	var buf [1 + sha256.Size + canonicalFixed + 64]byte
	value := sha256.Sum256(e.Value)
	return sha256.Sum256(appendLeaf(buf[:0], &keyHash, e, &value))
}

// appendLeaf appends what the leaf is the hash of.
func appendLeaf(b []byte, keyHash *[32]byte, e *Entry, value *[32]byte) []byte {
	b = append(b, leafPrefix)
	b = append(b, keyHash[:]...)
	return appendCanonical(b, e, value)
}

// NodeHash is the Merkle node over its two children.
func NodeHash(left, right [32]byte) [32]byte {
	var buf [1 + 2*sha256.Size]byte
	return sha256.Sum256(appendNode(buf[:0], &left, &right))
}

// appendNode appends what the node is the hash of.
func appendNode(b []byte, left, right *[32]byte) []byte {
	b = append(b, nodePrefix)
	b = append(b, left[:]...)
	return append(b, right[:]...)
}
