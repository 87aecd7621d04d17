package gossipstate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// MaxEvidence is how many owners an Evidence holds proofs against: 1,024 of at most 1.2 KiB each. A guess: one is enough to
// make people look, and only owners that were held can be in it.
const MaxEvidence = 1024

// ErrNoEquivocation: the two digests do not contradict each other.
var ErrNoEquivocation = errors.New("the digests do not contradict each other")

// Equivocation is the proof that an owner signed two histories: two digests with one (generation, version) that differ.
// Whoever knows the network and the topic can check it, without any state.
type Equivocation struct {
	Loser  SignedDigest // of the smaller root; of the smaller bytes when the roots are one
	Winner SignedDigest // of the larger root: what every replica holds in the end
}

// NewEquivocation puts two signed digests, in whatever order, into the form of a proof. It checks nothing: see Verify.
func NewEquivocation(a, b SignedDigest, aRoot, bRoot Root) Equivocation {
	if cmp.Or(bytes.Compare(aRoot[:], bRoot[:]), bytes.Compare(a.Digest, b.Digest)) > 0 {
		a, b = b, a
	}
	return Equivocation{Loser: a, Winner: b}
}

// Verify checks e for domain and returns both digests. Errors wrap wire.ErrMalformed, wire.ErrTooLarge, wire.ErrBadSignature
// or ErrNoEquivocation.
func (e *Equivocation) Verify(domain wire.Domain) (loser, winner Digest, err error) {
	if loser, err = openDigest(domain, e.Loser); err != nil {
		return Digest{}, Digest{}, err
	}
	if winner, err = openDigest(domain, e.Winner); err != nil {
		return Digest{}, Digest{}, err
	}
	if !Contradict(&loser, &winner) || loser.Compare(&winner) > 0 {
		return Digest{}, Digest{}, fmt.Errorf("%w: %s at version %d and %s at version %d",
			ErrNoEquivocation, loser.Owner, loser.Version, winner.Owner, winner.Version)
	}
	return loser, winner, nil
}

func openDigest(domain wire.Domain, signed SignedDigest) (Digest, error) {
	d, err := wire.UnmarshalDigest(signed.Digest)
	if err != nil {
		return Digest{}, err
	}
	return d, wire.VerifyDigest(domain, &d, signed)
}

// Contradict says whether a and b, both signed, prove that their owner signed two histories: an honest one signs a single
// digest under one (generation, version).
func Contradict(a, b *Digest) bool {
	return a.Owner == b.Owner && a.Generation == b.Generation && a.Version == b.Version && *a != *b
}

// contradiction is the proof that u makes together with the held copy, nil when it makes none.
func contradiction(held *copyOf, u *Update) *Equivocation {
	if held == nil || !Contradict(&held.digest, &u.Digest) {
		return nil
	}
	e := NewEquivocation(held.signed, u.Signed, held.digest.Root, u.Digest.Root)
	return &e
}

// Evidence keeps one proof of equivocation for each owner of a topic, the first that was found: what comes later says nothing
// more about the owner. It holds at most MaxEvidence; beyond that the oldest goes first. The zero Evidence is empty and ready
// to use. It is not safe for concurrent use.
type Evidence struct {
	proofs map[ID]Equivocation
	order  []ID // of arrival
}

// Add keeps e against owner. isNew is false when there was a proof against it already; evicted is the owner that had to go
// for it, the zero ID for none. The caller has checked the signatures.
func (v *Evidence) Add(owner ID, e Equivocation) (isNew bool, evicted ID) {
	if v.Has(owner) {
		return false, ID{}
	}
	if len(v.order) >= MaxEvidence {
		evicted = v.order[0]
		v.Remove(evicted)
	}
	if v.proofs == nil {
		v.proofs = map[ID]Equivocation{}
	}
	v.proofs[owner] = e
	v.order = append(v.order, owner)
	return true, evicted
}

// Has says whether there is a proof against owner.
func (v *Evidence) Has(owner ID) bool {
	_, found := v.proofs[owner]
	return found
}

// Get is the proof against owner; ok is false when there is none.
func (v *Evidence) Get(owner ID) (e Equivocation, ok bool) {
	e, ok = v.proofs[owner]
	return e, ok
}

// Remove forgets the proof against owner and says whether there was one.
func (v *Evidence) Remove(owner ID) bool {
	if !v.Has(owner) {
		return false
	}
	delete(v.proofs, owner)
	v.order = slices.DeleteFunc(v.order, func(id ID) bool { return id == owner })
	return true
}

// Owners are those against whom there is a proof, the oldest first. The slice is the caller's.
func (v *Evidence) Owners() []ID { return slices.Clone(v.order) }
