package liveness

import (
	"encoding/binary"
	"fmt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// SuspectsKey is the key on the topic "members" under which every node says whom it accuses.
const SuspectsKey = "liveness/suspects"

// MaxAccusations bounds the list of one accuser: 4,416 bytes of its state.
const MaxAccusations = 64

// accusationSize is the length of one encoded accusation.
const accusationSize = len(wire.ID{}) + 8 + 8 + 4 + 16 + 1

// Accusation is what one node says of another: after Last I have found no sign of life of it.
type Accusation struct {
	Owner wire.ID // the accused
	// Last is the newest proof of life that the accuser knew. A larger one refutes the accusation.
	Last Proof
	// Preimage is that of beat Last.Index, zero when that is 0. With it nobody can name a proof that was never
	// given, which nothing could refute; and who gets the accusation has the newest beat with it.
	Preimage [16]byte
	// Refused: the host of the accused answers, and nothing listens on its port.
	Refused bool
}

// MarshalAccusations encodes the list of one accuser as the value of SuspectsKey: one after the other, 69 bytes each,
//
//	owner (32) | generation (8) | version (8) | beat index (4) | preimage (16) | refused (1: 0 or 1)
//
// with big-endian numbers. The empty list is the empty value. A list that UnmarshalAccusations would refuse panics: it is
// the caller's own.
func MarshalAccusations(list []Accusation) []byte {
	b := make([]byte, 0, len(list)*accusationSize)
	for i := range list {
		a := &list[i]
		b = append(b, a.Owner[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(a.Last.Generation))
		b = binary.BigEndian.AppendUint64(b, uint64(a.Last.Version))
		b = binary.BigEndian.AppendUint32(b, a.Last.Index)
		b = append(b, a.Preimage[:]...)
		if a.Refused {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	if _, err := UnmarshalAccusations(b); err != nil {
		panic(fmt.Sprintf("liveness: own accusations: %v", err))
	}
	return b
}

// UnmarshalAccusations decodes the value of SuspectsKey, in the order of the list. It accepts exactly what
// MarshalAccusations makes: no owner twice, generation and version not 0, at most wire.MaxBeats beats, no preimage of
// beat 0.
//
// Errors: wire.ErrTooLarge above MaxAccusations, else wire.ErrMalformed.
func UnmarshalAccusations(b []byte) ([]Accusation, error) {
	if len(b) > MaxAccusations*accusationSize {
		return nil, fmt.Errorf("%w: accusations of %d bytes, the limit is %d", wire.ErrTooLarge, len(b), MaxAccusations*accusationSize)
	}
	if len(b)%accusationSize != 0 {
		return nil, fmt.Errorf("%w: accusations of %d bytes: want a multiple of %d", wire.ErrMalformed, len(b), accusationSize)
	}
	list := make([]Accusation, 0, len(b)/accusationSize)
	seen := make(map[wire.ID]bool, cap(list))
	for ; len(b) > 0; b = b[accusationSize:] {
		a, err := unmarshalAccusation(b[:accusationSize])
		if err != nil {
			return nil, err
		}
		if seen[a.Owner] {
			return nil, fmt.Errorf("%w: %v is accused twice", wire.ErrMalformed, a.Owner)
		}
		seen[a.Owner] = true
		list = append(list, a)
	}
	return list, nil
}

func unmarshalAccusation(b []byte) (a Accusation, err error) {
	n := copy(a.Owner[:], b)
	a.Last.Generation = wire.Generation(binary.BigEndian.Uint64(b[n:]))
	a.Last.Version = wire.Version(binary.BigEndian.Uint64(b[n+8:]))
	a.Last.Index = binary.BigEndian.Uint32(b[n+16:])
	n += 20
	n += copy(a.Preimage[:], b[n:])
	a.Refused = b[n] == 1
	switch {
	case b[n] > 1:
		err = fmt.Errorf("%w: accusation with flag %d", wire.ErrMalformed, b[n])
	case a.Last.Generation == 0 || a.Last.Version == 0:
		err = fmt.Errorf("%w: accusation without a digest", wire.ErrMalformed)
	case a.Last.Index > wire.MaxBeats:
		err = fmt.Errorf("%w: accusation after beat %d", wire.ErrMalformed, a.Last.Index)
	case a.Last.Index == 0 && a.Preimage != [16]byte{}:
		err = fmt.Errorf("%w: accusation with a preimage of beat 0", wire.ErrMalformed)
	}
	return a, err
}
