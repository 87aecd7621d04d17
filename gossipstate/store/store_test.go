package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func owner(n byte) wire.ID { return wire.ID{n, 31: 0xee} }

// signed is a digest of version v under a signature of the right size: the store verifies neither.
func signed(id wire.ID, v wire.Version) wire.SignedDigest {
	d := wire.Digest{Owner: id, Generation: 1, Version: v}
	return wire.SignedDigest{Digest: wire.MarshalDigest(&d), Signature: bytes.Repeat([]byte{byte(v)}, 64)}
}

func entry(key, value string, v wire.Version) wire.Entry {
	e := wire.Entry{Key: key, Version: v, Clock: 1, Tombstone: value == ""}
	if value != "" {
		e.Value = []byte(value)
	}
	return e
}

func put(topic string, id wire.ID, v wire.Version, entries ...wire.Entry) Write {
	return Write{Topic: topic, Owner: id, Signed: signed(id, v), Put: entries}
}

// testOptions skip fsync: what a test asserts then does not depend on it, except where a process is killed or a disk full.
var testOptions = options{noSync: true, lockWait: time.Second}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, damaged, err := open(path, start, testOptions)
	require.NoError(t, err)
	require.Nil(t, damaged)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newStore(t testing.TB) *Store { return openAt(t, filepath.Join(t.TempDir(), "state.db")) }

func load(t testing.TB, s *Store, topic string) []Copy {
	t.Helper()
	var all []Copy
	require.NoError(t, s.Load(topic, func(c Copy) error {
		all = append(all, c)
		return nil
	}))
	return all
}

func TestWhatIsCommittedIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	full := wire.Entry{
		Key: "color", Value: []byte("teal"), Version: 7, Clock: math.MaxUint64, ContentType: "text/plain",
		Written: 1, Expires: math.MaxUint64, Ext: []byte{0, 1, 2},
	}
	first := Copy{
		Owner: owner(1), Signed: signed(owner(1), 9), LastLife: start.Add(5 * time.Millisecond),
		Entries: []wire.Entry{entry("a", "1", 8), full, entry("gone", "", 9), entry("\x00", "nul", 1)},
	}
	second := Copy{Owner: owner(2), Signed: signed(owner(2), 1)}
	require.NoError(t, s.Commit([]Write{
		{Topic: "main", Owner: second.Owner, Signed: second.Signed},
		{Topic: "main", Owner: first.Owner, Signed: first.Signed, LastLife: first.LastLife, Put: first.Entries},
		put("other", owner(3), 1, entry("a", strings.Repeat("v", wire.MaxValue), 1)),
	}))
	first.Entries = []wire.Entry{first.Entries[3], first.Entries[0], full, first.Entries[2]} // by key

	check := func(s *Store) {
		got := load(t, s, "main")
		require.Len(t, got, 2)
		require.True(t, first.LastLife.Equal(got[0].LastLife))
		got[0].LastLife = first.LastLife
		require.Equal(t, []Copy{first, second}, got)
		require.Len(t, load(t, s, "other"), 1)
		require.Empty(t, load(t, s, "never-written"))
	}
	check(s)
	require.NoError(t, s.Close())
	check(openAt(t, path))
}

func TestLoadedCopiesAreNotShared(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1, entry("a", "1", 1))}))
	for range 2 {
		c := load(t, s, "main")[0]
		require.Equal(t, "1", string(c.Entries[0].Value))
		require.Equal(t, signed(owner(1), 1), c.Signed)
		clear(c.Entries[0].Value)
		clear(c.Signed.Digest)
		clear(c.Signed.Signature)
	}
}

func TestAWriteTouchesOnlyWhatItNames(t *testing.T) {
	base := []Write{
		put("main", owner(1), 1, entry("a", "1", 1)),
		put("main", owner(2), 1, entry("a", "1", 1), entry("b", "2", 1), entry("c", "3", 1)),
		put("main", owner(3), 1, entry("c", "3", 1)),
		put("other", owner(2), 1, entry("a", "1", 1)),
	}
	o2 := owner(2)
	tests := map[string]struct {
		write Write
		want  string // of owner 2
	}{
		"put":             {put("main", o2, 2, entry("b", "9", 2), entry("d", "4", 2)), "v2 a=1 b=9 c=3 d=4"},
		"delete":          {Write{Topic: "main", Owner: o2, Signed: signed(o2, 2), Delete: []string{"b", "absent"}}, "v2 a=1 c=3"},
		"put over delete": {Write{Topic: "main", Owner: o2, Signed: signed(o2, 2), Delete: []string{"b"}, Put: []wire.Entry{entry("b", "9", 2)}}, "v2 a=1 b=9 c=3"},
		"reset":           {Write{Topic: "main", Owner: o2, Signed: signed(o2, 2), Reset: true, Put: []wire.Entry{entry("z", "9", 2)}}, "v2 z=9"},
		"reset to none":   {Write{Topic: "main", Owner: o2, Signed: signed(o2, 2), Reset: true}, "v2"},
		"digest alone":    {put("main", o2, 2), "v2 a=1 b=2 c=3"},
		"drop":            {Write{Topic: "main", Owner: o2, Drop: true}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			require.NoError(t, s.Commit(base))
			require.NoError(t, s.Commit([]Write{tt.write}))
			want := []string{"v1 a=1", tt.want, "v1 c=3"}
			if tt.want == "" {
				want = []string{"v1 a=1", "v1 c=3"}
			}
			require.Equal(t, want, summaries(t, load(t, s, "main")))
			require.Equal(t, []string{"v1 a=1"}, summaries(t, load(t, s, "other")))
		})
	}
}

func TestDropOfWhatIsNotThereIsNoError(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{{Topic: "main", Owner: owner(1), Drop: true}}))
	require.Empty(t, load(t, s, "main"))
}

func TestWritesOfOneBatchApplyInOrder(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{
		put("main", owner(1), 1, entry("a", "1", 1), entry("b", "1", 1)),
		{Topic: "main", Owner: owner(1), Drop: true},
		put("main", owner(1), 2, entry("b", "2", 2)),
	}))
	require.Equal(t, []string{"v2 b=2"}, summaries(t, load(t, s, "main")))
}

func TestARefusedCommitChangesNothing(t *testing.T) {
	o1 := owner(1)
	long := strings.Repeat("k", wire.MaxKey+1)
	tests := map[string]struct {
		bad   Write
		class error
	}{
		"no topic":               {put("", o1, 2), nil},
		"topic with a slash":     {put("a/b", o1, 2), nil},
		"no owner":               {put("main", wire.ID{}, 2), wire.ErrMalformed},
		"no digest":              {Write{Topic: "main", Owner: o1}, wire.ErrMalformed},
		"digest over the limit":  {Write{Topic: "main", Owner: o1, Signed: wire.SignedDigest{Digest: make([]byte, wire.MaxDigest+1), Signature: make([]byte, 64)}}, wire.ErrMalformed},
		"short signature":        {Write{Topic: "main", Owner: o1, Signed: wire.SignedDigest{Digest: []byte{1}, Signature: make([]byte, 63)}}, wire.ErrMalformed},
		"empty key":              {put("main", o1, 2, entry("", "1", 2)), wire.ErrMalformed},
		"key over the limit":     {put("main", o1, 2, entry(long, "1", 2)), wire.ErrTooLarge},
		"value over the limit":   {put("main", o1, 2, entry("a", strings.Repeat("v", wire.MaxValue+1), 2)), wire.ErrTooLarge},
		"delete of an empty key": {Write{Topic: "main", Owner: o1, Signed: signed(o1, 2), Delete: []string{""}}, wire.ErrMalformed},
		"delete of a long key":   {Write{Topic: "main", Owner: o1, Signed: signed(o1, 2), Delete: []string{long}}, wire.ErrMalformed},
		"drop and put":           {Write{Topic: "main", Owner: o1, Drop: true, Put: []wire.Entry{entry("a", "1", 2)}}, wire.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			require.NoError(t, s.Commit([]Write{put("main", o1, 1, entry("a", "1", 1))}))
			before := load(t, s, "main")
			err := s.Commit([]Write{put("main", o1, 2, entry("a", "2", 2)), put("new", owner(2), 1), tt.bad})
			require.Error(t, err)
			if tt.class != nil {
				require.ErrorIs(t, err, tt.class)
			}
			require.Equal(t, before, load(t, s, "main"))
			require.Empty(t, load(t, s, "new"))
		})
	}
}

func TestLoadEndsWithTheErrorOfItsCaller(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1), put("main", owner(2), 1)}))
	stop := errors.New("stop")
	calls := 0
	require.ErrorIs(t, s.Load("main", func(Copy) error { calls++; return stop }), stop)
	require.Equal(t, 1, calls)
	require.Error(t, s.Load("No Topic", func(Copy) error { return nil }))
}

func TestAPanicOfTheCallerIsItsOwn(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1)}))
	require.PanicsWithValue(t, "mine", func() { _ = s.Load("main", func(Copy) error { panic("mine") }) })
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 2)}))
}

func TestCommitsFromInsideLoad(t *testing.T) {
	s := newStore(t)
	for n := range byte(5) {
		require.NoError(t, s.Commit([]Write{put("main", owner(n), 1, entry("a", "1", 1))}))
	}
	large := strings.Repeat("v", wire.MaxValue) // grows the file past what is mapped
	seen := 0
	require.NoError(t, s.Load("main", func(c Copy) error {
		seen++
		if c.Owner == owner(1) {
			require.NoError(t, s.Commit([]Write{{Topic: "main", Owner: owner(3), Drop: true}}))
		}
		return s.Commit([]Write{put("main", c.Owner, 2, entry("b", large, 2))})
	}))
	require.Equal(t, 4, seen)
	require.Len(t, load(t, s, "main"), 4)
}

func TestConcurrentUse(t *testing.T) {
	s := newStore(t)
	const writers, commits = 4, 25
	var wg sync.WaitGroup
	for n := range byte(writers) {
		wg.Go(func() {
			for v := range wire.Version(commits) {
				if err := s.Commit([]Write{put("main", owner(n), v+1, entry("a", "x", v+1), entry("b", "x", v+1))}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range commits {
				err := s.Load("main", func(c Copy) error {
					if len(c.Damaged) > 0 || len(c.Entries) != 2 || c.Entries[0].Version != c.Entries[1].Version {
						return fmt.Errorf("half a commit: %+v", c)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := s.NextGeneration(start, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g, err := s.NextGeneration(time.Unix(0, 0), 0)
	require.NoError(t, err)
	require.Equal(t, wire.Generation(start.Unix())<<16+writers*commits, g)
	require.Len(t, load(t, s, "main"), writers)
}

func TestAClosedStoreSaysSo(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Commit([]Write{put("main", owner(1), 1)}), ErrClosed)
	require.ErrorIs(t, s.Load("main", func(Copy) error { return nil }), ErrClosed)
	_, err := s.NextGeneration(start, 0)
	require.ErrorIs(t, err, ErrClosed)
}

func TestGenerations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	wall := wire.Generation(start.Unix()) << 16
	for _, tt := range []struct {
		what string
		now  time.Time
		rnd  uint16
		want wire.Generation
	}{
		{"before 1970", time.Unix(-5, 0), 9, 1},
		{"from the clock", start, 0xabcd, wall + 0xabcd},
		{"same second, smaller rnd", start, 1, wall + 0xabce},
		{"clock went back", time.Unix(1, 0), 0xffff, wall + 0xabcf},
		{"clock out of range", time.Unix(1<<48, 0), 5, wall + 0xabd0},
		{"clock went on", start.Add(time.Second), 0, wall + 1<<16},
	} {
		s := openAt(t, path)
		got, err := s.NextGeneration(tt.now, tt.rnd)
		require.NoError(t, err, tt.what)
		require.Equal(t, tt.want, got, tt.what)
		require.NoError(t, s.Close())
	}
}

func TestGenerationAboveAnother(t *testing.T) {
	s := newStore(t)
	g, err := s.NextGenerationAbove(1000)
	require.NoError(t, err)
	require.EqualValues(t, 1001, g)
	g, err = s.NextGenerationAbove(5)
	require.NoError(t, err)
	require.EqualValues(t, 1002, g)
}

func TestGenerationsNeverWrap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	_, err := s.NextGenerationAbove(math.MaxUint64)
	require.ErrorIs(t, err, ErrGenerationExhausted)
	g, err := s.NextGeneration(time.Unix(0, 0), 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, g, "a generation that can't be exceeded must not be taken over")

	g, err = s.NextGenerationAbove(math.MaxUint64 - 1)
	require.NoError(t, err)
	require.EqualValues(t, uint64(math.MaxUint64), g)
	require.NoError(t, s.Close())
	s = openAt(t, path)
	_, err = s.NextGeneration(start, 0)
	require.ErrorIs(t, err, ErrGenerationExhausted)
	_, err = s.NextGenerationAbove(1)
	require.ErrorIs(t, err, ErrGenerationExhausted)
}

// summaries renders each copy as "v<version> key=value ...".
func summaries(t testing.TB, copies []Copy) []string {
	t.Helper()
	var all []string
	for _, c := range copies {
		require.Empty(t, c.Damaged)
		d, err := wire.UnmarshalDigest(c.Signed.Digest)
		require.NoError(t, err)
		line := fmt.Sprintf("v%d", d.Version)
		for _, e := range c.Entries {
			line += fmt.Sprintf(" %s=%s", e.Key, e.Value)
		}
		all = append(all, line)
	}
	return all
}
