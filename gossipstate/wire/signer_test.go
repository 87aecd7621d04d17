package wire_test

import (
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// signer is an identity of the tests. It signs with the standard library, so that signatures come from other code than
// the one that verifies them.
type signer struct {
	seed []byte
	id   wire.ID
	key  ed25519.PrivateKey
}

func newSigner(seed []byte) signer {
	key := ed25519.NewKeyFromSeed(seed)
	return signer{seed: seed, id: wire.ID(key.Public().(ed25519.PublicKey)), key: key}
}

func (s signer) sign(m []byte) []byte { return ed25519.Sign(s.key, m) }

// namedSigner derives an identity from a name: its seed is SHA-256 of it.
func namedSigner(name string) signer {
	seed := sha256.Sum256([]byte(name))
	return newSigner(seed[:])
}

var (
	alice = namedSigner("alice")
	bob   = namedSigner("bob")

	mainDomain    = wire.Domain{Network: "p2pnode-test", Topic: "main"}
	membersDomain = wire.Domain{Network: "p2pnode-test", Topic: wire.Members}
)

// commit is an update of s from previous to d.Version, signed, with the digest's root, count and size made to fit state,
// which is everything that s holds afterwards.
func (s signer) commit(domain wire.Domain, d wire.Digest, previous wire.Version, entries, state []wire.Entry) wire.Update {
	d.Owner = s.id
	d.Root, d.Entries, d.Bytes = slowRoot(state), uint32(len(state)), slowBytes(state)
	return s.seal(domain, wire.Update{Digest: d, Previous: previous, Entries: entries})
}

// seal signs u.Digest as it stands.
func (s signer) seal(domain wire.Domain, u wire.Update) wire.Update {
	u.Signed = s.signDigest(domain, slowDigest(&u.Digest))
	return u
}

func (s signer) signDigest(domain wire.Domain, digest []byte) wire.SignedDigest {
	return wire.SignedDigest{Digest: digest, Signature: s.sign(slowSigningBytes(domain.Network, domain.Topic, digest))}
}
