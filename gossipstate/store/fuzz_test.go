package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// FuzzOpen overwrites a sound file with patch at an offset: Open, Load and Commit must neither panic nor fail.
func FuzzOpen(f *testing.F) {
	s := makeSample(f)
	page := os.Getpagesize()
	f.Add(uint32(0), []byte{})
	f.Add(uint32(page+pageHeader), []byte{1, 2, 3})
	f.Add(uint32(2*page+8), []byte{0x10, 0, 0xff, 0xff})
	f.Add(uint32(3*page+12), []byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		image := bytes.Clone(s.image)
		copy(image[int(at)%len(image):], patch)
		dir, err := os.MkdirTemp(memoryDir(), "store")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "state.db")
		require.NoError(t, os.WriteFile(path, image, 0o600))
		store, _, err := open(path, start, testOptions)
		require.NoError(t, err)
		requireSubset(t, append(s.before, s.after...), loadTopics(t, store), "")
		require.NoError(t, store.Commit([]Write{put("main", owner(7), 9, entry("new", "1", 9))}))
		require.NoError(t, store.Close())
		store, damaged, err := open(path, start, testOptions)
		require.NoError(t, err)
		require.Nil(t, damaged)
		require.NoError(t, store.Close())
	})
}

// FuzzCheck patches a sound file in memory and makes its headers valid again, so that the walk follows whatever they say: it
// must end without a panic, and name what is wrong as damage.
func FuzzCheck(f *testing.F) {
	s := makeSample(f)
	h, _ := parseHeader(s.image)
	used := int(h.pages) * h.pageSize
	f.Add(uint32(pageHeader+16), []byte{5})                                   // root
	f.Add(uint32(pageHeader+40), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})  // pages
	f.Add(uint32(int(h.freelist)*h.pageSize+10), []byte{0xff, 0xff, 0xff, 1}) // its length
	f.Add(uint32(int(h.root)*h.pageSize+12), []byte{0xff, 0xff, 0xff, 0xff})  // overflow
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		image := bytes.Clone(s.image)
		copy(image[int(at)%used:], patch)
		for page := range 2 {
			meta := image[page*h.pageSize+pageHeader:]
			order.PutUint64(meta[metaSummed:], headerSum(meta))
		}
		_, err := check(bytes.NewReader(image), int64(len(image)), func(_, key, _ []byte) error {
			require.NotEmpty(t, key)
			return nil
		})
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
		}
	})
}

// FuzzRecord gives the decoders any bytes under a valid checksum.
func FuzzRecord(f *testing.F) {
	e := entry("a", "1", 1)
	f.Add(wire.AppendEntry(nil, &e))
	f.Add(appendCopyHead(nil, signed(owner(1), 1), start))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if signed, lastLife, err := parseCopyHead(b); err == nil {
			require.Equal(t, b, appendCopyHead(nil, signed, lastLife))
		} else {
			require.ErrorIs(t, err, wire.ErrMalformed)
		}
		if e, err := parseEntry("a", b); err == nil {
			require.Equal(t, "a", e.Key)
		} else {
			require.ErrorIs(t, err, wire.ErrMalformed)
		}
	})
}
