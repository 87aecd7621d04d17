package wire

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// Hasher is KeyHash, LeafHash and NodeHash for many in a row, in three quarters of the time: over messages of one or two blocks,
// as these are, crypto/sha256 takes about as long to copy and to pad as to hash. A Hasher puts them together in a buffer, pads
// them there, and reads the sum from the state of the hash. Make one with NewHasher; the zero Hasher is right, but no faster.
// Not safe for concurrent use.
type Hasher struct {
	sha   hashState // nil: crypto/sha256 pads
	buf   [3 * sha256.BlockSize]byte
	state [128]byte // 108 are used
}

// hashState is what sha256.New returns.
type hashState interface {
	hash.Hash
	encoding.BinaryAppender
}

const (
	minPadding = 1 + 8                           // bytes: a 1 bit, and the length of the message
	maxPadded  = 3*sha256.BlockSize - minPadding // bytes of a message that is padded in Hasher.buf
	sumAt      = 4                               // byte of the state at which the sum of whole blocks stands
)

// NewHasher makes a Hasher.
func NewHasher() *Hasher {
	h := &Hasher{}
	if sumIsInState {
		h.sha = sha256.New().(hashState)
	}
	return h
}

// sumIsInState says whether the sum stands in the state of a hash at sumAt. It always has, but nobody has promised that it will.
var sumIsInState = func() bool {
	sha, ok := sha256.New().(hashState)
	return ok && (&Hasher{sha: sha}).sum(nil) == sha256.Sum256(nil)
}()

// Key is KeyHash.
func (h *Hasher) Key(key string) [32]byte { return h.sum(append(h.buf[:0], key...)) }

// Leaf is LeafHash.
func (h *Hasher) Leaf(keyHash *[32]byte, e *Entry) [32]byte {
	value := e.Value
	if len(value) <= maxPadded {
		value = append(h.buf[:0], value...)
	}
	valueHash := h.sum(value)
	return h.sum(appendLeaf(h.buf[:0], keyHash, e, &valueHash))
}

// Node is NodeHash.
func (h *Hasher) Node(left, right *[32]byte) [32]byte {
	return h.sum(appendNode(h.buf[:0], left, right))
}

// sum is the SHA-256 of message, which stands at the start of h.buf unless it is too long to be padded there.
func (h *Hasher) sum(message []byte) [32]byte {
	n := len(message)
	if n > maxPadded || h.sha == nil {
		return sha256.Sum256(message)
	}
	blocks := (n + minPadding + sha256.BlockSize - 1) / sha256.BlockSize
	padded := h.buf[:blocks*sha256.BlockSize]
	clear(padded[n:])
	padded[n] = 0x80
	binary.BigEndian.PutUint64(padded[len(padded)-8:], uint64(n)*8)
	h.sha.Reset()
	h.sha.Write(padded)
	state, _ := h.sha.AppendBinary(h.state[:0]) // it has no errors
	return [32]byte(state[sumAt:])
}
