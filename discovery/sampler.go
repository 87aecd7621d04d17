package discovery

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// sampler keeps one of all peers that it is ever given: that of the smallest keyed hash, so that being named often does not
// help. Source: Brahms (see view), after Broder et al., "Min-wise independent permutations", 2000.
//
// It hashes the group first and the peer second: each group is as likely, then each peer in it. So identities of one
// prefix, however many, are one among the prefixes. Where nodes are spread unevenly those of small groups are drawn more
// often; the connection manager bounds what that costs them.
type sampler struct {
	key         [16]byte // secret: who knew it could make an identity that wins
	held        bool
	seat        seat
	group, peer uint64 // hashes of what is held
}

// reset forgets what is held, under a new key.
func (s *sampler) reset(rng *rand.Rand) {
	*s = sampler{}
	binary.BigEndian.PutUint64(s.key[:8], rng.Uint64())
	binary.BigEndian.PutUint64(s.key[8:], rng.Uint64())
}

func (s *sampler) observe(o seat) {
	group := s.hash('g', o.group)
	if s.held && group > s.group {
		return
	}
	if peer := s.hash('p', string(o.id)); !s.held || group < s.group || peer < s.peer {
		s.held, s.seat, s.group, s.peer = true, o, group, peer
	}
}

func (s *sampler) hash(kind byte, text string) uint64 {
	b := make([]byte, 0, 128)
	b = append(append(append(b, s.key[:]...), kind), text...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}
