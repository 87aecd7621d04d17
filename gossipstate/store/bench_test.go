package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// filled makes a store of owners with 100 entries of 32 bytes each and returns its path.
func filled(b *testing.B, entries int) string {
	path := filepath.Join(b.TempDir(), "state.db")
	s, _, err := open(path, start, testOptions)
	require.NoError(b, err)
	for n := 0; n < entries; n += 100 {
		w := put("main", wire.ID{byte(n >> 16), byte(n >> 8), byte(n), 31: 1}, 1)
		for i := range min(100, entries-n) {
			w.Put = append(w.Put, entry(fmt.Sprintf("app/key-%05d", i), strings.Repeat("v", 32), 1))
		}
		require.NoError(b, s.Commit([]Write{w}))
	}
	require.NoError(b, s.Close())
	return path
}

// BenchmarkCommit is one changed key of one owner, fsync included, in stores of several sizes.
func BenchmarkCommit(b *testing.B) {
	b.Run("limit=write+fsync", func(b *testing.B) { // what the disk takes for one page, without a store
		f, err := os.Create(filepath.Join(b.TempDir(), "page"))
		require.NoError(b, err)
		defer f.Close()
		page := make([]byte, os.Getpagesize())
		for b.Loop() {
			if _, err := f.WriteAt(page, 0); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, size := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("in=%d", size), func(b *testing.B) {
			s, _, err := Open(filled(b, size), start)
			require.NoError(b, err)
			defer s.Close()
			b.ReportAllocs()
			v := wire.Version(0)
			for b.Loop() {
				v++
				if err := s.Commit([]Write{put("main", wire.ID{31: 1}, v, entry("app/key-00007", strings.Repeat("w", 32), v))}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			s, _, err := open(filled(b, size), start, testOptions)
			require.NoError(b, err)
			defer s.Close()
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				if err := s.Load("main", func(c Copy) error { n += len(c.Entries); return nil }); err != nil || n != size {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkOpen reads and checks the whole file.
func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{0, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			path := filled(b, size)
			b.ReportAllocs()
			for b.Loop() {
				s, damaged, err := Open(path, start)
				if err != nil || damaged != nil {
					b.Fatal(err, damaged)
				}
				s.Close()
			}
		})
	}
}
