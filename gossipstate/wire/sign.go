package wire

import (
	"fmt"
	"strings"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Members is the reserved topic that every node is on.
const Members = "members"

const domainLabel = "p2pnode/digest/1"

// Domain is what a signature is bound to beside the digest: it does not verify on another network or topic.
type Domain struct {
	Network string
	Topic   string
}

// Validate says what is wrong with the names of d, or nil.
func (d Domain) Validate() error {
	if err := CheckName("network", d.Network); err != nil {
		return err
	}
	return CheckName("topic", d.Topic)
}

// CheckName refuses a network or topic name that is not 1 to 32 characters of a-z, 0-9 and '-'. what names the name in
// the error.
func CheckName(what, name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%s name %.40q: must have 1 to %d characters", what, name, MaxName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !nameRune(r) }); i >= 0 {
		return fmt.Errorf("%s name %q: only a-z, 0-9 and '-' are allowed", what, name)
	}
	return nil
}

func nameRune(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }

// SigningBytes is what the owner signs: the label, the length-prefixed names and the digest as encoded.
func (d Domain) SigningBytes(digest []byte) []byte {
	b := make([]byte, 0, len(domainLabel)+2+len(d.Network)+len(d.Topic)+len(digest))
	b = append(b, domainLabel...)
	b = append(b, byte(len(d.Network)))
	b = append(b, d.Network...)
	b = append(b, byte(len(d.Topic)))
	b = append(b, d.Topic...)
	return append(b, digest...)
}

// Signer returns the 64-byte Ed25519 signature of message under the owner's key. It must be deterministic.
type Signer func(message []byte) []byte

// Sign encodes d and signs it for domain. The signer's key must be the one that d.Owner names.
func Sign(domain Domain, d *Digest, sign Signer) SignedDigest {
	encoded := MarshalDigest(d)
	return SignedDigest{Digest: encoded, Signature: sign(domain.SigningBytes(encoded))}
}

// zip215 is the cofactored rule under which single and batch verification accept the same signatures, so that no crafted
// one is valid for some nodes and not for others. Source: ZIP 215.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// Verified is an update whose digest its owner signed for the domain, and whose shape and sizes are within the limits.
// That its entries are those of the digest is only known once the root was recomputed over the owner's whole state.
// The zero value is not usable: only Verify and VerifyBatch make one.
type Verified struct {
	update Update
	hashes []EntryHash
}

// EntryHash is where an entry stands in the Merkle tree and what it contributes.
type EntryHash struct{ Key, Leaf [32]byte }

// Update is the verified update. Its slices are shared: do not write to them.
func (v *Verified) Update() *Update { return &v.update }

// Hashes are the Merkle hashes of the update's entries, in the same order: computed by Verify, so that the goroutine that
// owns the table need not.
func (v *Verified) Hashes() []EntryHash { return v.hashes }

// Verify checks the shape, the limits and the signature of u for domain. Errors wrap ErrMalformed, ErrTooLarge or
// ErrBadSignature.
func Verify(domain Domain, u Update) (Verified, error) {
	if err := checkUpdate(domain.Topic, &u); err != nil {
		return Verified{}, err
	}
	if err := VerifyDigest(domain, &u.Digest, u.Signed); err != nil {
		return Verified{}, err
	}
	return hashed(u), nil
}

// hashed is u, which was checked, with the hashes of its entries.
func hashed(u Update) Verified {
	hashes := make([]EntryHash, len(u.Entries))
	h := NewHasher()
	for i := range u.Entries {
		hashes[i].Key = h.Key(u.Entries[i].Key)
		hashes[i].Leaf = h.Leaf(&hashes[i].Key, &u.Entries[i])
	}
	return Verified{update: u, hashes: hashes}
}

// VerifyDigest checks the fields of d, which must be what signed.Digest holds, and the signature. Errors as Verify.
func VerifyDigest(domain Domain, d *Digest, signed SignedDigest) error {
	if err := checkDigest(domain.Topic, d); err != nil {
		return err
	}
	return verifySignature(domain, d, signed)
}
