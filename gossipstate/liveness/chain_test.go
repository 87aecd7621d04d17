package liveness

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// slowChain is the chain as the package comment defines it, computed the obvious way: x[0..length].
func slowChain(owner wire.ID, generation wire.Generation, seed [16]byte, length uint32) [][16]byte {
	tagged := append([]byte("p2pnode/beat/1"), owner[:]...)
	tag := sha256.Sum256(binary.BigEndian.AppendUint64(tagged, uint64(generation)))
	x := [][16]byte{seed}
	for i := range length {
		in := append(append([]byte{}, x[i][:]...), tag[:]...)
		sum := sha256.Sum256(binary.BigEndian.AppendUint32(in, i))
		x = append(x, [16]byte(sum[:16]))
	}
	return x
}

func TestChainMatchesTheVectorInThePackageComment(t *testing.T) {
	var owner wire.ID
	for i := range owner {
		owner[i] = byte(i)
	}
	var seed [16]byte
	for i := range seed {
		seed[i] = 0xa0 + byte(i)
	}
	c := NewChain(owner, 0x0102030405060708, seed, 4)
	want := map[uint32]string{ // computed with Python's hashlib
		4: "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
		3: "949a3020bf0a9322c0e6df0246987a0e",
		2: "1d081c5486eaaaa4b6a449fb3def8182",
		1: "a04febce4aac848ec7b81251082ba28d",
	}
	for k, preimage := range want {
		b := c.Beat(k)
		require.Equal(t, preimage, hex.EncodeToString(b.Preimage[:]), "beat %d", k)
		require.Equal(t, k, b.Index)
		require.Equal(t, uint32(0x57f9a3f9), b.Anchor)
	}
	anchor := c.Anchor()
	require.Equal(t, "57f9a3f9cae2e9d1db859ff9c0a6bdd7", hex.EncodeToString(anchor[:]))
}

func TestChainEqualsTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := wire.ID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "owner"))
		seed := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "seed"))
		generation := wire.Generation(rapid.Uint64().Draw(t, "generation"))
		length := rapid.Uint32Range(1, 200).Draw(t, "length")
		c, slow := NewChain(owner, generation, seed, length), slowChain(owner, generation, seed, length)
		require.Equal(t, wire.Anchor(slow[length]), c.Anchor())
		require.Equal(t, length, c.Length())
		for k := uint32(1); k <= length; k++ {
			require.Equal(t, slow[length-k], c.Beat(k).Preimage)
			require.Equal(t, length-k, c.Left(k))
		}
	})
}

func TestVerifierAcceptsExactlyTheBeatsOfItsChain(t *testing.T) {
	const length = 40
	a := newActorOf(id('a'), 7, length)
	for known := range uint32(length + 1) {
		v := newVerifier(&a.digest)
		if known > 0 {
			v.advance(a.chain.Beat(known))
		}
		for k := uint32(1); k <= length; k++ {
			b := a.chain.Beat(k)
			require.True(t, v.proves(b), "beat %d after %d", k, known)
			require.Equal(t, max(k, known)-min(k, known), v.distance(k))
			b.Preimage[15] ^= 1
			require.False(t, v.proves(b), "one wrong bit in beat %d after %d", k, known)
			b.Preimage[15] ^= 1
			b.Index = k%length + 1
			require.False(t, v.proves(b), "beat %d under index %d after %d", k, b.Index, known)
		}
	}
}

func TestVerifierRefuses(t *testing.T) {
	a := newActorOf(id('a'), 7, 40)
	for name, change := range map[string]func(d *wire.Digest, b *wire.Beat){
		"a beat for another owner":      func(d *wire.Digest, _ *wire.Beat) { d.Owner = id('b') },
		"a beat for another generation": func(d *wire.Digest, _ *wire.Beat) { d.Generation++ },
		"a beat under another length":   func(d *wire.Digest, _ *wire.Beat) { d.BeatLength++ },
		"index 0, the anchor itself":    func(d *wire.Digest, b *wire.Beat) { *b = wire.Beat{Preimage: d.BeatAnchor} },
		"an index behind the chain":     func(_ *wire.Digest, b *wire.Beat) { b.Index = 41 },
		"the anchor as if it followed the last": func(d *wire.Digest, b *wire.Beat) {
			*b = wire.Beat{Index: 41, Preimage: d.BeatAnchor}
		},
		"the largest index":                   func(_ *wire.Digest, b *wire.Beat) { b.Index = 1<<32 - 1 },
		"beats of an owner that has no chain": func(d *wire.Digest, _ *wire.Beat) { d.BeatAnchor = wire.Anchor{} },
	} {
		t.Run(name, func(t *testing.T) {
			d, b := a.digest, a.chain.Beat(10)
			change(&d, &b)
			v := newVerifier(&d)
			require.False(t, v.proves(b))
		})
	}
}

func TestChainPanicsOnWhatOnlyItsCallerCanGetWrong(t *testing.T) {
	require.Panics(t, func() { NewChain(id('a'), 1, [16]byte{}, 0) })
	require.Panics(t, func() { NewChain(id('a'), 1, [16]byte{}, wire.MaxBeats+1) })
	c := NewChain(id('a'), 1, [16]byte{}, wire.MaxBeats)
	require.Panics(t, func() { c.Beat(0) })
	require.Panics(t, func() { c.Beat(wire.MaxBeats + 1) })
	require.Equal(t, uint32(ReanchorLeft), c.Left(wire.MaxBeats-ReanchorLeft))
	require.Zero(t, c.Left(wire.MaxBeats+1))
}

func TestVerifyingAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	a := newActorOf(id('a'), 1, wire.MaxBeats)
	w.neighbours(a)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		w.now = w.now.Add(interval)
		if outcome, _, _ := w.table.Beat(a.id(), a.beat(), w.now); outcome != Fresh {
			panic(outcome)
		}
	}))
}

func BenchmarkVerifyConsecutiveBeat(b *testing.B) {
	a := newActorOf(id('a'), 1, wire.MaxBeats)
	v := newVerifier(&a.digest)
	b.ReportAllocs()
	k := uint32(0)
	for b.Loop() {
		if k == a.chain.Length() {
			v, k = newVerifier(&a.digest), 0
		}
		k++
		beat := a.chain.Beat(k)
		if !v.proves(beat) {
			b.Fatal(k)
		}
		v.advance(beat)
	}
}

func BenchmarkVerifyWholeChain(b *testing.B) {
	a := newActorOf(id('a'), 1, wire.MaxBeats)
	v, beat := newVerifier(&a.digest), a.chain.Beat(wire.MaxBeats)
	b.ReportAllocs()
	for b.Loop() {
		if !v.proves(beat) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkNewChain(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewChain(id('a'), 1, [16]byte{}, wire.MaxBeats)
	}
}
