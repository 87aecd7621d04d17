package wire_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// allocated is how many bytes f allocates. Other goroutines of the process count too, so bounds on it are generous.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// decodeBound is the most that decoding n bytes may allocate: what the longest lists take, and some copies of the input.
func decodeBound(n int) uint64 { return 3<<20 + 16*uint64(n) }

// decoders are the entry points for bytes from a peer, by kind of vector.
var decoders = map[string]func([]byte) error{
	"digest":     func(b []byte) error { _, err := wire.UnmarshalDigest(b); return err },
	"entry":      func(b []byte) error { _, err := wire.UnmarshalEntry(b); return err },
	"update":     func(b []byte) error { _, err := wire.UnmarshalUpdate(b); return err },
	"sync_frame": func(b []byte) error { _, err := wire.UnmarshalSyncFrame(b); return err },
	"beat_frame": func(b []byte) error { _, err := wire.UnmarshalBeatFrame(b); return err },
}

func TestListOverItsLimitIsRefusedBeforeItIsDecoded(t *testing.T) {
	checked := 0
	for _, v := range readVectors(t).Vectors {
		decode, b := decoders[v.Kind], v.bytes(t)
		if v.Error != classTooLarge || decode == nil || v.Kind == "entry" || v.Name == "update-entry-too-large" {
			continue // the last two are single fields over their limit, which Check finds
		}
		checked++
		t.Run(v.Name, func(t *testing.T) {
			require.ErrorIs(t, decode(b), wire.ErrTooLarge)
			require.LessOrEqual(t, testing.AllocsPerRun(3, func() { _ = decode(b) }), 20.0)
			require.Less(t, allocated(func() { _ = decode(b) }), uint64(8<<10))
		})
	}
	require.GreaterOrEqual(t, checked, 15, "vectors that a decoder refuses as too large")
}

func TestDecodingIsBoundedWhateverFillsTheFrame(t *testing.T) {
	for name, element := range map[string][]byte{
		"empty entries":          {3<<3 | 2, 0},
		"empty messages":         {1<<3 | 2, 0, 2<<3 | 2, 0},
		"unknown fields":         {15 << 3, 0},
		"unknown groups":         {15<<3 | 3, 15<<3 | 4},
		"groups without end":     {15<<3 | 3},
		"single fixed64":         {4<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8},
		"packed fixed64":         {4<<3 | 2, 8, 1, 2, 3, 4, 5, 6, 7, 8},
		"single fixed32":         {5<<3 | 5, 1, 2, 3, 4},
		"digests":                message(nil).sub(1, message(nil).sub(1, make([]byte, 500))),
		"entries of unknowns":    message(nil).sub(3, bytes.Repeat([]byte{15 << 3, 0}, 30)),
		"one entry of a message": message(nil).sub(3, make([]byte, wire.MaxFrame-8)),
	} {
		top := bytes.Repeat(element, wire.MaxFrame/len(element))
		inBody := message(nil).sub(2, top[:len(top)-16])
		twoDown := message(nil).sub(4, message(nil).sub(2, top[:len(top)-16]))
		for kind, decode := range decoders {
			for depth, b := range [][]byte{top, inBody, twoDown} {
				got := allocated(func() { _ = decode(b) })
				require.Less(t, got, decodeBound(len(b)), "%s, %d deep, as %s", name, depth, kind)
			}
		}
	}
}

// A field may come twice, and the last one counts. What the first one took must not stay behind: it would be counted
// nowhere, and thousands of entries could hold a frame of memory each.
func TestDecodedBytesHoldNoMoreMemoryThanTheyShow(t *testing.T) {
	huge := make([]byte, wire.MaxValue*3)
	u := sampleUpdate()
	entry := append(message(nil).bytes(2, huge).bytes(9, huge[:1024]), slowEntry(&wire.Entry{Key: "k", Value: []byte("v"), Version: 1, Clock: 1, Ext: []byte("e")})...)
	signed := append(message(nil).bytes(2, huge), slowSigned(&u.Signed)...)

	got, err := wire.UnmarshalEntry(entry)
	require.NoError(t, err)
	require.Equal(t, "v", string(got.Value))
	require.LessOrEqual(t, cap(got.Value), 64)
	require.LessOrEqual(t, cap(got.Ext), 64)

	update, err := wire.UnmarshalUpdate(message(nil).sub(1, signed))
	require.NoError(t, err)
	require.Equal(t, u.Signed, update.Signed)
	require.LessOrEqual(t, cap(update.Signed.Signature), 256)
	require.LessOrEqual(t, cap(update.Signed.Digest), 2*wire.MaxDigest)
}

func TestUpdateSharesNoMemoryWithItsBytes(t *testing.T) {
	u := sampleUpdate()
	b := wire.MarshalUpdate(&u)
	got, err := wire.UnmarshalUpdate(b)
	require.NoError(t, err)
	clear(b)
	require.Equal(t, u, got)
}

// Whatever the limits allow must fit a frame, else it could not be sent.
func TestLargestMessagesFitAFrame(t *testing.T) {
	large := []wire.Entry{largestEntry()}
	biggest := memberDigest()
	biggest.Generation, biggest.Version, biggest.Floor, biggest.BeatT0 = 1<<64-1, 1<<64-1, 1<<64-1, 1<<64-1
	require.LessOrEqual(t, len(wire.MarshalDigest(&biggest)), wire.MaxDigest)
	u := alice.seal(membersDomain, wire.Update{Digest: biggest, Entries: large})
	topic := strings.Repeat("t", wire.MaxName)

	items := wire.SyncItems{Topic: topic, Items: make([]wire.Item, wire.MaxFrameItems), More: true}
	wants := wire.SyncWants{Topic: topic, Wants: make([]wire.Want, wire.MaxFrameItems), Digests: true}
	for i := range wire.MaxFrameItems {
		items.Items[i] = wire.Item{Owner: alice.id, Generation: 1<<64 - 1, Version: 1<<64 - 1, Root: biggest.Root}
		wants.Wants[i] = wire.Want{Owner: alice.id, Generation: 1<<64 - 1, Version: 1<<64 - 1}
	}
	hello := wire.SyncHello{Topics: make([]wire.SyncSummary, wire.MaxTopics)}
	for i := range hello.Topics {
		hello.Topics[i] = wire.SyncSummary{Topic: topic, Owners: wire.MaxOwners, Fingerprint: 1<<64 - 1}
	}
	for _, f := range []wire.SyncFrame{
		{Hello: &hello}, {Items: &items}, {Wants: &wants}, {Hashes: &wire.SyncHashes{Hashes: make([]byte, wire.HashBytes*wire.MaxOwners)}},
		{Items: &wire.SyncItems{Topic: topic, Partial: true, Hashes: make([]byte, wire.HashBytes*wire.MaxOwners)}}, {Update: &wire.SyncUpdate{Topic: topic, Update: u, Age: 1 << 60}},
	} {
		_, err := wire.UnmarshalSyncFrame(wire.MarshalSyncFrame(&f))
		require.NoError(t, err)
	}
	beats := wire.BeatFrame{
		Hello: &wire.BeatHello{}, Digest: &u.Signed, Beats: make([]wire.Beat, wire.MaxFrameBeats),
		Fingerprints: make([]uint64, wire.MaxTopics), Unknown: make([]uint32, wire.MaxFrameBeats),
		Probes: make([]wire.BeatProbe, wire.MaxFrameProbes), Answers: make([]wire.BeatAnswer, wire.MaxFrameProbes),
	}
	for range wire.MaxTopics {
		beats.Hello.Topics = append(beats.Hello.Topics, topic)
	}
	_, err := wire.UnmarshalBeatFrame(wire.MarshalBeatFrame(&beats))
	require.NoError(t, err)
}
