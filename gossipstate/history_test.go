package gossipstate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// texts are the values of records, with their clocks: "3 teal", "4 deleted".
func texts(records []Record) []string {
	var all []string
	for _, r := range records {
		if r.Entry.Tombstone {
			all = append(all, fmt.Sprint(r.Entry.Clock, " deleted"))
		} else {
			all = append(all, fmt.Sprintf("%d %s", r.Entry.Clock, r.Entry.Value))
		}
	}
	return all
}

func TestReplacedAndDeletedValuesAreRemembered(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	h := NewHistory("main", 8, DefaultHistoryBytes)
	reader := New(DefaultConfig(testDomain))
	step := func(who *author, m Mutation) {
		for _, other := range []*author{a, b} {
			if other != who {
				other.snapshot(t, who.state)
			}
		}
		who.write(t, testStart, m)
		h.Take(who.snapshot(t, reader).Events)
	}
	step(a, set("color", "teal"))
	step(b, set("color", "red"))
	step(a, del("color"))
	step(b, set("color", "blue"))
	step(b, set("other", "x"))
	versions, cut := reader.Versions(h, ID{}, "color")
	require.Equal(t, []string{"4 blue", "2 red", "1 teal"}, texts(versions))
	require.False(t, cut)
	require.Equal(t, []ID{b.self.ID, b.self.ID, a.self.ID}, []ID{versions[0].Owner, versions[1].Owner, versions[2].Owner})
	step(a, del("color"))
	versions, _ = reader.Versions(h, ID{}, "color")
	require.Equal(t, []string{"5 deleted", "4 blue", "2 red", "1 teal"}, texts(versions))

	versions, cut = reader.Versions(NewHistory("main", 8, 1<<20), ID{}, "color")
	require.Equal(t, []string{"5 deleted", "4 blue"}, texts(versions), "without a memory: what stands, and what another owner still holds")
	require.False(t, cut)
}

func TestAKeyOfItsOwnersHasAHistoryForEach(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	h, reader := NewHistory("main", 8, 1<<20), New(DefaultConfig(testDomain))
	for _, value := range []string{"1", "2"} {
		for _, who := range []*author{a, b} {
			who.write(t, testStart, set("~/k", fmt.Sprint(who.self.ID[0], value)), set("work/k", value))
			h.Take(who.snapshot(t, reader).Events)
		}
	}
	for _, who := range []*author{a, b} {
		versions, _ := reader.Versions(h, who.self.ID, "~/k")
		require.Equal(t, []string{fmt.Sprint("2 ", who.self.ID[0], "2"), fmt.Sprint("1 ", who.self.ID[0], "1")}, texts(versions))
		versions, _ = reader.Versions(h, who.self.ID, "work/k")
		require.Equal(t, []string{"2 2"}, texts(versions), "work is not remembered")
	}
	require.Equal(t, 2, h.Len())
}

func TestAValueThatLostIsRemembered(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	low, high := a, b
	if a.self.ID.Compare(b.self.ID) > 0 {
		low, high = b, a
	}
	h, reader := NewHistory("main", 8, 1<<20), New(DefaultConfig(testDomain))
	low.write(t, testStart, set("color", "red"))
	high.write(t, testStart, set("color", "teal"))
	h.Take(high.snapshot(t, reader).Events)
	h.Take(low.snapshot(t, reader).Events)
	high.snapshot(t, low.state)
	low.write(t, testStart, Mutation{Key: "color", Withdraw: true})
	h.Take(low.snapshot(t, reader).Events)
	versions, _ := reader.Versions(h, ID{}, "color")
	require.Equal(t, []string{"1 teal", "1 red"}, texts(versions), "of one version the winner comes first")
	require.Equal(t, low.self.ID, versions[1].Owner)
}

func TestAHistorySaysWhenItWasCut(t *testing.T) {
	put := func(key string, clock Clock, size int) []Event {
		old := &Entry{Key: key, Clock: clock, Version: Version(clock), Value: make([]byte, size)}
		return []Event{{Kind: EventPut, Key: key, Old: Record{ID{1}, old}, New: Record{ID{1}, &Entry{Key: key, Clock: clock + 1}}}}
	}
	h := NewHistory("main", 3, 2000)
	for i := range 3 {
		h.Take(put("a", Clock(i+1), 1))
	}
	past, cut := h.Of(ID{}, "a")
	require.Len(t, past, 3)
	require.False(t, cut)
	h.Take(put("a", 4, 1))
	past, cut = h.Of(ID{}, "a")
	require.Equal(t, []Clock{4, 3, 2}, []Clock{past[0].Entry.Clock, past[1].Entry.Clock, past[2].Entry.Clock})
	require.True(t, cut, "by the count of one key")
	h.Take(put("b", 1, 1))
	_, cut = h.Of(ID{}, "b")
	require.False(t, cut)

	h.Take(put("c", 1, 1500))
	require.LessOrEqual(t, h.Bytes(), 2000)
	past, cut = h.Of(ID{}, "a")
	require.Empty(t, past, "the oldest go first")
	require.True(t, cut)
	h.Take(put("huge", 1, 2000))
	past, cut = h.Of(ID{}, "huge")
	require.Empty(t, past)
	require.True(t, cut)
	require.LessOrEqual(t, h.Bytes(), 2000)

	off := NewHistory("main", 0, 2000)
	off.Take(put("a", 1, 1))
	require.Zero(t, off.Len())
}

// Property: a History holds exactly the newest values of a key that a slow model, which keeps all, would keep.
func TestAHistoryEqualsASlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perKey, maxBytes := rapid.IntRange(1, 4).Draw(t, "per key"), rapid.IntRange(400, 4000).Draw(t, "bytes")
		h := NewHistory("main", perKey, maxBytes)
		type value struct {
			key  string
			rec  Record
			size int
		}
		var model []value // oldest first
		clock := Clock(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			clock++
			key := keyName(rapid.IntRange(0, 3).Draw(t, "key"))
			e := &Entry{Key: key, Clock: clock, Version: Version(clock), Value: make([]byte, rapid.IntRange(0, 900).Draw(t, "size"))}
			event := Event{Kind: rapid.SampledFrom([]EventKind{EventPut, EventDelete, EventLost}).Draw(t, "kind"), Key: key, Old: Record{ID{1}, e}}
			h.Take([]Event{event, event})
			model = append(model, value{key, event.Old, e.Size() + historyOverhead})
			if model[len(model)-1].size > maxBytes {
				model = model[:len(model)-1]
				continue
			}
			ofKey, bytes := 0, 0
			for _, v := range model {
				bytes += v.size
				if v.key == key {
					ofKey++
				}
			}
			if ofKey > perKey {
				i := slices.IndexFunc(model, func(v value) bool { return v.key == key })
				bytes -= model[i].size
				model = slices.Delete(model, i, i+1)
			}
			for bytes > maxBytes {
				bytes -= model[0].size
				model = model[1:]
			}
			require.Equal(t, bytes, h.Bytes())
		}
		require.Equal(t, len(model), h.Len())
		for i := range 4 {
			var want []Clock
			for _, v := range model {
				if v.key == keyName(i) {
					want = append([]Clock{v.rec.Entry.Clock}, want...)
				}
			}
			past, _ := h.Of(ID{}, keyName(i))
			var have []Clock
			for _, r := range past {
				have = append(have, r.Entry.Clock)
			}
			require.Equal(t, want, have)
		}
	})
}

// lostOf are the lost events among all, as "red to teal".
func lostOf(events []Event) []string {
	var all []string
	for _, e := range events {
		if e.Kind == EventLost {
			to := string(e.New.Entry.Value)
			if e.New.Entry.Tombstone {
				to = "a deletion"
			}
			all = append(all, fmt.Sprintf("%s to %s", e.Old.Entry.Value, to))
		}
	}
	return all
}

func TestALossThatItsWinnerNeedNotKnowIsTold(t *testing.T) {
	low, high := newAuthor(1), newAuthor(2)
	if low.self.ID.Compare(high.self.ID) > 0 {
		low, high = high, low
	}
	cases := []struct {
		name   string
		write  func()
		first  *author // whose copy the reader gets first
		second *author
		want   []string
	}{
		{"the same clock, the winner first", func() {
			low.write(t, testStart, set("k", "red"))
			high.write(t, testStart, set("k", "teal"))
		}, high, low, []string{"red to teal"}},
		{"the same clock, the loser first", func() {
			low.write(t, testStart, set("k", "red"))
			high.write(t, testStart, set("k", "teal"))
		}, low, high, []string{"red to teal"}},
		{"the same clock, a deletion wins", func() {
			high.write(t, testStart, set("k", "seen"))
			high.snapshot(t, low.state)
			low.write(t, testStart, set("k", "red"))
			high.write(t, testStart, del("k"))
		}, low, high, []string{"red to a deletion"}},
		{"it comes below the winner's clock", func() {
			low.write(t, testStart, set("k", "red"))
			high.write(t, testStart, set("k", "1"))
			high.write(t, testStart, set("k", "teal"))
		}, high, low, []string{"red to teal"}},
		{"overwritten by who knew it", func() {
			low.write(t, testStart, set("k", "red"))
			low.snapshot(t, high.state)
			high.write(t, testStart, set("k", "teal"))
		}, low, high, nil},
		{"two keys that have nothing to do with each other", func() {
			low.write(t, testStart, set("k", "red"))
			high.write(t, testStart, set("other", "teal"))
		}, low, high, nil},
		{"keys of their own", func() {
			low.write(t, testStart, set("~/k", "red"))
			high.write(t, testStart, set("~/k", "teal"))
		}, low, high, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range []*author{low, high} {
				a.state, a.history = New(DefaultConfig(testDomain)), map[moment]map[string]Entry{}
			}
			c.write()
			reader := New(DefaultConfig(testDomain))
			events := c.first.snapshot(t, reader).Events
			events = append(events, c.second.snapshot(t, reader).Events...)
			require.Equal(t, c.want, lostOf(events))
			require.Empty(t, lostOf(reader.Drop(low.self.ID).Events), "to be forgotten is no loss")
		})
	}
}

func TestALossIsToldOnce(t *testing.T) {
	low, high := newAuthor(1), newAuthor(2)
	if low.self.ID.Compare(high.self.ID) > 0 {
		low, high = high, low
	}
	low.write(t, testStart, set("k", "red"))
	high.write(t, testStart, set("k", "teal"))
	reader := New(DefaultConfig(testDomain))
	high.snapshot(t, reader)
	require.Len(t, lostOf(low.snapshot(t, reader).Events), 1)
	low.write(t, testStart.Add(time.Second), set("else", "x"))
	require.Empty(t, lostOf(low.snapshot(t, reader).Events), "the same entry in a later snapshot")
	high.snapshot(t, low.state)
	low.write(t, testStart, Mutation{Key: "k", Withdraw: true})
	require.Empty(t, low.snapshot(t, reader).Events, "its withdrawal is no news to readers")
	require.Equal(t, "teal", read(reader, "k"))
}

// BenchmarkHistory measures what one more remembered value takes.
func BenchmarkHistory(b *testing.B) {
	for _, size := range []int{32, 1024} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			h := NewHistory("main", DefaultHistoryPerKey, DefaultHistoryBytes)
			clock := Clock(0)
			b.ReportAllocs()
			for b.Loop() {
				clock++
				key := strings.Repeat("k", 8) + fmt.Sprint(clock%5000)
				old := &wire.Entry{Key: key, Clock: clock, Version: Version(clock), Value: make([]byte, size)}
				h.Take([]Event{{Kind: EventPut, Key: key, Old: Record{ID{1}, old}}})
			}
		})
	}
}
