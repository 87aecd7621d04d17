package gossipstate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// vector is what these tests need of a golden vector. Package wire reads all of them, every field.
type vector struct {
	Name, Kind, Network, Topic, Error string
	Hex, Tail                         string
	Repeat                            struct {
		Hex   string
		Times int
	}
	Expect struct {
		Root struct {
			Entries int
			Bytes   int `json:",string"`
			Root    string
		}
		Update struct {
			RootMatches bool `json:"root_matches"`
		}
	}
}

// vectors are the golden vectors of one kind.
func vectors(t *testing.T, kind string) (found []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var file struct{ Vectors []vector }
	require.NoError(t, json.Unmarshal(b, &file))
	for _, v := range file.Vectors {
		if v.Kind == kind {
			found = append(found, v)
		}
	}
	require.NotEmpty(t, found, "no vectors of kind %q", kind)
	return found
}

func (v *vector) bytes(t *testing.T) []byte {
	t.Helper()
	run := bytes.Repeat(unhex(t, v.Repeat.Hex), v.Repeat.Times)
	return slices.Concat(unhex(t, v.Hex), run, unhex(t, v.Tail))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestTheTreeHasTheRootsOfTheVectors(t *testing.T) {
	for _, v := range vectors(t, "root") {
		t.Run(v.Name, func(t *testing.T) {
			var tr tree
			for b := v.bytes(t); len(b) > 0; {
				_, _, tag := protowire.ConsumeTag(b)
				require.Positive(t, tag)
				element, n := protowire.ConsumeBytes(b[tag:])
				require.Positive(t, n)
				e, err := wire.UnmarshalEntry(element)
				require.NoError(t, err)
				key := wire.KeyHash(e.Key)
				tr, _ = tr.put(new(ID), e, &wire.EntryHash{Key: key, Leaf: wire.LeafHash(key, &e)})
				tr.seal() // one by one: a tree that grows has the root of one that is built at once
				b = b[tag+n:]
			}
			root, want := tr.seal(), v.Expect.Root
			require.Equal(t, want.Root, hex.EncodeToString(root[:]))
			require.Equal(t, want.Entries, tr.entries)
			require.Equal(t, want.Bytes, tr.bytes)
		})
	}
}

func TestAnEmptyReplicaTakesTheSnapshotsOfTheVectorsAndNothingElse(t *testing.T) {
	applied := 0
	for _, v := range vectors(t, "update") {
		if v.Error != "" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			domain := wire.Domain{Network: v.Network, Topic: v.Topic}
			u, err := wire.UnmarshalUpdate(v.bytes(t))
			require.NoError(t, err)
			verified, err := wire.Verify(domain, u)
			require.NoError(t, err)
			replica := New(DefaultConfig(domain))
			r, err := replica.Apply(&verified, ID{}, testStart)
			held := replica.Totals().Owners == 1
			switch {
			case v.Expect.Update.RootMatches:
				require.NoError(t, err)
				require.Equal(t, Applied, r.Outcome)
				applied++
			case u.More:
				require.NoError(t, err)
				require.Equal(t, Staged, r.Outcome)
			case u.Previous > 0:
				require.NoError(t, err)
				require.Equal(t, Gap, r.Outcome)
			case err == nil:
				require.Equal(t, Applied, r.Outcome) // a key that comes twice: the tree holds the later one
			default:
				require.ErrorIs(t, err, ErrRootMismatch)
			}
			require.Equal(t, err == nil && r.Outcome == Applied, held)
		})
	}
	require.GreaterOrEqual(t, applied, 3)
}
