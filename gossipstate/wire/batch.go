package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// batchFrom is the number of different signatures from which they are checked together: below it that takes longer than one
// by one. Measured: BenchmarkVerifyBatch.
const batchFrom = 4

// VerifyBatch verifies many updates, of any owners, for one domain: what Verify returns for each, in their order. Where
// errs[i] is nil, verified[i] may be used. Signatures are checked together, which takes about half the time; when one of them
// is bad, each is checked by itself after that, which takes half as long again. So a caller that cannot blame the sender of a
// bad one should not batch what comes from different peers. The parts of one update carry one signature, which is checked
// once. Errors as Verify.
func VerifyBatch(domain Domain, updates []Update) (verified []Verified, errs []error) {
	verified, errs = make([]Verified, len(updates)), make([]error, len(updates))
	digests, signed := make([]*Digest, 0, len(updates)), make([]SignedDigest, 0, len(updates))
	at := make([]int, 0, len(updates)) // in updates, of each digest
	for i := range updates {
		if errs[i] = checkUpdate(domain.Topic, &updates[i]); errs[i] == nil {
			digests, signed, at = append(digests, &updates[i].Digest), append(signed, updates[i].Signed), append(at, i)
		}
	}
	for j, err := range verifySignatures(domain, digests, signed) {
		if i := at[j]; err != nil {
			errs[i] = err
		} else {
			verified[i] = hashed(updates[i])
		}
	}
	return verified, errs
}

// VerifyDigests is VerifyDigest for many, in their order: digests[i] must be what signed[i] holds.
func VerifyDigests(domain Domain, digests []Digest, signed []SignedDigest) (errs []error) {
	errs = make([]error, len(digests))
	good, goodSigned, at := make([]*Digest, 0, len(digests)), make([]SignedDigest, 0, len(digests)), make([]int, 0, len(digests))
	for i := range digests {
		if errs[i] = checkDigest(domain.Topic, &digests[i]); errs[i] == nil {
			good, goodSigned, at = append(good, &digests[i]), append(goodSigned, signed[i]), append(at, i)
		}
	}
	for j, err := range verifySignatures(domain, good, goodSigned) {
		errs[at[j]] = err
	}
	return errs
}

// verifySignatures checks signed[i] under the owner of digests[i].
func verifySignatures(domain Domain, digests []*Digest, signed []SignedDigest) []error {
	errs := make([]error, len(digests))
	same := make([]int, len(digests)) // the place of the signature that stands for each
	var different []int
	for i := range digests {
		same[i] = i
		if n := len(different); n > 0 && repeats(digests, signed, different[n-1], i) {
			same[i] = different[n-1]
			continue
		}
		different = append(different, i)
	}
	var open []int // to be checked one by one
	if len(different) < batchFrom {
		open = different
	} else if valid := verifyTogether(domain, digests, signed, different); valid != nil {
		for j, i := range different {
			if !valid[j] {
				open = append(open, i) // for its error, and so that one rule alone refuses
			}
		}
	}
	for _, i := range open {
		errs[i] = verifySignature(domain, digests[i], signed[i])
	}
	for i := range same {
		errs[i] = errs[same[i]]
	}
	return errs
}

// repeats says whether b carries the very bytes of a.
func repeats(digests []*Digest, signed []SignedDigest, a, b int) bool {
	return digests[a].Owner == digests[b].Owner && bytes.Equal(signed[a].Digest, signed[b].Digest) &&
		bytes.Equal(signed[a].Signature, signed[b].Signature)
}

// verifyTogether checks the signatures at the given places. The factors by which a batch mixes its equations must be such that
// no signer can know them before all signatures are fixed. They are drawn from a hash of everything that is checked, so that
// the same batch always has the same verdict, and no source of randomness is needed.
func verifyTogether(domain Domain, digests []*Digest, signed []SignedDigest, places []int) []bool {
	// Tables for the keys gain nothing below 95 signatures, and above it they are made for the first 94 and not used. Measured:
	// BenchmarkVerifyBatch, 17.9 µs a signature with them and 16.0 µs without at 128.
	batch := ed25519.NewBatchVerifierWithCapacity(len(places)).ForceNoPublicKeyExpansion()
	transcript := sha256.New()
	var length [16]byte
	for _, i := range places {
		message, signature := domain.SigningBytes(signed[i].Digest), signed[i].Signature
		batch.AddWithOptions(digests[i].Owner[:], message, signature, zip215)
		binary.BigEndian.PutUint64(length[:], uint64(len(message)))
		binary.BigEndian.PutUint64(length[8:], uint64(len(signature)))
		for _, b := range [][]byte{length[:], digests[i].Owner[:], message, signature} {
			transcript.Write(b)
		}
	}
	_, valid := batch.Verify(bytes.NewReader(transcript.Sum(nil)))
	return valid
}

// verifySignature checks one signature. Errors wrap ErrMalformed or ErrBadSignature.
func verifySignature(domain Domain, d *Digest, signed SignedDigest) error {
	if len(signed.Signature) != ed25519.SignatureSize {
		return fmt.Errorf("%w: signature of %d bytes", ErrMalformed, len(signed.Signature))
	}
	if !ed25519.VerifyWithOptions(d.Owner[:], domain.SigningBytes(signed.Digest), signed.Signature, zip215) {
		return fmt.Errorf("%w: digest of %s on %s/%s", ErrBadSignature, d.Owner, domain.Network, domain.Topic)
	}
	return nil
}
