package wire_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var (
	sampleAnchor = wire.Anchor{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}
	sampleGen    = wire.Generation(1_760_000_000<<16 | 0x1234)
)

// emptyDigest is the smallest digest of alice on an ordinary topic, filledDigest one with entries, memberDigest one with
// every field set, as on members.
func emptyDigest() wire.Digest {
	return wire.Digest{Owner: alice.id, Generation: sampleGen, Version: 1}
}

func filledDigest() wire.Digest {
	return wire.Digest{
		Owner: alice.id, Generation: sampleGen, Version: 300, Floor: 7,
		Root: slowRoot(sampleEntries(3)), Entries: 3, Bytes: slowBytes(sampleEntries(3)),
	}
}

func memberDigest() wire.Digest {
	d := filledDigest()
	d.Status, d.BeatAnchor, d.BeatT0, d.BeatInterval, d.BeatLength = wire.Leaving, sampleAnchor, 1_760_000_000_123, 700*time.Millisecond, 4096
	return d
}

// with is d with one thing changed.
func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func validDigests() []vector {
	valid := func(name, what string, d wire.Digest) vector {
		return vec("digest", name, what, slowDigest(&d)).holds(expect{Digest: digestOf(&d)})
	}
	filled := filledDigest()
	largest := memberDigest()
	largest.Generation, largest.Version, largest.Floor, largest.BeatT0 = math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64
	largest.Entries, largest.Bytes, largest.BeatInterval = wire.MaxEntries, wire.MaxBytes, wire.MaxBeatInterval

	unknown := slowDigest(&filled).uint(15, 1).sub(100, []byte("later"))
	return []vector{
		valid("digest-empty-state", "No entries: the root is 32 zero bytes, written out.", emptyDigest()),
		valid("digest-filled", "Three entries, ordinary topic.", filled),
		valid("digest-members", "All fields, as on members, of an owner that leaves.", memberDigest()),
		valid("digest-largest", "Every integer at its top.", largest),
		vec("digest", "digest-unknown-fields", "Fields of a later version are skipped; they stay in the signed bytes.", unknown).
			foreign().holds(expect{Digest: digestOf(&filled)}),
		vec("digest", "digest-unknown-group", "A group, long out of use, is an unknown field like any other.",
			append(bytes.Clone(slowDigest(&filled)), 0x7b, 0x08, 0x01, 0x7c)).foreign().holds(expect{Digest: digestOf(&filled)}),
		vec("digest", "digest-wide-entries", "A uint32 takes the low 32 bits of what is sent, as protobuf says.",
			append(message(nil).uint(6, 1<<40+3), withoutEntries(&filled)...)).foreign().holds(expect{Digest: digestOf(&filled)}),
		vec("digest", "digest-reordered", "Fields in another order mean the same.", reorderedDigest(&filled)).
			foreign().holds(expect{Digest: digestOf(&filled)}),
		vec("digest", "digest-padded-integer", "Version 300 as a varint of four bytes instead of two means the same.", paddedDigest(&filled)).
			foreign().holds(expect{Digest: digestOf(&filled)}),
		vec("digest", "digest-repeated-field", "The last of two versions counts, as protobuf says.",
			append(message(nil).uint(3, 5), slowDigest(&filled)...)).foreign().holds(expect{Digest: digestOf(&filled)}),
	}
}

// withoutEntries is the encoding of d but for its count of entries, which must be under 128.
func withoutEntries(d *wire.Digest) []byte {
	return bytes.Replace(slowDigest(d), message(nil).uint(6, uint64(d.Entries)), nil, 1)
}

// reorderedDigest is the encoding of d with its owner last.
func reorderedDigest(d *wire.Digest) message {
	owner := message(nil).bytes(1, d.Owner[:])
	return append(bytes.Clone(slowDigest(d)[len(owner):]), owner...)
}

// paddedDigest is the encoding of d with two needless bytes in the varint of its version, which must be 300.
func paddedDigest(d *wire.Digest) message {
	short, long := []byte{0x18, 0xac, 0x02}, []byte{0x18, 0xac, 0x82, 0x80, 0x00}
	return bytes.Replace(slowDigest(d), short, long, 1)
}

func invalidDigests() []vector {
	bad := func(name, what string, b []byte) vector { return vec("digest", name, what, b).fails(classMalformed) }
	d, m := filledDigest(), memberDigest()
	whole := slowDigest(&d)
	replaced := func(num protowire.Number, field []byte) []byte {
		return append(bytes.Clone(whole), message(nil).sub(num, field)...)
	}
	long := message(bytes.Clone(whole)).sub(100, make([]byte, wire.MaxDigest+1-len(whole)-4)) // tag and length take 2 bytes each
	return []vector{
		bad("digest-nothing", "No bytes: no owner.", nil),
		bad("digest-truncated", "Ends inside a field.", slowDigest(&m)[:len(slowDigest(&m))-1]),
		bad("digest-short-owner", "Owner of 31 bytes.", replaced(1, d.Owner[:31])),
		bad("digest-long-root", "Root of 33 bytes.", replaced(5, append(d.Root[:], 0))),
		bad("digest-short-anchor", "Beat anchor of 15 bytes.", replaced(9, sampleAnchor[:15])),
		bad("digest-status-2", "A status that does not exist.", message(bytes.Clone(whole)).uint(8, 2)),
		bad("digest-other-wire-type", "The version as a fixed64: a known field of another wire type is not an unknown field.", message(bytes.Clone(whole)).fixed64(3, 300)),
		bad("digest-endless-integer", "A varint of eleven bytes.", append(bytes.Clone(whole), 0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00)),
		bad("digest-field-number-too-large", "Field 4294967299 is no field: cut to 32 bits it would be the version.",
			append(bytes.Clone(whole), 0x98, 0x80, 0x80, 0x80, 0x80, 0x01, 0x05)),
		bad("digest-integer-too-large", "A varint of ten bytes that needs more than 64 bits.",
			append(bytes.Clone(whole), 0x20, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7e)),
		bad("digest-crossed-groups", "Group 15 closed by the end of group 16.", append(bytes.Clone(whole), 0x7b, 0x84, 0x01)),
		vec("digest", "digest-513-bytes", "One byte over the limit, by an unknown field.", long).folded([]byte{0}).fails(classTooLarge),
	}
}

func signedVector(name, what string, domain wire.Domain, s wire.SignedDigest) vector {
	v := vec("signed_digest", name, what, slowSigned(&s))
	v.Network, v.Topic = domain.Network, domain.Topic
	return v
}

func validSigned(name, what string, domain wire.Domain, d wire.Digest, s wire.SignedDigest) vector {
	return signedVector(name, what, domain, s).holds(expect{
		Digest: digestOf(&d), Signed: signedOf(&s), SigningBytes: hexOf(slowSigningBytes(domain.Network, domain.Topic, s.Digest)),
	})
}

func signedDigests() []vector {
	signed := func(name, what string, domain wire.Domain, by signer, d wire.Digest) vector {
		d.Owner = by.id
		return validSigned(name, what, domain, d, by.signDigest(domain, slowDigest(&d)))
	}
	filled := filledDigest()
	unknown := slowDigest(&filled).sub(100, []byte("later"))
	longest := wire.Domain{Network: "abcdefghijklmnopqrstuvwxyz-01234", Topic: "98765-zyxwvutsrqponmlkjihgfedcba"}
	return []vector{
		signed("signed-main", "Alice on an ordinary topic.", mainDomain, alice, filled),
		signed("signed-main-bob", "The same digest by another owner.", mainDomain, bob, filled),
		signed("signed-members", "With the beat fields.", membersDomain, alice, memberDigest()),
		signed("signed-empty-state", "No entries.", mainDomain, alice, emptyDigest()),
		signed("signed-longest-names", "Names of 32 bytes.", longest, alice, filled),
		signed("signed-floor-at-version", "Every tombstone is dropped: floor = version.", mainDomain, alice,
			with(filled, func(d *wire.Digest) { d.Floor = d.Version })),
		signed("signed-at-the-limits", "4,096 entries of 1 MiB.", mainDomain, alice,
			with(filled, func(d *wire.Digest) { d.Entries, d.Bytes = wire.MaxEntries, wire.MaxBytes })),
		validSigned("signed-unknown-fields", "Verified over the bytes that came, with the fields of a later version.",
			mainDomain, filled, alice.signDigest(mainDomain, unknown)),
		validSigned("signed-padded-integer", "Verified over the bytes that came, not over a re-encoding.",
			mainDomain, filled, alice.signDigest(mainDomain, paddedDigest(&filled))),
	}
}

// smallOrder are all 14 encodings of the 8 points of small order: the canonical ones, then those with y >= p or with the
// sign of x = 0 set. Source: ZIP 215.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000", // identity
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
	"0000000000000000000000000000000000000000000000000000000000000000", // order 4
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080", // identity
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // order 2
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 4
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func zip215Digests(t *testing.T) []vector {
	edge := func(name, what, owner, r string) vector {
		d := filledDigest()
		d.Owner = wire.ID(unhex(t, owner))
		return validSigned(name, what, mainDomain, d, wire.SignedDigest{Digest: slowDigest(&d), Signature: append(unhex(t, r), make([]byte, 32)...)})
	}
	d := filledDigest()
	return []vector{
		edge("zip215-identity", "Owner and R are the identity, s = 0: valid under ZIP 215, whatever is signed.", smallOrder[0], smallOrder[0]),
		edge("zip215-small-order-owner", "Owner of order 8, R the identity: only a cofactored check accepts it.", smallOrder[4], smallOrder[0]),
		edge("zip215-small-order-r", "Owner the identity, R of order 8: only a cofactored check accepts it.", smallOrder[0], smallOrder[6]),
		edge("zip215-non-canonical-owner", "Owner is the identity encoded with y = p + 1.", smallOrder[9], smallOrder[0]),
		edge("zip215-non-canonical-r", "R is the identity encoded with the sign of x set.", smallOrder[0], smallOrder[8]),
		validSigned("zip215-torsion-r", "Signed by alice's own key with a point of order 8 added to R: only a cofactored check accepts it.",
			mainDomain, d, wire.SignedDigest{Digest: slowDigest(&d), Signature: torsionSignature(t, alice, slowSigningBytes(mainDomain.Network, mainDomain.Topic, slowDigest(&d)))}),
	}
}

// torsionSignature signs m with R moved by a point of order 8. The equation then holds only after multiplication by 8:
// the one crafted signature that would split a network whose nodes do not share a rule.
func torsionSignature(t require.TestingT, s signer, m []byte) []byte {
	clamped := sha512.Sum512(s.seed)
	clamped[0] &= 248
	clamped[31] = clamped[31]&127 | 64
	a, err := scalar.NewFromBytesModOrder(clamped[:32])
	require.NoError(t, err)
	nonce := sha512.Sum512(append([]byte("nonce"), m...))
	r, err := scalar.NewFromBytesModOrderWide(nonce[:])
	require.NoError(t, err)

	point := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r)
	point.Add(point, curve.EIGHT_TORSION[1])
	encodedR := curve.NewCompressedEdwardsY().SetEdwardsPoint(point)
	hash := sha512.Sum512(append(append(append([]byte(nil), encodedR[:]...), s.id[:]...), m...))
	k, err := scalar.NewFromBytesModOrderWide(hash[:])
	require.NoError(t, err)
	k.Mul(k, a)
	k.Add(k, r)
	encodedS := make([]byte, scalar.ScalarSize)
	require.NoError(t, k.ToBytes(encodedS))
	return append(encodedR[:], encodedS...)
}

func invalidSignedDigests() []vector {
	bad := func(class, name, what string, domain wire.Domain, d wire.Digest) vector {
		return signedVector(name, what, domain, alice.signDigest(domain, slowDigest(&d))).fails(class)
	}
	onMain := func(class, name, what string, change func(*wire.Digest)) vector {
		return bad(class, name, what, mainDomain, with(filledDigest(), change))
	}
	onMembers := func(name, what string, change func(*wire.Digest)) vector {
		return bad(classMalformed, name, what, membersDomain, with(memberDigest(), change))
	}
	return []vector{
		onMain(classMalformed, "signed-floor-above-version", "Floor 301 of version 300.", func(d *wire.Digest) { d.Floor = d.Version + 1 }),
		onMain(classMalformed, "signed-generation-0", "Generation 0 means that nothing is known: nobody signs it.", func(d *wire.Digest) { d.Generation = 0 }),
		onMain(classMalformed, "signed-version-0", "Version 0 likewise.", func(d *wire.Digest) { d.Version, d.Floor = 0, 0 }),
		onMain(classMalformed, "signed-root-without-entries", "No entries under a root.", func(d *wire.Digest) { d.Entries, d.Bytes = 0, 0 }),
		onMain(classMalformed, "signed-entries-without-root", "Entries under the root of the empty set.", func(d *wire.Digest) { d.Root = wire.Root{} }),
		onMain(classTooLarge, "signed-4097-entries", "More entries than an owner may have.", func(d *wire.Digest) { d.Entries = wire.MaxEntries + 1 }),
		onMain(classTooLarge, "signed-over-1-mib", "More bytes than an owner may have.", func(d *wire.Digest) { d.Bytes = wire.MaxBytes + 1 }),
		onMain(classMalformed, "signed-t0-off-members", "The time of beat 0 on another topic than members.", func(d *wire.Digest) { d.BeatT0 = 1 }),
		onMain(classMalformed, "signed-anchor-off-members", "A beat anchor on another topic than members.", func(d *wire.Digest) { d.BeatAnchor = sampleAnchor }),
		onMain(classMalformed, "signed-interval-off-members", "A beat interval on another topic than members.", func(d *wire.Digest) { d.BeatInterval = time.Second }),
		onMain(classMalformed, "signed-length-off-members", "A chain length on another topic than members.", func(d *wire.Digest) { d.BeatLength = 1 }),
		bad(classMalformed, "signed-members-without-beats", "No beat fields on members.", membersDomain, filledDigest()),
		onMembers("signed-members-without-anchor", "No beat anchor on members.", func(d *wire.Digest) { d.BeatAnchor = wire.Anchor{} }),
		onMembers("signed-beats-too-fast", "A beat interval of 199 ms.", func(d *wire.Digest) { d.BeatInterval = 199 * time.Millisecond }),
		onMembers("signed-beats-too-slow", "A beat interval of 10,001 ms.", func(d *wire.Digest) { d.BeatInterval = 10_001 * time.Millisecond }),
		onMembers("signed-no-beats", "A chain of no beats.", func(d *wire.Digest) { d.BeatLength = 0 }),
		onMembers("signed-4097-beats", "A chain of 4,097 beats.", func(d *wire.Digest) { d.BeatLength = wire.MaxBeats + 1 }),
	}
}

func signaturesThatFail() []vector {
	d := filledDigest()
	digest := slowDigest(&d)
	good := alice.signDigest(mainDomain, digest)
	bad := func(name, what string, domain wire.Domain, change func(*wire.SignedDigest)) vector {
		s := wire.SignedDigest{Digest: bytes.Clone(good.Digest), Signature: bytes.Clone(good.Signature)}
		change(&s)
		return signedVector(name, what, domain, s).fails(classBadSignature)
	}
	same := func(*wire.SignedDigest) {}
	short := good
	short.Signature = good.Signature[:63]
	network, topic := mainDomain.Network, mainDomain.Topic
	return []vector{
		bad("signature-flipped-bit", "One bit of s is flipped.", mainDomain, func(s *wire.SignedDigest) { s.Signature[40] ^= 1 }),
		bad("signature-flipped-r", "One bit of R is flipped.", mainDomain, func(s *wire.SignedDigest) { s.Signature[3] ^= 0x20 }),
		bad("signature-of-other-digest", "The digest says generation + 1.", mainDomain, func(s *wire.SignedDigest) {
			s.Digest = slowDigest(&wire.Digest{Owner: d.Owner, Generation: d.Generation + 1, Version: d.Version, Floor: d.Floor, Root: d.Root, Entries: d.Entries, Bytes: d.Bytes})
		}),
		bad("signature-of-re-encoded-digest", "The signed bytes were written in another order: same meaning, other bytes.", mainDomain,
			func(s *wire.SignedDigest) { s.Digest = reorderedDigest(&d) }),
		bad("signature-by-other-key", "Bob signs for alice.", mainDomain, func(s *wire.SignedDigest) { *s = bob.signDigest(mainDomain, digest) }),
		bad("signature-other-network", "Signed for another network.", wire.Domain{Network: "p2pnode-tesu", Topic: topic}, same),
		bad("signature-other-topic", "Signed for another topic.", wire.Domain{Network: network, Topic: "mail"}, same),
		bad("signature-shifted-names", "Signed for names that are the same when they are joined.", wire.Domain{Network: "p2pnode-tes", Topic: "tmain"}, same),
		bad("signature-without-domain", "The digest alone is signed.", mainDomain, func(s *wire.SignedDigest) { s.Signature = alice.sign(digest) }),
		bad("signature-s-plus-order", "s + the group order: the same signature by an unreduced s.", mainDomain, func(s *wire.SignedDigest) { addOrder(s.Signature[32:]) }),
		bad("signature-r-off-curve", "R is no point of the curve.", mainDomain, func(s *wire.SignedDigest) { copy(s.Signature, append([]byte{2}, make([]byte, 31)...)) }),
		signedVector("signature-63-bytes", "A signature is 64 bytes.", mainDomain, short).fails(classMalformed),
		signedVector("signature-none", "No signature.", mainDomain, wire.SignedDigest{Digest: digest}).fails(classMalformed),
	}
}

// addOrder adds the order of the group to the little-endian scalar s.
func addOrder(s []byte) {
	order := [4]uint64{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}
	carry := uint64(0)
	for i := range order {
		word := binary.LittleEndian.Uint64(s[8*i:])
		sum := word + order[i] + carry
		carry = 0
		if sum < word {
			carry = 1
		}
		binary.LittleEndian.PutUint64(s[8*i:], sum)
	}
}
