package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAHasherIsTheHashesOneByOne(t *testing.T) {
	hasher := NewHasher()
	require.NotNil(t, hasher.sha, "the sum does not stand in the state of a hash any more: everything is right, but slow")
	for name, h := range map[string]*Hasher{"fast": hasher, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			for n := range MaxKey + 1 { // every padding, and both sides of every limit
				key := strings.Repeat("k", n)
				require.Equal(t, KeyHash(key), h.Key(key), "key of %d bytes", n)
				requireLeaf(t, h, &Entry{Key: "key", Value: bytes.Repeat([]byte{byte(n)}, n), Version: Version(n), Clock: 1})
				requireLeaf(t, h, &Entry{Key: "key", ContentType: key, Version: 1, Clock: Clock(n), Written: 7, Expires: 8})
				requireLeaf(t, h, &Entry{Key: "key", Tombstone: true, Ext: []byte(key), Version: 1, Clock: 1})
				left, right := KeyHash(key), KeyHash(key+"right")
				require.Equal(t, NodeHash(left, right), h.Node(&left, &right))
			}
			requireLeaf(t, h, &Entry{Key: "key", Value: make([]byte, MaxValue), ContentType: strings.Repeat("c", MaxMeta), Version: 1, Clock: 1})
		})
	}
}

func requireLeaf(t *testing.T, h *Hasher, e *Entry) {
	t.Helper()
	before := fmt.Sprint(*e)
	key := KeyHash(e.Key)
	require.Equal(t, LeafHash(key, e), h.Leaf(&key, e), "value of %d bytes, content type of %d, ext of %d", len(e.Value), len(e.ContentType), len(e.Ext))
	require.Equal(t, before, fmt.Sprint(*e), "the entry is not written to")
}
