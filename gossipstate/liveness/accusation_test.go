package liveness

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// accusationVector is one value of SuspectsKey: what it says, or why it is refused.
type accusationVector struct {
	Name  string           `json:"name"`
	Hex   string           `json:"hex"`
	Times int              `json:"times,omitempty"` // the bytes of hex so often, with the first byte of each owner counted up
	Error string           `json:"error,omitempty"` // malformed or too_large
	List  []accusationText `json:"list,omitempty"`
}

type accusationText struct {
	Owner      string          `json:"owner"`
	Generation wire.Generation `json:"generation,string"`
	Version    wire.Version    `json:"version,string"`
	Index      uint32          `json:"index"`
	Preimage   string          `json:"preimage"`
	Refused    bool            `json:"refused"`
}

// The vectors in testdata/accusations.json are written by hand. One that comes out otherwise means that the protocol has
// changed.
func TestAccusationVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/accusations.json")
	require.NoError(t, err)
	var vectors []accusationVector
	require.NoError(t, json.Unmarshal(b, &vectors))
	require.Greater(t, len(vectors), 10)
	classes := map[string]error{"malformed": wire.ErrMalformed, "too_large": wire.ErrTooLarge}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			value, err := hex.DecodeString(strings.ReplaceAll(v.Hex, " ", ""))
			require.NoError(t, err)
			one := value
			for i := 1; i < v.Times; i++ {
				value = append(value, one...)
				value[len(value)-len(one)] += byte(i)
			}
			list, err := UnmarshalAccusations(value)
			if v.Error != "" {
				require.ErrorIs(t, err, classes[v.Error])
				return
			}
			require.NoError(t, err)
			require.Equal(t, value, append([]byte{}, MarshalAccusations(list)...))
			require.Len(t, list, max(len(v.List), v.Times))
			for i, want := range v.List {
				a := list[i]
				require.Equal(t, want, accusationText{hex.EncodeToString(a.Owner[:]), a.Last.Generation, a.Last.Version,
					a.Last.Index, hex.EncodeToString(a.Preimage[:]), a.Refused})
			}
		})
	}
}

func drawAccusation(t *rapid.T) (a Accusation) {
	copy(a.Owner[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "owner"))
	a.Last = Proof{
		wire.Generation(rapid.Uint64Min(1).Draw(t, "generation")), wire.Version(rapid.Uint64Min(1).Draw(t, "version")),
		rapid.Uint32Range(0, wire.MaxBeats).Draw(t, "index"),
	}
	if a.Last.Index > 0 {
		copy(a.Preimage[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "preimage"))
	}
	a.Refused = rapid.Bool().Draw(t, "refused")
	return a
}

func TestAccusationsComeBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.Custom(drawAccusation), 0, MaxAccusations, func(a Accusation) wire.ID { return a.Owner }).Draw(t, "list")
		got, err := UnmarshalAccusations(MarshalAccusations(list))
		require.NoError(t, err)
		require.Equal(t, append([]Accusation{}, list...), got)
	})
}

func TestOwnAccusationsThatNobodyWouldTakePanic(t *testing.T) {
	good := Accusation{Owner: id('a'), Last: Proof{1, 1, 0}}
	require.Panics(t, func() { MarshalAccusations([]Accusation{good, good}) })
	require.Panics(t, func() { MarshalAccusations([]Accusation{{Owner: id('a')}}) })
}

// FuzzAccusations: whatever is accepted is exactly what is written for it, and everything else is refused in a class.
func FuzzAccusations(f *testing.F) {
	f.Add([]byte{})
	f.Add(MarshalAccusations([]Accusation{{Owner: id('a'), Last: Proof{1, 2, 3}, Preimage: [16]byte{4}, Refused: true}, {Owner: id('b'), Last: Proof{1, 1, 0}}}))
	f.Fuzz(func(t *testing.T, value []byte) {
		list, err := UnmarshalAccusations(value)
		if err != nil {
			require.True(t, errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge))
			return
		}
		require.LessOrEqual(t, len(list), MaxAccusations)
		require.Equal(t, value, append([]byte{}, MarshalAccusations(list)...))
	})
}
