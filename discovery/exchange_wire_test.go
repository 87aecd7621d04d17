package discovery

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	envelopes "github.com/libp2p/go-libp2p/core/record"
	"github.com/stretchr/testify/require"
)

func seal(t *testing.T, key crypto.PrivKey, r *peer.PeerRecord) []byte {
	t.Helper()
	e, err := envelopes.Seal(r, key)
	require.NoError(t, err)
	b, err := e.Marshal()
	require.NoError(t, err)
	return b
}

func TestTheBytesOfAnExchange(t *testing.T) {
	offer := appendOffer(nil, []entry{{key: keyOf("a"), seq: 0x0102030405060708, age: 90 * time.Second}, {key: keyOf("b"), seq: 2, age: time.Hour * 24 * 365}})
	require.Equal(t, "02"+
		"ca978112ca1bbdca"+"0102030405060708"+"005a"+
		"3e23e8160039594a"+"0000000000000002"+"ffff", hex.EncodeToString(offer))
	entries, err := readOffer(bytes.NewReader(offer))
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, entries[0].age)
	require.Equal(t, offer, appendOffer(nil, entries))
	require.Equal(t, "0003", hex.EncodeToString(appendWant(nil, 3)))
	require.Equal(t, "0002"+"6869"+"0000", hex.EncodeToString(appendRecords(nil, [][]byte{[]byte("hi"), nil})))
}

func TestAWantOfWhatWasNotOfferedIsMalformed(t *testing.T) {
	_, err := readWant(bytes.NewReader([]byte{0, 4}), 2)
	require.ErrorIs(t, err, errExchange)
	w, err := readWant(bytes.NewReader([]byte{0, 3}), 2)
	require.NoError(t, err)
	require.True(t, w.has(0) && w.has(1) && !w.has(2))
}

// Whatever a peer sends, reading it allocates little and does not panic, and what is read as an offer is written as it was.
func FuzzReadExchange(f *testing.F) {
	f.Add(appendOffer(nil, []entry{{seq: 1}}))
	f.Add([]byte{17})
	f.Add([]byte{0, 3, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := readOffer(bytes.NewReader(b)); err == nil {
			require.LessOrEqual(t, len(entries), offerSize)
			require.Equal(t, b[:1+len(entries)*entrySize], appendOffer(nil, entries))
		}
		readWant(bytes.NewReader(b), 3)
		records, err := readRecords(bytes.NewReader(b), make([]entry, offerSize), 1<<offerSize-1)
		require.Error(t, err)
		require.Empty(t, records)
	})
}
