package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// vectorsFile belongs to the protocol, not to this package: other implementations read it.
const vectorsFile = "../testdata/vectors.json"

// vectorFile is the whole of vectors.json. Integers of 64 bits are decimal strings, bytes are hex.
type vectorFile struct {
	About   []string    `json:"about"`
	Keys    []vectorKey `json:"keys"`
	Vectors []vector    `json:"vectors"`
}

type vectorKey struct {
	Name  string `json:"name"`
	Seed  string `json:"seed"`
	Owner string `json:"owner"`
}

type vector struct {
	Name    string  `json:"name"`
	What    string  `json:"what"`
	Kind    string  `json:"kind"`
	Network string  `json:"network,omitempty"`
	Topic   string  `json:"topic,omitempty"`
	Hex     string  `json:"hex"`
	Repeat  *run    `json:"repeat,omitempty"`
	Tail    string  `json:"tail,omitempty"`
	Foreign bool    `json:"foreign,omitempty"`
	Error   string  `json:"error,omitempty"`
	Expect  *expect `json:"expect,omitempty"`
}

type run struct {
	Hex   string `json:"hex"`
	Times int    `json:"times"`
}

// Error classes of a vector.
const (
	classMalformed    = "malformed"
	classTooLarge     = "too_large"
	classBadSignature = "bad_signature"
)

var classes = map[string]error{
	classMalformed:    wire.ErrMalformed,
	classTooLarge:     wire.ErrTooLarge,
	classBadSignature: wire.ErrBadSignature,
}

// classOf names the class of err; it fails the test when err has none or several.
func classOf(t require.TestingT, err error) string {
	if err == nil {
		return ""
	}
	var found []string
	for name, class := range classes {
		if errors.Is(err, class) {
			found = append(found, name)
		}
	}
	require.Len(t, found, 1, "%v", err)
	return found[0]
}

// bytes are the bytes of the message: hex, then the run, then the tail.
func (v *vector) bytes(t require.TestingT) []byte {
	b := unhex(t, v.Hex)
	if v.Repeat != nil {
		b = append(b, bytes.Repeat(unhex(t, v.Repeat.Hex), v.Repeat.Times)...)
	}
	return append(b, unhex(t, v.Tail)...)
}

func (v *vector) domain() wire.Domain { return wire.Domain{Network: v.Network, Topic: v.Topic} }

func unhex(t require.TestingT, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func readVectors(t require.TestingT) vectorFile {
	b, err := os.ReadFile(vectorsFile)
	require.NoError(t, err)
	return parseVectors(t, b)
}

func parseVectors(t require.TestingT, b []byte) vectorFile {
	var f vectorFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&f))
	require.NotEmpty(t, f.Vectors)
	return f
}

// checkers read the bytes of one kind of vector as a receiver does: what they hold, how this implementation writes the
// same again, and the error.
var checkers = map[string]func(v *vector, b []byte) (*expect, []byte, error){
	"digest":        checkDigestVector,
	"signed_digest": checkSignedVector,
	"entry":         checkEntryVector,
	"root":          checkRootVector,
	"update":        checkUpdateVector,
	"sync_frame":    checkSyncFrameVector,
	"beat_frame":    checkBeatFrameVector,
	"beat":          checkBeatVector,
}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range readVectors(t).Vectors {
		t.Run(v.Name, func(t *testing.T) {
			require.False(t, seen[v.Name], "two vectors of one name")
			seen[v.Name] = true
			b := v.bytes(t)
			check := checkers[v.Kind]
			require.NotNil(t, check, "kind %q", v.Kind)
			got, again, err := check(&v, b)
			require.Equal(t, v.Error, classOf(t, err), "%v", err)
			if err != nil {
				require.Nil(t, v.Expect)
				return
			}
			require.Equal(t, v.Expect, got)
			if !v.Foreign {
				require.Equal(t, hexOf(b), hexOf(again), "not written as it was read")
				return
			}
			require.NotEqual(t, hexOf(b), hexOf(again), "nothing foreign in it")
			gotAgain, same, err := check(&v, again)
			require.NoError(t, err)
			require.Equal(t, hexOf(again), hexOf(same))
			require.Equal(t, got, gotAgain)
		})
	}
}

func TestVectorsNameTheirKeys(t *testing.T) {
	for _, k := range readVectors(t).Keys {
		s := newSigner(unhex(t, k.Seed))
		require.Equal(t, k.Owner, hexOf(s.id[:]), k.Name)
	}
}

func checkDigestVector(_ *vector, b []byte) (*expect, []byte, error) {
	d, err := wire.UnmarshalDigest(b)
	if err != nil {
		return nil, nil, err
	}
	return &expect{Digest: digestOf(&d)}, wire.MarshalDigest(&d), nil
}

// checkSignedVector reads a signed digest through the message that is nothing else: an update without entries.
func checkSignedVector(v *vector, b []byte) (*expect, []byte, error) {
	u, err := wire.UnmarshalUpdate(message(nil).sub(1, b))
	if err != nil {
		return nil, nil, err
	}
	if err := wire.VerifyDigest(v.domain(), &u.Digest, u.Signed); err != nil {
		return nil, nil, err
	}
	signing := hexOf(v.domain().SigningBytes(u.Signed.Digest))
	return &expect{Digest: digestOf(&u.Digest), Signed: signedOf(&u.Signed), SigningBytes: signing}, slowSigned(&u.Signed), nil
}

func checkEntryVector(_ *vector, b []byte) (*expect, []byte, error) {
	e, err := wire.UnmarshalEntry(b)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Check(); err != nil {
		return nil, nil, err
	}
	j, key := entryOf(&e), wire.KeyHash(e.Key)
	leaf := wire.LeafHash(key, &e)
	j.Size, j.KeyHash, j.Canonical, j.Leaf = e.Size(), hexOf(key[:]), hexOf(wire.AppendCanonical(nil, &e)), hexOf(leaf[:])
	return &expect{Entry: j}, wire.AppendEntry(nil, &e), nil
}

// checkRootVector reads a list of entries, framed as in an Update, and computes the root over them with this package's
// hashes.
func checkRootVector(_ *vector, b []byte) (*expect, []byte, error) {
	entries, err := readEntries(b)
	if err != nil {
		return nil, nil, err
	}
	var leaves []wire.EntryHash
	var again message
	size := uint64(0)
	for i := range entries {
		key := wire.KeyHash(entries[i].Key)
		leaves = append(leaves, wire.EntryHash{Key: key, Leaf: wire.LeafHash(key, &entries[i])})
		again = again.sub(3, wire.AppendEntry(nil, &entries[i]))
		size += uint64(entries[i].Size())
	}
	root := rootOf(leaves)
	return &expect{Root: &rootJSON{Entries: len(entries), Bytes: size, Root: hexOf(root[:])}}, again, nil
}

func checkUpdateVector(v *vector, b []byte) (*expect, []byte, error) {
	u, err := wire.UnmarshalUpdate(b)
	if err != nil {
		return nil, nil, err
	}
	verified, err := wire.Verify(v.domain(), u)
	if err != nil {
		return nil, nil, err
	}
	j := updateOf(&u)
	for i, h := range verified.Hashes() {
		j.Entries[i].Leaf = hexOf(h.Leaf[:])
	}
	if u.Previous == 0 && !u.More && len(u.Entries) == int(u.Digest.Entries) {
		root := rootOf(verified.Hashes())
		j.RootMatches = root == u.Digest.Root
	}
	return &expect{Update: j}, wire.MarshalUpdate(&u), nil
}

func checkSyncFrameVector(_ *vector, b []byte) (*expect, []byte, error) {
	f, err := wire.UnmarshalSyncFrame(b)
	if err != nil {
		return nil, nil, err
	}
	return &expect{SyncFrame: syncFrameOf(&f)}, wire.MarshalSyncFrame(&f), nil
}

func checkBeatFrameVector(_ *vector, b []byte) (*expect, []byte, error) {
	f, err := wire.UnmarshalBeatFrame(b)
	if err != nil {
		return nil, nil, err
	}
	return &expect{BeatFrame: beatFrameOf(&f)}, wire.MarshalBeatFrame(&f), nil
}

// checkBeatVector reads a beat through the frame that holds nothing else.
func checkBeatVector(_ *vector, b []byte) (*expect, []byte, error) {
	f, err := wire.UnmarshalBeatFrame(message(nil).sub(3, b))
	if err != nil {
		return nil, nil, err
	}
	again := wire.MarshalBeatFrame(&wire.BeatFrame{Beats: f.Beats})
	return &expect{Beat: beatOf(&f.Beats[0])}, again[2:], nil
}

// rootOf is the Merkle root over leaves with this package's node hash.
func rootOf(leaves []wire.EntryHash) wire.Root {
	if len(leaves) == 0 {
		return wire.Root{}
	}
	return wire.Root(nodeOf(leaves, 0))
}

func nodeOf(leaves []wire.EntryHash, bit int) [32]byte {
	if len(leaves) == 1 {
		return leaves[0].Leaf
	}
	var side [2][]wire.EntryHash
	for _, l := range leaves {
		s := l.Key[bit/8] >> (7 - bit%8) & 1
		side[s] = append(side[s], l)
	}
	if len(side[0]) == 0 || len(side[1]) == 0 {
		return nodeOf(leaves, bit+1)
	}
	return wire.NodeHash(nodeOf(side[0], bit+1), nodeOf(side[1], bit+1))
}
