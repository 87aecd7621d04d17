package wire_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// seeds adds the vectors of the given kinds, but those whose size alone is their point.
func seeds(f *testing.F, add func(v *vector, b []byte), kinds ...string) {
	f.Helper()
	for _, v := range readVectors(f).Vectors {
		for _, kind := range kinds {
			if b := v.bytes(f); v.Kind == kind && len(b) < 16<<10 {
				add(&v, b)
			}
		}
	}
}

// fuzzDecoder checks a decoder: it does not panic, what it allocates is bounded, its errors have a class, and what it read
// is the same when it is written and read again, in as few bytes.
func fuzzDecoder[T any](f *testing.F, decode func([]byte) (T, error), encode func(*T) []byte, kinds ...string) {
	seeds(f, func(_ *vector, b []byte) { f.Add(b) }, kinds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got T
		var err error
		require.Less(t, allocated(func() { got, err = decode(b) }), decodeBound(len(b)))
		if err != nil {
			require.Contains(t, []string{classMalformed, classTooLarge}, classOf(t, err))
			return
		}
		written := encode(&got)
		require.LessOrEqual(t, len(written), len(b)+2) // a list of one fixed integer is a byte longer when it is packed
		again, err := decode(written)
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.True(t, bytes.Equal(written, encode(&again)), "two encodings of one value")
	})
}

func FuzzUnmarshalUpdate(f *testing.F) {
	fuzzDecoder(f, wire.UnmarshalUpdate, wire.MarshalUpdate, "update")
}

func FuzzUnmarshalDigest(f *testing.F) {
	fuzzDecoder(f, wire.UnmarshalDigest, wire.MarshalDigest, "digest")
}

func FuzzUnmarshalEntry(f *testing.F) {
	fuzzDecoder(f, wire.UnmarshalEntry, func(e *wire.Entry) []byte { return wire.AppendEntry(nil, e) }, "entry")
}

func FuzzUnmarshalSyncFrame(f *testing.F) {
	fuzzDecoder(f, wire.UnmarshalSyncFrame, wire.MarshalSyncFrame, "sync_frame")
}

func FuzzUnmarshalBeatFrame(f *testing.F) {
	fuzzDecoder(f, wire.UnmarshalBeatFrame, wire.MarshalBeatFrame, "beat_frame")
}

// FuzzVerify verifies whatever decodes, as it came and signed anew by alice: only the second gets past the signature often
// enough to try the rules, and there the reference must agree.
func FuzzVerify(f *testing.F) {
	seeds(f, func(v *vector, b []byte) { f.Add(b, v.Network, v.Topic) }, "update")
	seeds(f, func(v *vector, b []byte) { f.Add([]byte(message(nil).sub(1, b)), v.Network, v.Topic) }, "signed_digest")
	weak := map[wire.ID]bool{}
	for _, owner := range smallOrder {
		weak[wire.ID(unhex(f, owner))] = true
	}
	f.Fuzz(func(t *testing.T, b []byte, network, topic string) {
		domain := wire.Domain{Network: network, Topic: topic}
		u, err := wire.UnmarshalUpdate(b)
		if err != nil {
			return
		}
		if _, err := wire.Verify(domain, u); err != nil {
			classOf(t, err)
		} else {
			require.Empty(t, slowFaults(topic, &u))
			other := wire.Domain{Network: network + "x", Topic: topic}
			require.True(t, weak[u.Digest.Owner] || wire.VerifyDigest(other, &u.Digest, u.Signed) != nil, "verified for two networks")
		}
		u.Digest.Owner = alice.id
		u.Signed = wire.Sign(domain, &u.Digest, alice.sign)
		requireVerdict(t, domain, u)
	})
}
