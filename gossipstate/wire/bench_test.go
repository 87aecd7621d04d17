package wire_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var sizes = []int{10, 100, 1000, wire.MaxEntries}

// benchUpdate is a snapshot of n entries as work writes them: keys of about 20 bytes, values of 16: 4,096 of them fit a frame.
func benchUpdate(n int) wire.Update {
	entries := make([]wire.Entry, n)
	for i := range entries {
		value := slowHash([]byte{byte(i), byte(i >> 8)})
		entries[i] = wire.Entry{
			Key: fmt.Sprintf("work/0123abcd/done/%04d", i), Value: value[:16], Version: wire.Version(1 + i/8), Clock: 1, Written: 1_760_000_000_000,
		}
	}
	return alice.commit(mainDomain, wire.Digest{Generation: sampleGen, Version: wire.Version(n)}, 0, entries, entries)
}

func reportPerEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

func BenchmarkUnmarshalUpdate(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := benchUpdate(n)
			encoded := wire.MarshalUpdate(&u)
			b.SetBytes(int64(len(encoded)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.UnmarshalUpdate(encoded); err != nil {
					b.Fatal(err)
				}
			}
			reportPerEntry(b, n)
		})
	}
}

func BenchmarkMarshalUpdate(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := benchUpdate(n)
			b.ReportAllocs()
			for b.Loop() {
				wire.MarshalUpdate(&u)
			}
			reportPerEntry(b, n)
		})
	}
}

// BenchmarkVerify is one signature and the leaf hashes of all entries.
func BenchmarkVerify(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := benchUpdate(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Verify(mainDomain, u); err != nil {
					b.Fatal(err)
				}
			}
			reportPerEntry(b, n)
		})
	}
}

// BenchmarkSignatureScheme compares, in one run, one signature over the digest with one over each entry: x-longer is how
// many times longer the second takes to verify, hashes included in the first.
func BenchmarkSignatureScheme(b *testing.B) {
	for _, n := range sizes[:3] {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := benchUpdate(n)
			each := make([]wire.SignedDigest, n) // as many signed bytes, each of about the size of an entry
			for i := range each {
				each[i] = alice.signDigest(mainDomain, u.Signed.Digest)
			}
			var one, all time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := wire.Verify(mainDomain, u); err != nil {
					b.Fatal(err)
				}
				between := time.Now()
				for i := range each {
					if err := wire.VerifyDigest(mainDomain, &u.Digest, each[i]); err != nil {
						b.Fatal(err)
					}
				}
				one, all = one+between.Sub(start), all+time.Since(between)
			}
			b.ReportMetric(float64(one.Nanoseconds())/float64(b.N), "ns/digest-signed")
			b.ReportMetric(float64(all.Nanoseconds())/float64(b.N), "ns/entry-signed")
			b.ReportMetric(float64(all)/float64(one), "x-longer")
		})
	}
}

// BenchmarkRefuseBomb is a frame of empty entries, refused before one of them is decoded.
func BenchmarkRefuseBomb(b *testing.B) {
	bomb := nestedBomb(message(nil).sub(3, nil))
	b.SetBytes(int64(len(bomb)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.UnmarshalSyncFrame(bomb); err == nil {
			b.Fatal("not refused")
		}
	}
}

// BenchmarkVerifyBatch verifies the digests of n owners together. In the same loop it checks each with the standard library
// (x-crypto/ed25519) and by itself with Verify (x-single): how many times longer these take. x-failed is how many times longer
// the batch takes than singles when its last signature is bad.
func BenchmarkVerifyBatch(b *testing.B) {
	for _, n := range []int{2, 4, 8, 16, 64, 128, 256, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			updates := manyDigests(n)
			bad := slices.Clone(updates)
			bad[n-1].Signed.Signature = slices.Repeat([]byte{1}, 64)
			var batch, failed, single, standard []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if _, errs := wire.VerifyBatch(mainDomain, updates); errors.Join(errs...) != nil {
					b.Fatal(errs)
				}
				batched := time.Now()
				for i := range updates {
					if _, err := wire.Verify(mainDomain, updates[i]); err != nil {
						b.Fatal(err)
					}
				}
				singles := time.Now()
				for i := range updates {
					u := &updates[i]
					if !ed25519.Verify(u.Digest.Owner[:], mainDomain.SigningBytes(u.Signed.Digest), u.Signed.Signature) {
						b.Fatal("not verified")
					}
				}
				end := time.Now()
				if _, errs := wire.VerifyBatch(mainDomain, bad); errors.Join(errs...) == nil {
					b.Fatal("verified")
				}
				failed = append(failed, time.Since(end))
				batch, single = append(batch, batched.Sub(start)), append(single, singles.Sub(batched))
				standard = append(standard, end.Sub(singles))
			}
			b.ReportMetric(median(batch)/float64(n), "ns/signature")
			b.ReportMetric(median(single)/median(batch), "x-single")
			b.ReportMetric(median(standard)/median(batch), "x-crypto/ed25519")
			b.ReportMetric(median(failed)/median(single), "x-failed")
		})
	}
}

// median is in nanoseconds: a busy machine disturbs some rounds.
func median(rounds []time.Duration) float64 {
	slices.Sort(rounds)
	return float64(rounds[len(rounds)/2].Nanoseconds())
}
