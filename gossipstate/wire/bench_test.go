package wire_test

import (
	"fmt"
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
