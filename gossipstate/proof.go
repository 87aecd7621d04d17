package gossipstate

import (
	"fmt"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Proof shows, to anybody who knows the network and the topic, that an owner signed one entry: the owner's signed digest,
// the entry, and the way from its leaf to the root. It says nothing of what the owner signed later.
type Proof struct {
	Signed SignedDigest
	Entry  Entry
	Path   []ProofStep // from the leaf up; at most 256 steps
}

// ProofStep is one node above the leaf.
type ProofStep struct {
	Bit     uint8    // the first bit in which the keys below the node differ; falls from step to step
	Sibling [32]byte // hash of the child that the leaf is not below
}

// Prove is the proof of owner's entry under key, tombstones included; ok is false when there is none.
func (s *State) Prove(owner ID, key string) (p Proof, ok bool) {
	c := s.owners[owner]
	e := c.get(key)
	if e == nil {
		return Proof{}, false
	}
	return Proof{Signed: c.signed, Entry: *e, Path: c.tree.path(wire.KeyHash(key))}, true
}

// path is the way from the leaf of key, which must be there, to the top.
func (t *tree) path(key [32]byte) []ProofStep {
	var down []ProofStep
	for c := t.top; c.inner != nil; {
		n := c.inner
		sibling := n.left
		if c = n.right; !keyBit(&key, n.bit) {
			c, sibling = n.left, n.right
		}
		down = append(down, ProofStep{Bit: n.bit, Sibling: *sibling.hash()})
	}
	slices.Reverse(down)
	return down
}

// Verify checks p for domain and returns the digest that it stands under. Errors wrap wire.ErrMalformed, wire.ErrTooLarge,
// wire.ErrBadSignature or ErrRootMismatch.
func (p *Proof) Verify(domain wire.Domain) (Digest, error) {
	digest, err := wire.UnmarshalDigest(p.Signed.Digest)
	if err != nil {
		return Digest{}, err
	}
	if err := wire.VerifyDigest(domain, &digest, p.Signed); err != nil {
		return Digest{}, err
	}
	if err := p.Entry.Check(); err != nil {
		return Digest{}, err
	}
	root, err := p.root()
	if err != nil {
		return Digest{}, err
	}
	if root != digest.Root || p.Entry.Version > digest.Version {
		return Digest{}, fmt.Errorf("%w: entry %.80q of %s", ErrRootMismatch, p.Entry.Key, digest.Owner)
	}
	return digest, nil
}

// root is where the path leads.
func (p *Proof) root() (Root, error) {
	key := wire.KeyHash(p.Entry.Key)
	hash := wire.LeafHash(key, &p.Entry)
	below := 256
	for _, step := range p.Path {
		if int(step.Bit) >= below {
			return Root{}, fmt.Errorf("%w: proof with bit %d below bit %d", wire.ErrMalformed, below, step.Bit)
		}
		below = int(step.Bit)
		if keyBit(&key, step.Bit) {
			hash = wire.NodeHash(step.Sibling, hash)
		} else {
			hash = wire.NodeHash(hash, step.Sibling)
		}
	}
	return hash, nil
}
