package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestSigningBytesFollowThePicture(t *testing.T) {
	got := wire.Domain{Network: "net", Topic: "main"}.SigningBytes([]byte{0xd1, 0xd2})
	require.Equal(t, "p2pnode/digest/1\x03net\x04main\xd1\xd2", string(got))
}

func TestDomainsNeverShareSigningBytes(t *testing.T) {
	digest := []byte("digest")
	seen := map[string]wire.Domain{}
	for _, network := range []string{"a", "ab", "abc", "b", "bc"} {
		for _, topic := range []string{"a", "ab", "c", "bc", "abc"} {
			d := wire.Domain{Network: network, Topic: topic}
			s := string(d.SigningBytes(digest))
			require.Zero(t, seen[s], "%v and %v", d, seen[s])
			seen[s] = d
		}
	}
}

func TestSignedDigestVerifiesForItsDomainAlone(t *testing.T) {
	d := filledDigest()
	s := wire.Sign(mainDomain, &d, alice.sign)
	require.Equal(t, alice.signDigest(mainDomain, slowDigest(&d)), s)
	require.NoError(t, wire.VerifyDigest(mainDomain, &d, s))
	for name, other := range map[string]wire.Domain{
		"another network":         {Network: "p2pnode-tesu", Topic: "main"},
		"another topic":           {Network: "p2pnode-test", Topic: "mail"},
		"a shorter network":       {Network: "p2pnode-tes", Topic: "main"},
		"a longer topic":          {Network: "p2pnode-test", Topic: "main2"},
		"a shifted boundary":      {Network: "p2pnode-tes", Topic: "tmain"},
		"swapped names":           {Network: "main", Topic: "p2pnode-test"},
		"no topic":                {Network: "p2pnode-test"},
		"no network":              {Topic: "main"},
		"upper case":              {Network: "p2pnode-test", Topic: "Main"},
		"the zero domain":         {},
		"a name of over 32 bytes": {Network: strings.Repeat("n", 300), Topic: "main"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, wire.VerifyDigest(other, &d, s), wire.ErrBadSignature)
		})
	}
}

// A digest is at home either on members or elsewhere: its beat fields say so before its signature does.
func TestDigestOfMembersIsMalformedElsewhere(t *testing.T) {
	d, m := filledDigest(), memberDigest()
	require.ErrorIs(t, wire.VerifyDigest(membersDomain, &d, wire.Sign(mainDomain, &d, alice.sign)), wire.ErrMalformed)
	require.ErrorIs(t, wire.VerifyDigest(mainDomain, &m, wire.Sign(membersDomain, &m, alice.sign)), wire.ErrMalformed)
}

func TestEverySingleFlippedBitFails(t *testing.T) {
	d := filledDigest()
	s := wire.Sign(mainDomain, &d, alice.sign)
	digestBits, signatureBits := 8*len(s.Digest), 8*len(s.Signature)
	for bit := range digestBits + signatureBits {
		flipped := wire.SignedDigest{Digest: bytes.Clone(s.Digest), Signature: bytes.Clone(s.Signature)}
		if bit < digestBits {
			flipped.Digest[bit/8] ^= 1 << (bit % 8)
		} else {
			flipped.Signature[(bit-digestBits)/8] ^= 1 << (bit % 8)
		}
		u, err := wire.UnmarshalUpdate(wire.MarshalUpdate(&wire.Update{Signed: flipped}))
		if err == nil {
			_, err = wire.Verify(mainDomain, u)
		}
		require.Error(t, err, "bit %d", bit)
		classOf(t, err)
	}
	for i := range mainDomain.Network + mainDomain.Topic {
		for bit := range 8 {
			network, topic := []byte(mainDomain.Network), []byte(mainDomain.Topic)
			if i < len(network) {
				network[i] ^= 1 << bit
			} else {
				topic[i-len(network)] ^= 1 << bit
			}
			other := wire.Domain{Network: string(network), Topic: string(topic)}
			require.ErrorIs(t, wire.VerifyDigest(other, &d, s), wire.ErrBadSignature, "%v", other)
		}
	}
}

// All owners and R of small order, with s = 0, satisfy the cofactored equation, whatever is signed; most of them do not
// satisfy the other one. Every node must say the same: yes. Source: ZIP 215, whose 196 test cases these are.
func TestSmallOrderSignaturesAreValidForAll(t *testing.T) {
	split := 0
	for _, owner := range smallOrder {
		for _, r := range smallOrder {
			d := filledDigest()
			d.Owner = wire.ID(unhex(t, owner))
			s := wire.SignedDigest{Digest: wire.MarshalDigest(&d), Signature: append(unhex(t, r), make([]byte, 32)...)}
			require.NoError(t, wire.VerifyDigest(mainDomain, &d, s), "owner %s, R %s", owner, r)
			if !ed25519.Verify(d.Owner[:], mainDomain.SigningBytes(s.Digest), s.Signature) {
				split++
			}
		}
	}
	require.Greater(t, split, 100, "the standard library agrees: these are no edge cases")
}

func TestTorsionInRIsValidForAll(t *testing.T) {
	d := filledDigest()
	digest := wire.MarshalDigest(&d)
	m := mainDomain.SigningBytes(digest)
	s := wire.SignedDigest{Digest: digest, Signature: torsionSignature(t, alice, m)}
	require.NoError(t, wire.VerifyDigest(mainDomain, &d, s))
	require.False(t, ed25519.Verify(alice.id[:], m, s.Signature), "the standard library agrees: this is no edge case")
}

func TestUnreducedSIsRefused(t *testing.T) {
	d := filledDigest()
	s := wire.Sign(mainDomain, &d, alice.sign)
	addOrder(s.Signature[32:])
	require.ErrorIs(t, wire.VerifyDigest(mainDomain, &d, s), wire.ErrBadSignature)
}

func TestSignatureOfAnyOtherLengthIsMalformed(t *testing.T) {
	d := filledDigest()
	for n := range 130 {
		if n == ed25519.SignatureSize {
			continue
		}
		s := wire.SignedDigest{Digest: wire.MarshalDigest(&d), Signature: make([]byte, n)}
		require.ErrorIs(t, wire.VerifyDigest(mainDomain, &d, s), wire.ErrMalformed, "%d bytes", n)
	}
}

func TestVerifiedCarriesTheHashesOfItsEntries(t *testing.T) {
	u := sampleUpdate()
	v, err := wire.Verify(mainDomain, u)
	require.NoError(t, err)
	require.Equal(t, u, *v.Update())
	require.Len(t, v.Hashes(), len(u.Entries))
	for i, h := range v.Hashes() {
		require.Equal(t, slowHash([]byte(u.Entries[i].Key)), h.Key)
		require.Equal(t, slowLeaf(&u.Entries[i]), h.Leaf)
	}
	require.Equal(t, u.Digest.Root, rootOf(v.Hashes()))
}
