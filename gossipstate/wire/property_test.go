package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var (
	drawName = rapid.StringMatching(`[a-z0-9-]{1,32}`)
	drawKey  = rapid.StringN(1, 40, wire.MaxKey).Filter(utf8.ValidString)
	drawText = rapid.StringN(0, 40, 256).Filter(utf8.ValidString)
)

func drawBytes(most int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), 0, most) }

func drawSigner(t *rapid.T) signer {
	return newSigner(rapid.SliceOfN(rapid.Byte(), ed25519.SeedSize, ed25519.SeedSize).Draw(t, "seed"))
}

// drawEntry is a valid entry with p < version <= v.
func drawEntry(t *rapid.T, p, v wire.Version) wire.Entry {
	e := wire.Entry{
		Key: drawKey.Draw(t, "key"), Version: wire.Version(rapid.Uint64Range(uint64(p)+1, uint64(v)).Draw(t, "entry version")),
		Clock: wire.Clock(rapid.Uint64Min(1).Draw(t, "clock")), Tombstone: rapid.Bool().Draw(t, "tombstone"),
		ContentType: drawText.Draw(t, "content type"), Written: rapid.Uint64().Draw(t, "written"), Expires: rapid.Uint64().Draw(t, "expires"),
		Ext: noEmpty(drawBytes(100).Draw(t, "ext")),
	}
	if !e.Tombstone {
		e.Value = noEmpty(drawBytes(300).Draw(t, "value"))
	}
	return e
}

func noEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// drawUpdate is a valid update of a random owner for domain.
func drawUpdate(t *rapid.T, domain wire.Domain, by signer) wire.Update {
	d := wire.Digest{Owner: by.id, Generation: wire.Generation(rapid.Uint64Min(1).Draw(t, "generation")), Version: wire.Version(rapid.Uint64Min(1).Draw(t, "version"))}
	d.Floor = wire.Version(rapid.Uint64Max(uint64(d.Version)).Draw(t, "floor"))
	d.Status = wire.Status(rapid.IntRange(0, 1).Draw(t, "status"))
	d.Bytes = rapid.Uint64Max(wire.MaxBytes).Draw(t, "bytes")
	if d.Entries = rapid.Uint32Max(wire.MaxEntries).Draw(t, "entries"); d.Entries > 0 {
		d.Root = wire.Root{1: 1, 31: rapid.Byte().Draw(t, "root")}
	}
	if domain.Topic == wire.Members {
		d.BeatAnchor = wire.Anchor{0: 1, 15: rapid.Byte().Draw(t, "anchor")}
		d.BeatT0 = rapid.Uint64().Draw(t, "t0")
		d.BeatInterval = time.Duration(rapid.IntRange(200, 10_000).Draw(t, "interval")) * time.Millisecond
		d.BeatLength = rapid.Uint32Range(1, wire.MaxBeats).Draw(t, "length")
	}
	u := wire.Update{Digest: d, Previous: wire.Version(rapid.Uint64Max(uint64(d.Version)).Draw(t, "previous")), Entries: []wire.Entry{}}
	if u.Previous < d.Version {
		for range rapid.IntRange(0, 12).Draw(t, "length of the update") {
			e := drawEntry(t, u.Previous, d.Version)
			e.Tombstone = e.Tombstone && e.Version > d.Floor
			u.Entries = append(u.Entries, e)
		}
	}
	slices.SortFunc(u.Entries, func(a, b wire.Entry) int { return a.Compare(&b) })
	u.Entries = slices.CompactFunc(u.Entries, func(a, b wire.Entry) bool { return a.Compare(&b) == 0 })
	u.More = len(u.Entries) > 0 && rapid.Bool().Draw(t, "more")
	u.Signed = wire.Sign(domain, &d, by.sign)
	return u
}

func drawDomain(t *rapid.T) wire.Domain {
	topic := rapid.OneOf(rapid.Just(wire.Members), drawName).Draw(t, "topic")
	return wire.Domain{Network: drawName.Draw(t, "network"), Topic: topic}
}

func TestSignMarshalUnmarshalVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := drawDomain(t)
		u := drawUpdate(t, domain, drawSigner(t))
		require.Empty(t, slowFaults(domain.Topic, &u))
		b := wire.MarshalUpdate(&u)
		require.Equal(t, []byte(slowUpdate(&u)), b)
		got, err := wire.UnmarshalUpdate(b)
		require.NoError(t, err)
		require.Equal(t, u, got)
		v, err := wire.Verify(domain, got)
		require.NoError(t, err)
		for i := range u.Entries {
			require.Equal(t, slowLeaf(&u.Entries[i]), v.Hashes()[i].Leaf)
			require.Equal(t, slowCanonical(&u.Entries[i]), wire.AppendCanonical(nil, &u.Entries[i]))
		}
	})
}

func TestAnyFlippedBitOfWhatIsSignedFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := drawDomain(t)
		u := drawUpdate(t, domain, drawSigner(t))
		flip := func(b []byte, label string) []byte {
			b = bytes.Clone(b)
			bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, label)
			b[bit/8] ^= 1 << (bit % 8)
			return b
		}
		switch rapid.IntRange(0, 3).Draw(t, "where") {
		case 0:
			u.Signed.Digest = flip(u.Signed.Digest, "digest bit")
		case 1:
			u.Signed.Signature = flip(u.Signed.Signature, "signature bit")
		case 2:
			domain.Network = string(flip([]byte(domain.Network), "network bit"))
		case 3:
			domain.Topic = string(flip([]byte(domain.Topic), "topic bit"))
		}
		got, err := wire.UnmarshalUpdate(wire.MarshalUpdate(&u))
		if err == nil {
			_, err = wire.Verify(domain, got)
		}
		require.Error(t, err)
		classOf(t, err)
	})
}

func TestVerifyAgreesWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domain := drawDomain(t)
		by := drawSigner(t)
		u := drawUpdate(t, domain, by)
		for range rapid.IntRange(0, 3).Draw(t, "faults") {
			breakUpdate(t, &u)
		}
		u.Signed = wire.Sign(domain, &u.Digest, by.sign)
		requireVerdict(t, domain, u)
	})
}

// requireVerdict fails t unless Verify says of u, which its owner signed, what the reference says.
func requireVerdict(t require.TestingT, domain wire.Domain, u wire.Update) {
	_, err := wire.Verify(domain, u)
	faults := slowFaults(domain.Topic, &u)
	if len(faults) == 0 {
		require.NoError(t, err)
		return
	}
	require.True(t, faults[classOf(t, err)], "%v, the reference says %v", err, faults)
}

// breakUpdate changes one thing about u, for the worse or not.
func breakUpdate(t *rapid.T, u *wire.Update) {
	small := rapid.Uint64Max(3)
	switch rapid.IntRange(0, 9).Draw(t, "fault") {
	case 0:
		u.Previous = wire.Version(rapid.Uint64().Draw(t, "previous"))
	case 1:
		u.Digest.Version = wire.Version(small.Draw(t, "version"))
	case 2:
		u.Digest.Floor = wire.Version(rapid.Uint64().Draw(t, "floor"))
	case 3:
		u.Digest.Generation = wire.Generation(small.Draw(t, "generation"))
	case 4:
		u.Digest.Entries = uint32(4095 + small.Draw(t, "entries"))
	case 5:
		u.Digest.Bytes = wire.MaxBytes - 1 + small.Draw(t, "bytes")
	case 6:
		u.Digest.Root = wire.Root{}
	case 7:
		u.Digest.BeatInterval = time.Duration(rapid.SampledFrom([]int{0, 199, 200, 10_000, 10_001}).Draw(t, "interval")) * time.Millisecond
	case 8:
		u.More = !u.More
	default:
		if len(u.Entries) > 0 {
			i := rapid.IntRange(0, len(u.Entries)-1).Draw(t, "entry")
			breakEntry(t, &u.Entries[i])
		}
	}
}

func breakEntry(t *rapid.T, e *wire.Entry) {
	switch rapid.IntRange(0, 5).Draw(t, "entry fault") {
	case 0:
		e.Key = string(drawBytes(3).Draw(t, "broken key"))
	case 1:
		e.Version = wire.Version(rapid.Uint64().Draw(t, "broken version"))
	case 2:
		e.Clock = 0
	case 3:
		e.Tombstone = !e.Tombstone
	case 4:
		e.Value = make([]byte, wire.MaxValue+rapid.IntRange(-1, 1).Draw(t, "value over the limit"))
	case 5:
		e.Ext = make([]byte, wire.MaxMeta-len(e.ContentType)+rapid.IntRange(-1, 1).Draw(t, "meta over the limit"))
	}
}

func TestEncodedSizeIsWhatAnEntryAddsToAnUpdate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawUpdate(t, mainDomain, alice)
		before := len(wire.MarshalUpdate(&u))
		e := drawEntry(t, 0, 1<<64-1)
		u.Entries = append(u.Entries, e)
		require.Equal(t, len(wire.MarshalUpdate(&u))-before, wire.EncodedSize(&e))
	})
}

func TestEntriesSurviveStorage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t, 0, 1<<64-1)
		require.NoError(t, e.Check())
		b := wire.AppendEntry([]byte("before"), &e)
		require.Equal(t, append([]byte("before"), slowEntry(&e)...), b)
		got, err := wire.UnmarshalEntry(b[len("before"):])
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}
