package gossipstate

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// The figures of the state, each as a ratio to a reference that is measured in the same loop. What is reported is the median
// of all rounds, for a busy machine disturbs some of them.

// stopwatch keeps the times of what is measured in a loop beside other things, one for each round.
type stopwatch []time.Duration

func (w *stopwatch) time(f func()) {
	start := time.Now()
	f()
	*w = append(*w, time.Since(start))
}

// per is the median time of a round for each of the n that are done in it, in nanoseconds.
func (w stopwatch) per(n int) float64 {
	slices.Sort(w)
	return float64(w[len(w)/2].Nanoseconds()) / float64(n)
}

// benchKey is a shared key of 20 bytes.
func benchKey(i int) string { return fmt.Sprintf("settings/room/%06d", i) }

// benchValue is a value of 32 bytes.
func benchValue(i, round int) []byte {
	v := make([]byte, 32)
	binary.BigEndian.PutUint64(v, uint64(i))
	binary.BigEndian.PutUint64(v[8:], uint64(round))
	return v
}

func benchMutations(first, n, round int) []Mutation {
	mutations := make([]Mutation, n)
	for i := range mutations {
		mutations[i] = Mutation{Key: benchKey(first + i), Value: benchValue(i, round)}
	}
	return mutations
}

// benchAuthor is one that remembers nothing, not what it signed either.
func benchAuthor(i int) *author {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint32(seed, uint32(i))
	key := ed25519.NewKeyFromSeed(seed)
	a := newAuthor(0)
	a.self.ID = ID(key.Public().(ed25519.PublicKey))
	a.sign = func(message []byte) []byte { return ed25519.Sign(key, message) }
	return a
}

func benchWrite(b *testing.B, a *author, mutations ...Mutation) {
	b.Helper()
	p, err := a.state.Prepare(a.self, mutations, a.sign, testStart, 0)
	require.NoError(b, err)
	a.state.Install(p)
}

// received is u over the wire.
func received(b *testing.B, u Update) wire.Verified {
	b.Helper()
	decoded, err := wire.UnmarshalUpdate(wire.MarshalUpdate(&u))
	require.NoError(b, err)
	v, err := wire.Verify(testDomain, decoded)
	require.NoError(b, err)
	return v
}

// referee verifies one signature over a digest at a time: what every entry would cost that is signed by itself.
type referee struct {
	message, signature []byte
	public             ed25519.PublicKey
}

func newReferee(a *author, u *Update) referee {
	return referee{testDomain.SigningBytes(u.Signed.Digest), u.Signed.Signature, ed25519.PublicKey(a.self.ID[:])}
}

const refereeRounds = 16

func (r referee) standard(b *testing.B) {
	for range refereeRounds {
		if !ed25519.Verify(r.public, r.message, r.signature) {
			b.Fatal("not verified")
		}
	}
}

func (r referee) ours(b *testing.B, u *Update) {
	for range refereeRounds {
		if err := wire.VerifyDigest(testDomain, &u.Digest, u.Signed); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMerge takes in updates of 1,000 entries: signature, every key, value, leaf and node hashed, the root compared, the
// merged view and its events. "new" is a snapshot of an owner that was not held, "changed" a delta that replaces every value
// of one that was, "disjoint" one that adds as many keys as there were. x-ed25519 is how many times longer it takes to verify
// one signature for each entry, with this module's verifier and with the standard library's.
func BenchmarkMerge(b *testing.B) {
	const n = 1000
	a := benchAuthor(1)
	benchWrite(b, a, benchMutations(0, n, 0)...)
	snapshot := a.state.Updates(wire.Want{Owner: a.self.ID}, wire.MaxFrame)[0]
	other := benchAuthor(1)
	benchWrite(b, other, benchMutations(0, n, 0)...)
	benchWrite(b, other, benchMutations(n, n, 0)...)
	disjoint := other.state.Updates(wire.Want{Owner: a.self.ID, Generation: 1, Version: 1}, wire.MaxFrame)[0]
	benchWrite(b, a, benchMutations(0, n, 1)...)
	changed := a.state.Updates(wire.Want{Owner: a.self.ID, Generation: 1, Version: 1}, wire.MaxFrame)[0]
	base := received(b, snapshot)
	for _, c := range []struct {
		name string
		u    Update
	}{{"new", snapshot}, {"changed", changed}, {"disjoint", disjoint}} {
		require.Len(b, c.u.Entries, n)
		b.Run(c.name, func(b *testing.B) { benchmarkMerge(b, a, &base, c.u) })
	}
}

func benchmarkMerge(b *testing.B, a *author, base *wire.Verified, u Update) {
	n := len(u.Entries)
	encoded := wire.MarshalUpdate(&u)
	ref := newReferee(a, &u)
	var decode, merge, standard, ours stopwatch
	b.ReportAllocs()
	for b.Loop() {
		s := New(DefaultConfig(testDomain))
		if u.Previous > 0 {
			_, err := s.Apply(base, ID{}, testStart)
			require.NoError(b, err)
		}
		var decoded Update
		var err error
		decode.time(func() { decoded, err = wire.UnmarshalUpdate(encoded) })
		require.NoError(b, err)
		var r Result
		merge.time(func() {
			var v wire.Verified
			if v, err = wire.Verify(testDomain, decoded); err == nil {
				r, err = s.Apply(&v, ID{}, testStart)
			}
		})
		require.NoError(b, err)
		require.Len(b, r.Events, n)
		standard.time(func() { ref.standard(b) })
		ours.time(func() { ref.ours(b, &u) })
	}
	perEntry := merge.per(n)
	b.ReportMetric(1e3/perEntry, "M-entries/s")
	b.ReportMetric(1e3/(perEntry+decode.per(n)), "M-entries/s-from-bytes")
	b.ReportMetric(ours.per(refereeRounds)/perEntry, "x-ed25519")
	b.ReportMetric(standard.per(refereeRounds)/perEntry, "x-crypto/ed25519")
}

// BenchmarkOneChange is one changed entry in an owner of n: its leaf, its way up and the root. Without a signature.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{10, 100, 1000, wire.MaxEntries} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t, owner, i := benchmarkTree(b, n), ID{}, 0
			var change stopwatch
			b.ReportAllocs()
			for b.Loop() {
				i++
				e := Entry{Key: keyName(i % n), Value: benchValue(i, 1), Version: Version(i + 1), Clock: 1}
				change.time(func() {
					h := wire.KeyHash(e.Key)
					t, _ = t.put(&owner, e, &wire.EntryHash{Key: h, Leaf: wire.LeafHash(h, &e)})
					t.seal()
				})
			}
			b.ReportMetric(change.per(1), "ns/change")
		})
	}
}

// BenchmarkOneRumor takes in, from an owner of n, rumors of one changed entry: verified and applied. x-signature is that over
// the signature check alone, in the same loop.
func BenchmarkOneRumor(b *testing.B) {
	for _, n := range []int{10, 100, 1000, wire.MaxEntries} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := benchAuthor(1)
			benchWrite(b, a, benchMutations(0, n, 0)...)
			s := New(DefaultConfig(testDomain))
			for _, u := range a.state.Updates(wire.Want{Owner: a.self.ID}, wire.MaxFrame) {
				part := received(b, u)
				_, err := s.Apply(&part, ID{}, testStart)
				require.NoError(b, err)
			}
			var whole, signature stopwatch
			round := 0
			b.ReportAllocs()
			for b.Loop() {
				round++
				u := benchRumor(b, a, round%n, round)
				take := func() {
					v, err := wire.Verify(testDomain, u)
					if err == nil {
						_, err = s.Apply(&v, ID{}, testStart)
					}
					require.NoError(b, err)
				}
				check := func() {
					if err := wire.VerifyDigest(testDomain, &u.Digest, u.Signed); err != nil {
						b.Fatal(err)
					}
				}
				// The first to check a signature finds the caches cold: they take turns.
				if round%2 == 0 {
					whole.time(take)
					signature.time(check)
				} else {
					signature.time(check)
					whole.time(take)
				}
			}
			b.ReportMetric(whole.per(1), "ns/rumor")
			b.ReportMetric(whole.per(1)/signature.per(1), "x-signature")
		})
	}
}

// benchRumor has a change its i-th key, and is the delta of that alone.
func benchRumor(b *testing.B, a *author, i, round int) Update {
	b.Helper()
	held, _, _ := a.state.Digest(a.self.ID)
	benchWrite(b, a, Mutation{Key: benchKey(i), Value: benchValue(i, round)})
	want := wire.Want{Owner: a.self.ID, Generation: held.Generation, Version: held.Version}
	u := a.state.Updates(want, wire.MaxFrame)[0]
	require.Len(b, u.Entries, 1)
	return u
}

// BenchmarkOneWrite is one write of an owner of n keys, a quarter of them tombstones that must stay: the change prepared,
// signed and installed, and the rumor of it. x-sign is that over the signature alone, in the same loop.
func BenchmarkOneWrite(b *testing.B) {
	for _, n := range []int{10, 100, 1000, wire.MaxEntries} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := benchAuthor(1)
			benchWrite(b, a, benchMutations(0, n, 0)...)
			for i := range n / 4 {
				benchWrite(b, a, del(benchKey(i)))
			}
			_, signed, _ := a.state.Digest(a.self.ID)
			message := testDomain.SigningBytes(signed.Digest)
			var write, rumor, sign stopwatch
			round := 0
			b.ReportAllocs()
			for b.Loop() {
				round++
				m := []Mutation{{Key: benchKey(n - 1 - round%(n/2)), Value: benchValue(0, round)}}
				var p *Pending
				write.time(func() {
					var err error
					p, err = a.state.Prepare(a.self, m, a.sign, testStart, uint64(testStart.UnixMilli()))
					require.NoError(b, err)
					a.state.Install(p)
				})
				rumor.time(func() {
					if _, ok := a.state.Rumor(a.self.ID, p.Digest().Version-1); !ok {
						b.Fatal("no rumor")
					}
				})
				sign.time(func() { a.sign(message) })
			}
			b.ReportMetric(write.per(1), "ns/write")
			b.ReportMetric(rumor.per(1), "ns/rumor")
			b.ReportMetric(write.per(1)/sign.per(1), "x-sign")
		})
	}
}

// BenchmarkMemory is what a State takes, the merged view included, in bytes of heap that stay after a collection. bytes/entry
// is over those of key (20) and value (32), with everything that its owner costs; bytes/owner is that of an owner of one entry.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		owners, entries int
		one             bool // each entry a commit of its own
	}{{1000, 100, false}, {1000, 100, true}, {10000, 1, false}} {
		name := fmt.Sprintf("%dx%d", c.owners, c.entries)
		if c.one {
			name += "/one-by-one"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s := benchState(b, c.owners, c.entries, c.one)
				used := heap() - before
				content := float64(s.Totals().Bytes)
				b.ReportMetric((float64(used)-content)/float64(c.owners*c.entries), "bytes/entry")
				b.ReportMetric(float64(used)/float64(c.owners), "bytes/owner")
			}
		})
	}
}

// benchState holds owners with so many entries each, of keys that all owners write: it took in what they sent, over the wire.
func benchState(b *testing.B, owners, entries int, oneByOne bool) *State {
	b.Helper()
	s := New(DefaultConfig(testDomain))
	for i := range owners {
		a := benchAuthor(i)
		commits := [][]Mutation{benchMutations(i*entries, entries, 0)}
		if oneByOne {
			commits = slices.Collect(slices.Chunk(commits[0], 1))
		}
		held := Version(0)
		for _, commit := range commits {
			benchWrite(b, a, commit...)
			for _, u := range a.state.Updates(wire.Want{Owner: a.self.ID, Generation: 1, Version: held}, wire.MaxFrame) {
				v := received(b, u)
				r, err := s.Apply(&v, ID{}, testStart)
				require.NoError(b, err)
				require.Equal(b, Applied, r.Outcome)
			}
			held++
		}
	}
	return s
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
