package wire_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// batchCase is one update and what becomes of it when it is checked alone.
type batchCase struct {
	name   string
	update wire.Update
	err    error // the class
}

func digestBy(s signer, d wire.Digest) wire.Update {
	return s.commit(mainDomain, d, d.Version, nil, nil)
}

// batchCases are updates on which verifiers could differ, and plain good and bad ones.
func batchCases(t *testing.T) []batchCase {
	t.Helper()
	tampered := digestBy(bob, wire.Digest{Generation: 1, Version: 2})
	tampered.Signed.Signature = bytes.Clone(tampered.Signed.Signature)
	tampered.Signed.Signature[3] ^= 1
	short := digestBy(bob, wire.Digest{Generation: 1, Version: 3})
	short.Signed.Signature = short.Signed.Signature[:63]
	elsewhere := bob.commit(wire.Domain{Network: "other", Topic: "main"}, wire.Digest{Generation: 1, Version: 4}, 4, nil, nil)
	unreduced := digestBy(alice, wire.Digest{Generation: 1, Version: 5})
	unreduced.Signed.Signature = bytes.Clone(unreduced.Signed.Signature)
	addOrder(unreduced.Signed.Signature[32:])
	malformed := digestBy(alice, wire.Digest{Generation: 1, Version: 6, Floor: 7})
	noPoint := digestBy(alice, wire.Digest{Generation: 1, Version: 8})
	noPoint.Digest.Owner = wire.ID{0: 2} // no point of the curve has y = 2
	torsion := digestBy(alice, wire.Digest{Generation: 1, Version: 7})
	torsion.Signed.Signature = torsionSignature(t, alice, mainDomain.SigningBytes(torsion.Signed.Digest))
	small := digestBy(alice, wire.Digest{Generation: 1, Version: 9})
	small.Digest.Owner = wire.ID(unhex(t, smallOrder[3]))
	small.Signed = wire.SignedDigest{
		Digest: wire.MarshalDigest(&small.Digest), Signature: append(unhex(t, smallOrder[5]), make([]byte, 32)...),
	}
	return []batchCase{
		{"good", digestBy(alice, wire.Digest{Generation: 1, Version: 1}), nil},
		{"with entries", sampleUpdate(), nil},
		{"of another owner", digestBy(bob, wire.Digest{Generation: 2, Version: 1}), nil},
		{"torsion in R", torsion, nil},
		{"owner of small order", small, nil},
		{"tampered", tampered, wire.ErrBadSignature},
		{"short signature", short, wire.ErrMalformed},
		{"of another network", elsewhere, wire.ErrBadSignature},
		{"unreduced s", unreduced, wire.ErrBadSignature},
		{"owner is no point", noPoint, wire.ErrBadSignature},
		{"floor above version", malformed, wire.ErrMalformed},
	}
}

// requireVerdicts checks that the batch says of each what Verify says of it alone.
func requireVerdicts(t require.TestingT, cases []batchCase) {
	updates := make([]wire.Update, len(cases))
	for i := range cases {
		updates[i] = cases[i].update
	}
	verified, errs := wire.VerifyBatch(mainDomain, updates)
	require.Len(t, verified, len(cases))
	require.Len(t, errs, len(cases))
	for i, c := range cases {
		alone, err := wire.Verify(mainDomain, c.update)
		require.Equal(t, err, errs[i], "%d: %s", i, c.name)
		require.Equal(t, alone, verified[i], "%d: %s", i, c.name)
		if c.err == nil {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorIs(t, err, c.err, c.name)
		}
	}
}

func TestABatchSaysOfEachWhatASingleCheckSays(t *testing.T) {
	cases := batchCases(t)
	requireVerdicts(t, nil)
	requireVerdicts(t, cases)
	var good []batchCase
	for _, c := range cases {
		if requireVerdicts(t, []batchCase{c}); c.err == nil {
			good = append(good, c)
		}
	}
	requireVerdicts(t, good)
	for _, bad := range cases[len(good):] {
		for at := range len(good) + 1 {
			requireVerdicts(t, append(append(append([]batchCase{}, good[:at]...), bad), good[at:]...))
		}
	}
}

func TestAnyBatchSaysOfEachWhatASingleCheckSays(t *testing.T) {
	cases := batchCases(t)
	rapid.Check(t, func(t *rapid.T) {
		requireVerdicts(t, rapid.SliceOfN(rapid.SampledFrom(cases), 0, 40).Draw(t, "batch"))
	})
}

func TestPartsOfOneUpdateShareTheVerdictOnTheirSignature(t *testing.T) {
	cases := batchCases(t)
	good, tampered := cases[0], cases[5]
	requireVerdicts(t, []batchCase{good, good, tampered, tampered, good, tampered, good, good})
	// The same signature under another digest is another claim.
	lent := good
	lent.update = digestBy(alice, wire.Digest{Generation: 1, Version: 9})
	lent.update.Signed.Signature, lent.err = good.update.Signed.Signature, wire.ErrBadSignature
	requireVerdicts(t, []batchCase{good, lent, good, cases[2], cases[3], cases[4]})
}

func TestDigestsAreVerifiedInBatchesAsAlone(t *testing.T) {
	var digests []wire.Digest
	var signed []wire.SignedDigest
	for _, c := range batchCases(t) {
		digests, signed = append(digests, c.update.Digest), append(signed, c.update.Signed)
	}
	errs := wire.VerifyDigests(mainDomain, digests, signed)
	require.Len(t, errs, len(digests))
	for i := range digests {
		require.Equal(t, wire.VerifyDigest(mainDomain, &digests[i], signed[i]), errs[i], "%d", i)
	}
}

func manyDigests(n int) []wire.Update {
	updates := make([]wire.Update, n)
	for i := range updates {
		updates[i] = digestBy(namedSigner(fmt.Sprint("owner ", i)), wire.Digest{Generation: 1, Version: wire.Version(i + 1)})
	}
	return updates
}
