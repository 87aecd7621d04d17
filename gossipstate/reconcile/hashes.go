package reconcile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// MaxHashes is how many one list holds: 128 KiB, within a frame.
const MaxHashes = wire.MaxOwners

const hashBytes = wire.HashBytes

// EncodeHashes encodes a list of item hashes: those of a set, or those whose items are asked for.
func EncodeHashes(hashes []uint64) []byte {
	b := make([]byte, 0, hashBytes*len(hashes))
	for _, hash := range hashes {
		b = binary.BigEndian.AppendUint64(b, hash)
	}
	return b
}

// DecodeHashes decodes a list of at most MaxHashes, sorted and without repeats. Errors wrap wire.ErrMalformed or
// wire.ErrTooLarge.
func DecodeHashes(b []byte) ([]uint64, error) {
	switch n := len(b) / hashBytes; {
	case n > MaxHashes:
		return nil, fmt.Errorf("%w: %d hashes, the limit is %d", wire.ErrTooLarge, n, MaxHashes)
	case len(b)%hashBytes != 0:
		return nil, fmt.Errorf("%w: hashes in %d bytes", wire.ErrMalformed, len(b))
	}
	hashes := make([]uint64, len(b)/hashBytes)
	for i := range hashes {
		hashes[i] = binary.BigEndian.Uint64(b[i*hashBytes:])
		if i > 0 && hashes[i-1] >= hashes[i] {
			return nil, fmt.Errorf("%w: hashes out of order", wire.ErrMalformed)
		}
	}
	return hashes, nil
}

// Hashes lists the set, sorted and without repeats.
func (k *Sketch) Hashes() []uint64 {
	hashes := slices.Clone(k.hashes)
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// Diff finds what only this side has and what only theirs lists, both sorted; theirs is sorted.
func (k *Sketch) Diff(theirs []uint64) (onlyOurs, onlyTheirs []uint64) {
	ours := k.Hashes()
	for len(ours) > 0 && len(theirs) > 0 {
		switch {
		case ours[0] < theirs[0]:
			onlyOurs, ours = append(onlyOurs, ours[0]), ours[1:]
		case ours[0] > theirs[0]:
			onlyTheirs, theirs = append(onlyTheirs, theirs[0]), theirs[1:]
		default:
			ours, theirs = ours[1:], theirs[1:]
		}
	}
	return append(onlyOurs, ours...), append(onlyTheirs, theirs...)
}
