package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteVectors adds the vectors that vectors.json lacks, when P2PNODE_WRITE_VECTORS is set. It never changes one that is
// there: a vector that no longer comes out the same means that the protocol has changed, and needs a new name.
func TestWriteVectors(t *testing.T) {
	if os.Getenv("P2PNODE_WRITE_VECTORS") == "" {
		t.Skip("P2PNODE_WRITE_VECTORS is not set")
	}
	made := makeVectors(t)
	old, err := os.ReadFile(vectorsFile)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
		require.Empty(t, changedVectors(parseVectors(t, old).Vectors, made.Vectors), "vectors that would change")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	require.NoError(t, enc.Encode(made))
	require.NoError(t, os.MkdirAll("../testdata", 0o755))
	require.NoError(t, os.WriteFile(vectorsFile, b.Bytes(), 0o644))
}

// changedVectors names the old vectors that are not among made as they were. Their prose may be improved.
func changedVectors(old, made []vector) (changed []string) {
	byName := map[string]vector{}
	for _, v := range made {
		byName[v.Name] = v
	}
	for _, v := range old {
		v.What = byName[v.Name].What
		if !reflect.DeepEqual(v, byName[v.Name]) {
			changed = append(changed, v.Name)
		}
	}
	return changed
}

func TestWritingVectorsKeepsOldOnes(t *testing.T) {
	old := []vector{{Name: "a", What: "x", Hex: "01"}, {Name: "b", Hex: "02"}, {Name: "c", Hex: "03", Expect: &expect{SigningBytes: "1"}}}
	require.Empty(t, changedVectors(old, append([]vector{{Name: "new"}, {Name: "a", What: "better", Hex: "01"}}, old[1:]...)))
	require.Equal(t, []string{"a"}, changedVectors(old, append([]vector{{Name: "a", What: "x", Hex: "02"}}, old[1:]...)))
	require.Equal(t, []string{"c"}, changedVectors(old, append([]vector{{Name: "c", Hex: "03", Expect: &expect{SigningBytes: "2"}}}, old[:2]...)))
	require.Equal(t, []string{"b"}, changedVectors(old, []vector{old[0], old[2]}), "dropped")
}

func makeVectors(t *testing.T) vectorFile {
	f := vectorFile{About: []string{
		"Golden vectors of p2pnode's replicated state: the protobuf messages, what is signed, and the Merkle root. PROTOCOL.md is the prose.",
		"The bytes of a vector are hex, then repeat.hex repeat.times times, then tail. Integers of 64 bits are decimal strings, other bytes are hex.",
		"A vector without error must be accepted and hold what expect says. With error it must be refused: malformed, too_large or bad_signature.",
		"signed_digest and update vectors are to be verified for their network and topic. Frames are decoded only: what is in them is unverified.",
		"kind root: the entries framed as in an Update (field 3), in any order; expect holds the Merkle root over them.",
		"foreign: valid, but not the bytes that this implementation writes for the same message (unknown fields, other order, padded integers).",
	}}
	for name, s := range map[string]signer{"alice": alice, "bob": bob} {
		f.Keys = append(f.Keys, vectorKey{Name: name, Seed: hexOf(s.seed), Owner: hexOf(s.id[:])})
	}
	if f.Keys[0].Name != "alice" {
		f.Keys[0], f.Keys[1] = f.Keys[1], f.Keys[0]
	}
	for _, list := range [][]vector{
		validDigests(), invalidDigests(), signedDigests(), zip215Digests(t), invalidSignedDigests(), signaturesThatFail(),
		validEntries(), invalidEntries(), roots(), validUpdates(), invalidUpdates(),
		validSyncFrames(), invalidSyncFrames(), validReconcileFrames(), invalidReconcileFrames(), validBeatFrames(), invalidBeatFrames(),
		validProbeFrames(), invalidProbeFrames(),
	} {
		f.Vectors = append(f.Vectors, list...)
	}
	return f
}

// vec is a vector whose bytes are b.
func vec(kind, name, what string, b []byte) vector {
	return vector{Kind: kind, Name: name, What: what, Hex: hexOf(b)}
}

func (v vector) fails(class string) vector {
	v.Error = class
	return v
}

func (v vector) foreign() vector {
	v.Foreign = true
	return v
}

func (v vector) holds(x expect) vector {
	v.Expect = &x
	return v
}

// folded writes the longest row of copies of unit inside the vector as a run.
func (v vector) folded(unit []byte) vector {
	u := hexOf(unit)
	start, times := 0, 0
	for i := 0; i < len(v.Hex); i += 2 {
		n := 0
		for strings.HasPrefix(v.Hex[i+n*len(u):], u) {
			n++
		}
		if n > times {
			start, times = i, n
		}
		i += max(0, (n-1)*len(u))
	}
	v.Hex, v.Repeat, v.Tail = v.Hex[:start], &run{Hex: u, Times: times}, v.Hex[start+times*len(u):]
	return v
}
