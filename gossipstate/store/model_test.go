package store

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// model is what a store must hold: by topic and owner, the obvious way.
type model map[string]map[wire.ID]modelCopy

type modelCopy struct {
	signed   wire.SignedDigest
	lastLife time.Time
	entries  map[string]wire.Entry
}

func (m model) apply(w Write) {
	if m[w.Topic] == nil {
		m[w.Topic] = map[wire.ID]modelCopy{}
	}
	if w.Drop {
		delete(m[w.Topic], w.Owner)
		return
	}
	entries := map[string]wire.Entry{}
	if !w.Reset {
		maps.Copy(entries, m[w.Topic][w.Owner].entries)
	}
	for _, key := range w.Delete {
		delete(entries, key)
	}
	for _, e := range w.Put {
		entries[e.Key] = e
	}
	m[w.Topic][w.Owner] = modelCopy{w.Signed, w.LastLife, entries}
}

func (m model) copies(topic string) []Copy {
	var all []Copy
	for _, id := range slices.SortedFunc(maps.Keys(m[topic]), wire.ID.Compare) {
		c := m[topic][id]
		want := Copy{Owner: id, Signed: c.signed, LastLife: c.lastLife}
		for _, key := range slices.Sorted(maps.Keys(c.entries)) {
			want.Entries = append(want.Entries, c.entries[key])
		}
		all = append(all, want)
	}
	return all
}

func drawWrite(t *rapid.T) Write {
	id := owner(rapid.ByteRange(1, 5).Draw(t, "owner"))
	w := Write{Topic: rapid.SampledFrom([]string{"a", "main", "x-1"}).Draw(t, "topic"), Owner: id}
	if w.Drop = rapid.IntRange(0, 7).Draw(t, "drop") == 0; w.Drop {
		return w
	}
	w.Signed = signed(id, wire.Version(rapid.Uint64Range(1, 1<<60).Draw(t, "version")))
	if ms := rapid.Int64Range(0, 1<<45).Draw(t, "last life"); ms > 0 {
		w.LastLife = time.UnixMilli(ms)
	}
	w.Reset = rapid.IntRange(0, 5).Draw(t, "reset") == 0
	key := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("key-%d", rapid.IntRange(0, 40).Draw(t, "key")) })
	w.Delete = rapid.SliceOfN(key, 0, 5).Draw(t, "delete")
	for _, k := range rapid.SliceOfN(key, 0, 8).Draw(t, "put") {
		e := wire.Entry{Key: k, Version: 1, Clock: wire.Clock(rapid.Uint64Min(1).Draw(t, "clock"))}
		if n := rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(t, "size"); n > 0 {
			e.Value = slices.Repeat([]byte{rapid.Byte().Draw(t, "value")}, n)
		} else {
			e.Tombstone = true
		}
		w.Put = append(w.Put, e)
	}
	return w
}

func TestTheStoreHoldsWhatAMapHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(memoryDir(), "store")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "state.db")
		reopen := func() *Store {
			s, damaged, err := open(path, start, testOptions)
			require.NoError(t, err)
			require.Nil(t, damaged)
			return s
		}
		s := reopen()
		defer func() { s.Close() }()
		want, last := model{}, wire.Generation(0)
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				batch := rapid.SliceOfN(rapid.Custom(drawWrite), 1, 4).Draw(t, "batch")
				require.NoError(t, s.Commit(batch))
				for _, w := range batch {
					want.apply(w)
				}
			},
			"refused": func(t *rapid.T) {
				require.Error(t, s.Commit([]Write{drawWrite(t), {Topic: "main"}}))
			},
			"generation": func(t *rapid.T) {
				g, err := s.NextGeneration(time.Unix(rapid.Int64Range(0, 10).Draw(t, "now"), 0), rapid.Uint16().Draw(t, "rnd"))
				require.NoError(t, err)
				require.Greater(t, g, last)
				last = g
			},
			"reopen": func(t *rapid.T) {
				require.NoError(t, s.Close())
				s = reopen()
			},
			"": func(t *rapid.T) {
				for _, topic := range []string{"a", "main", "x-1"} {
					var got []Copy
					require.NoError(t, s.Load(topic, func(c Copy) error { got = append(got, c); return nil }))
					require.Equal(t, want.copies(topic), got)
				}
			},
		})
	})
}

// removeRecord deletes a record behind the store's back.
func removeRecord(t *testing.T, s *Store, topic string, key []byte) {
	t.Helper()
	require.NoError(t, s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(topicBucket(topic)).Delete(key) }))
}
