package api

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// ProofSchema names the form of a Proof. Another form gets another name: who checks a proof refuses fields that it does
// not know.
const ProofSchema = "p2pnode.proof/v1"

// MaxProof bounds a Proof as JSON, in bytes. The largest that a node makes has 245 KiB: a value of 64 KiB as base64 and as
// text, each byte of which may take two, and maxProofSteps.
const MaxProof = 256 << 10

// maxProofSteps is the height of the highest tree: one step for each bit of a key's hash.
const maxProofSteps = 256

// Proof shows to anybody, without a node, that its owner signed one entry of one topic: the entry, the digest that the
// owner signed over all of its entries, and the way from the entry to the root in the digest. It does not show what the
// owner signed later.
//
// Its fields are named and written as gossipstate.Entry has them, since they are what is signed. So Clock is what a Value
// calls its version, and Version is a Value's owner_version.
type Proof struct {
	Schema      string      `json:"schema"` // ProofSchema
	Network     string      `json:"network"`
	Topic       string      `json:"topic"`
	Owner       string      `json:"owner"` // peer id
	Key         string      `json:"key"`
	Value       []byte      `json:"value"`          // base64; null when deleted
	Text        *string     `json:"text,omitempty"` // the value once more when it is printable UTF-8
	Version     Uint64      `json:"version"`        // the owner's version that wrote the entry
	Clock       Uint64      `json:"clock"`          // of the key
	Deleted     bool        `json:"deleted"`
	ContentType string      `json:"content_type"`
	Written     Uint64      `json:"written"`   // unix ms, the owner's claim
	Expires     Uint64      `json:"expires"`   // unix ms; 0: never
	Ext         []byte      `json:"ext"`       // base64; fields of later versions
	Digest      []byte      `json:"digest"`    // base64; the signed bytes, a Digest of the protocol
	Signature   []byte      `json:"signature"` // base64; 64 bytes
	Path        []ProofStep `json:"path"`      // from the entry up, at most 256
}

// ProofStep is one node of the owner's tree above the entry.
type ProofStep struct {
	// Bit is the first in which the hashes of the keys below the node differ. It falls from step to step. What the key's own
	// hash has there says on which side the sibling stands; only that side is signed.
	Bit     uint8  `json:"bit"`
	Sibling string `json:"sibling"` // hash of the child that the entry is not below, 64 hex digits
}

// proofOf writes down what a replica of network proved.
func proofOf(network, topic string, p gossipstate.Proof) (Proof, error) {
	digest, err := wire.UnmarshalDigest(p.Signed.Digest)
	if err != nil {
		return Proof{}, fmt.Errorf("proof of %q: %w", p.Entry.Key, err)
	}
	e := p.Entry
	out := Proof{
		Schema: ProofSchema, Network: network, Topic: topic, Owner: text(replica.PeerOf(digest.Owner)), Key: e.Key,
		Version: Uint64(e.Version), Clock: Uint64(e.Clock), Deleted: e.Tombstone, ContentType: e.ContentType,
		Written: Uint64(e.Written), Expires: Uint64(e.Expires), Ext: append([]byte{}, e.Ext...),
		Digest: p.Signed.Digest, Signature: p.Signed.Signature,
		Path: list(p.Path, func(s gossipstate.ProofStep) ProofStep {
			return ProofStep{s.Bit, hex.EncodeToString(s.Sibling[:])}
		}),
	}
	if !e.Tombstone {
		out.Value = append([]byte{}, e.Value...) // an empty value is "", null is none
		out.Text = printed(e.Value)
	}
	return out, nil
}

// Open turns p back into what gossipstate checks and the domain that it claims to be signed for. It checks form alone; that
// the owner signed anything is known once Verify says so.
func (p *Proof) Open() (gossipstate.Proof, wire.Domain, error) {
	domain := wire.Domain{Network: p.Network, Topic: p.Topic}
	if p.Schema != ProofSchema {
		return gossipstate.Proof{}, wire.Domain{}, fmt.Errorf("schema: %q is not %s", clip(p.Schema), ProofSchema)
	}
	if err := domain.Validate(); err != nil {
		return gossipstate.Proof{}, wire.Domain{}, err
	}
	if n := len(p.Signature); n != ed25519.SignatureSize {
		return gossipstate.Proof{}, wire.Domain{}, fmt.Errorf("signature: has %d bytes, not %d", n, ed25519.SignatureSize)
	}
	path, err := openPath(p.Path)
	if err != nil {
		return gossipstate.Proof{}, wire.Domain{}, err
	}
	return gossipstate.Proof{
		Signed: gossipstate.SignedDigest{Digest: p.Digest, Signature: p.Signature},
		Entry: gossipstate.Entry{
			Key: p.Key, Value: p.Value, Version: gossipstate.Version(p.Version), Clock: gossipstate.Clock(p.Clock),
			Tombstone: p.Deleted, ContentType: p.ContentType, Written: uint64(p.Written), Expires: uint64(p.Expires), Ext: p.Ext,
		},
		Path: path,
	}, domain, nil
}

func openPath(steps []ProofStep) ([]gossipstate.ProofStep, error) {
	if len(steps) > maxProofSteps {
		return nil, fmt.Errorf("path: has more than %d steps", maxProofSteps)
	}
	path := make([]gossipstate.ProofStep, len(steps))
	for i, s := range steps {
		hash, err := hex.DecodeString(s.Sibling)
		if err != nil || len(hash) != len(path[i].Sibling) || hex.EncodeToString(hash) != s.Sibling {
			return nil, fmt.Errorf("path: step %d: sibling: %q is not 64 hex digits in lower case", i, clip(s.Sibling))
		}
		path[i] = gossipstate.ProofStep{Bit: s.Bit, Sibling: [32]byte(hash)}
	}
	return path, nil
}

// Verified is what a Proof shows to be signed: the entry as the API tells it elsewhere, and where and when.
type Verified struct {
	Schema  string `json:"schema"` // p2pnode.verified/v1
	Network string `json:"network"`
	Topic   string `json:"topic"`
	Value
	Generation   Uint64 `json:"generation"`    // of the owner, when it signed
	StateVersion Uint64 `json:"state_version"` // of the owner's whole state, when it signed
}

// ProofError says which part of a Proof does not hold.
type ProofError struct {
	Part string // a field, or "entry" or "entry or path" where no single field can be told
	Err  error
}

func (e *ProofError) Error() string { return e.Part + ": " + e.Err.Error() }

// Unwrap gives what is wrong with the part.
func (e *ProofError) Unwrap() error { return e.Err }

// Verify checks that the owner which p names signed the entry for the network and topic which p names; whether these are the
// ones that the caller means is for the caller to compare. It asks nobody. Errors: *ProofError, and those of Open.
func (p *Proof) Verify() (Verified, error) {
	proof, domain, err := p.Open()
	if err != nil {
		return Verified{}, err
	}
	digest, err := proof.Verify(domain)
	if err != nil {
		return Verified{}, blame(&proof, domain, err)
	}
	owner := replica.PeerOf(digest.Owner)
	switch {
	case text(owner) != p.Owner:
		return Verified{}, &ProofError{"owner", fmt.Errorf("the digest is signed by %s, not by %q", owner, clip(p.Owner))}
	case p.Text != nil && (p.Deleted || *p.Text != string(p.Value)):
		return Verified{}, &ProofError{"text", errors.New("is not what the value holds")}
	case (p.Value == nil) != p.Deleted:
		return Verified{}, &ProofError{"value", errors.New("must be null when the key is deleted, and only then")}
	}
	return Verified{
		Schema: "p2pnode.verified/v1", Network: domain.Network, Topic: domain.Topic,
		Value: valueOf(replica.Value{
			Key: p.Key, Owner: owner, Value: p.Value, Clock: proof.Entry.Clock, Version: proof.Entry.Version,
			ContentType: p.ContentType, Written: unixMilli(p.Written), Expires: unixMilli(p.Expires), Deleted: p.Deleted,
			Root: digest.Root,
		}),
		Generation: Uint64(digest.Generation), StateVersion: Uint64(digest.Version),
	}, nil
}

// unixMilli is the time of an entry, the zero time when it has none.
func unixMilli(ms Uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// blame finds the part of p for which it was refused with err.
func blame(p *gossipstate.Proof, domain wire.Domain, err error) *ProofError {
	digest, digestErr := wire.UnmarshalDigest(p.Signed.Digest)
	if digestErr != nil {
		return &ProofError{"digest", digestErr}
	}
	digestErr = wire.VerifyDigest(domain, &digest, p.Signed)
	switch {
	case errors.Is(err, gossipstate.ErrRootMismatch):
		return &ProofError{"entry or path", fmt.Errorf("they do not lead to the signed root: "+
			"the key, the value, another field of the entry or the path was changed (%w)", gossipstate.ErrRootMismatch)}
	case errors.Is(err, wire.ErrBadSignature):
		return &ProofError{"signature", fmt.Errorf("%s did not sign this digest for network %q, topic %q: "+
			"one of these was changed (%w)", replica.PeerOf(digest.Owner), domain.Network, domain.Topic, wire.ErrBadSignature)}
	case digestErr != nil:
		return &ProofError{"digest", err}
	case p.Entry.Check() != nil:
		return &ProofError{"entry", err}
	}
	return &ProofError{"path", err}
}
