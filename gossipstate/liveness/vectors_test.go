package liveness

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// beatsFile belongs to the protocol, not to this package: other implementations read it.
const beatsFile = "../testdata/beats.json"

// beatVectors is the whole of beats.json. Integers of 64 bits are decimal strings, bytes are hex.
type beatVectors struct {
	About  []string      `json:"about"`
	Chains []chainVector `json:"chains"`
	Tables []tableVector `json:"tables"`
}

// chainVector is a chain from its seed, with some of its beats.
type chainVector struct {
	Name       string          `json:"name"`
	What       string          `json:"what"`
	Owner      string          `json:"owner"`
	Generation wire.Generation `json:"generation,string"`
	Seed       string          `json:"seed"`
	Length     uint32          `json:"length"`
	Tag        string          `json:"tag"`
	Anchor     string          `json:"anchor"`
	AnchorName uint32          `json:"anchor_name"`
	Beats      []beatVector    `json:"beats"`
}

type beatVector struct {
	Index    uint32 `json:"index"`
	Preimage string `json:"preimage"`
}

// tableVector is a receiver that holds the digest of one chain's owner and then gets beats, one a second.
type tableVector struct {
	Name  string      `json:"name"`
	What  string      `json:"what"`
	Chain string      `json:"chain"`
	Beats []heardBeat `json:"beats"`
}

type heardBeat struct {
	Anchor   uint32 `json:"anchor"`
	Index    uint32 `json:"index"`
	Preimage string `json:"preimage"`
	Outcome  string `json:"outcome"` // fresh, stale, forged, unknown_anchor
}

func readBeatVectors(t *testing.T) (f beatVectors) {
	t.Helper()
	b, err := os.ReadFile(beatsFile)
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&f))
	require.NotEmpty(t, f.Chains)
	require.NotEmpty(t, f.Tables)
	return f
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func (v *chainVector) chain(t *testing.T) *Chain {
	t.Helper()
	return NewChain(wire.ID(unhex(t, v.Owner)), v.Generation, [16]byte(unhex(t, v.Seed)), v.Length)
}

// digest is one of v's owner that carries its anchor.
func (v *chainVector) digest(t *testing.T) wire.Digest {
	t.Helper()
	return wire.Digest{
		Owner: wire.ID(unhex(t, v.Owner)), Generation: v.Generation, Version: 1,
		BeatAnchor: wire.Anchor(unhex(t, v.Anchor)), BeatInterval: interval, BeatLength: v.Length,
	}
}

func TestChainVectors(t *testing.T) {
	for _, v := range readBeatVectors(t).Chains {
		t.Run(v.Name, func(t *testing.T) {
			c := v.chain(t)
			anchor, first := c.Anchor(), newStep(wire.ID(unhex(t, v.Owner)), v.Generation)
			require.Equal(t, v.Tag, hex.EncodeToString(first[16:48]))
			require.Equal(t, v.Anchor, hex.EncodeToString(anchor[:]))
			require.Equal(t, v.AnchorName, anchor.Name())
			require.NotEmpty(t, v.Beats)
			for _, b := range v.Beats {
				want := wire.Beat{Anchor: v.AnchorName, Index: b.Index, Preimage: [16]byte(unhex(t, b.Preimage))}
				require.Equal(t, want, c.Beat(b.Index))
			}
		})
	}
}

func TestBeatVectors(t *testing.T) {
	f := readBeatVectors(t)
	chains := map[string]*chainVector{}
	for i := range f.Chains {
		chains[f.Chains[i].Name] = &f.Chains[i]
	}
	for _, v := range f.Tables {
		t.Run(v.Name, func(t *testing.T) {
			chain := chains[v.Chain]
			require.NotNil(t, chain, "chain %q", v.Chain)
			table, now := newTable(t), epoch
			_, err := table.Digest(chain.digest(t), now, now)
			require.NoError(t, err)
			for i, b := range v.Beats {
				now = now.Add(time.Second) // pays for every hash again
				beat := wire.Beat{Anchor: b.Anchor, Index: b.Index, Preimage: [16]byte(unhex(t, b.Preimage))}
				outcome, _, err := table.Beat(wire.ID(unhex(t, chain.Owner)), beat, now)
				require.Equal(t, b.Outcome, outcomeName(t, outcome, err), "beat %d", i)
			}
		})
	}
}

func outcomeName(t *testing.T, o Outcome, err error) string {
	t.Helper()
	if err != nil {
		require.ErrorIs(t, err, ErrForged)
		return "forged"
	}
	return map[Outcome]string{Fresh: "fresh", Stale: "stale", UnknownAnchor: "unknown_anchor", OverBudget: "over_budget"}[o]
}

// TestWriteBeatVectors adds the vectors that beats.json lacks, when P2PNODE_WRITE_VECTORS is set. It never changes one that is
// there: a vector that no longer comes out the same means that the protocol has changed, and needs a new name.
func TestWriteBeatVectors(t *testing.T) {
	if os.Getenv("P2PNODE_WRITE_VECTORS") == "" {
		t.Skip("P2PNODE_WRITE_VECTORS is not set")
	}
	made := makeBeatVectors(t)
	if _, err := os.Stat(beatsFile); !errors.Is(err, fs.ErrNotExist) {
		old := readBeatVectors(t)
		require.Subset(t, withoutProse(made.Chains), withoutProse(old.Chains), "chains that would change")
		require.Subset(t, withoutProse(made.Tables), withoutProse(old.Tables), "tables that would change")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	require.NoError(t, enc.Encode(made))
	require.NoError(t, os.WriteFile(beatsFile, b.Bytes(), 0o644))
}

// withoutProse is vectors without their What, which may be improved.
func withoutProse[V chainVector | tableVector](vectors []V) []V {
	bare := append([]V{}, vectors...)
	for i := range bare {
		reflect.ValueOf(&bare[i]).Elem().FieldByName("What").SetString("")
	}
	return bare
}

// makeBeatVectors makes the vectors with the slow model, not with the code that they are for.
func makeBeatVectors(t *testing.T) beatVectors {
	t.Helper()
	alice := "d5bf4a3fcce717b0388bcc2749ebc148ad9969b23f45ee1b605fd58778576ac4"
	const generation = 1_760_000_000<<16 + 0x1234
	chains := []chainVector{
		makeChain(t, "chain-4", "Four beats; beat 4 is the seed. The vector of the package comment.",
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0x0102030405060708, 4, 1, 2, 3, 4),
		makeChain(t, "chain-1", "The shortest chain: its one beat is the seed.", alice, generation, 1, 1),
		makeChain(t, "chain-4096", "The longest chain.", alice, generation, 4096, 1, 2, 3, 64, 4095, 4096),
		makeChain(t, "chain-next-generation", "The same owner and seed, one generation later: another chain.", alice, generation+1, 4, 1, 2, 3, 4),
		makeChain(t, "chain-other-owner", "The same generation and seed, another owner.",
			"ecc1b58727f3f12b3194881a9ecb9de0b28ce7b207230d8e930fe1bce75e256c", generation+1, 4, 1, 2, 3, 4),
	}
	short, long, next := &chains[0], &chains[2], &chains[3]
	return beatVectors{
		About: []string{
			"Beat chains of p2pnode's replicated state, and what a receiver makes of beats. PROTOCOL.md is the prose.",
			"Bytes are hex, integers of 64 bits are decimal strings. The seed of every chain is a0a1a2a3a4a5a6a7a8a9aaabacadaeaf.",
			"chains: tag, anchor and beats follow from owner, generation, seed and length. anchor_name is the first 4 bytes of the anchor, big-endian.",
			"tables: a receiver holds the newest digest of the chain's owner, knows no beat yet, and gets these beats in turn, one a second, from the owner.",
			"outcome: fresh (a larger proof of life), stale (not newer than the newest known), forged (refused), unknown_anchor (no digest held names it).",
		},
		Chains: chains,
		Tables: []tableVector{
			{"in-order", "Every beat in turn.", short.Name, []heardBeat{
				short.heard(1, "fresh"), short.heard(2, "fresh"), short.heard(3, "fresh"), short.heard(4, "fresh"),
			}},
			{"skipping", "The last beat first: it proves all before it, which are stale then.", short.Name, []heardBeat{
				short.heard(4, "fresh"), short.heard(1, "stale"), short.heard(4, "stale"),
			}},
			{"longest-walk", "Beat 4,096 takes 4,096 hashes.", long.Name, []heardBeat{
				long.heard(1, "fresh"), long.heard(4096, "fresh"), long.heard(4095, "stale"),
			}},
			{"forged", "What is no beat of the chain is refused and changes nothing.", short.Name, []heardBeat{
				{short.AnchorName, 0, short.Anchor, "forged"},
				{short.AnchorName, 5, short.Seed, "forged"},
				{short.AnchorName, 1, short.preimage(2), "forged"},
				{short.AnchorName, 2, short.preimage(1), "forged"},
				{short.AnchorName, 4, next.preimage(3), "forged"},
				short.heard(1, "fresh"),
			}},
			{"stale-is-not-checked", "A beat that is not newer proves nothing, so a false one costs its sender nothing.", short.Name, []heardBeat{
				short.heard(3, "fresh"), {short.AnchorName, 2, short.Seed, "stale"}, short.heard(4, "fresh"),
			}},
			{"other-chains", "Beats of a chain that no held digest names.", short.Name, []heardBeat{
				next.heard(1, "unknown_anchor"), {0, 1, short.Seed, "unknown_anchor"}, short.heard(1, "fresh"),
			}},
		},
	}
}

func makeChain(t *testing.T, name, what, owner string, generation wire.Generation, length uint32, beats ...uint32) chainVector {
	t.Helper()
	seed := [16]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}
	id := wire.ID(unhex(t, owner))
	tag := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("p2pnode/beat/1"), id[:]...), uint64(generation)))
	x := slowChain(id, generation, seed, length)
	v := chainVector{
		Name: name, What: what, Owner: owner, Generation: generation, Seed: hex.EncodeToString(seed[:]), Length: length,
		Tag: hex.EncodeToString(tag[:]), Anchor: hex.EncodeToString(x[length][:]), AnchorName: binary.BigEndian.Uint32(x[length][:]),
	}
	for _, k := range beats {
		v.Beats = append(v.Beats, beatVector{k, hex.EncodeToString(x[length-k][:])})
	}
	return v
}

// preimage is that of beat k, which must be among v.Beats.
func (v *chainVector) preimage(k uint32) string {
	for _, b := range v.Beats {
		if b.Index == k {
			return b.Preimage
		}
	}
	panic("no such beat in the vector")
}

// heard is beat k, with what a receiver makes of it.
func (v *chainVector) heard(k uint32, outcome string) heardBeat {
	return heardBeat{v.AnchorName, k, v.preimage(k), outcome}
}
