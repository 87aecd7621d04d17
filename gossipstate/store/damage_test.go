package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var sampleTopics = []string{"inline", "main", "members"}

// sample is the image of a store with every kind of page, and what it held before and after its last commit.
type sample struct {
	image         []byte
	before, after []Copy // of all sampleTopics
	generation    wire.Generation
}

func makeSample(t testing.TB) sample {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.db")
	s := openAt(t, path)
	g, err := s.NextGeneration(start, 1)
	require.NoError(t, err)
	var batch []Write
	for n := range byte(12) {
		w := put("main", owner(n), 1)
		for i := range 15 {
			w.Put = append(w.Put, entry(fmt.Sprintf("key-%03d", i), strings.Repeat(string(rune('a'+n)), 40), 1))
		}
		batch = append(batch, w, put("members", owner(n), 1, entry("node.name", "x", 1)))
	}
	large := put("main", owner(5), 2, entry("large", strings.Repeat("L", 10_000), 2))
	require.NoError(t, s.Commit(append(batch, put("inline", owner(1), 1, entry("a", "1", 1)))))
	require.NoError(t, s.Commit([]Write{large, {Topic: "main", Owner: owner(3), Drop: true}}))
	before := loadTopics(t, s)
	require.NoError(t, s.Commit([]Write{put("main", owner(7), 2, entry("key-003", "last", 2))}))
	after := loadTopics(t, s)
	require.NoError(t, s.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)

	h, ok := parseHeader(image)
	require.True(t, ok)
	flags := map[uint16]int{}
	for at := 2 * h.pageSize; at < int(h.pages)*h.pageSize; at += h.pageSize {
		flags[order.Uint16(image[at+8:])]++
	}
	require.Positive(t, flags[branchFlag])
	require.Positive(t, flags[leafFlag])
	require.Positive(t, flags[freelistFlag])
	return sample{image, before, after, g}
}

func loadTopics(t testing.TB, s *Store) []Copy {
	t.Helper()
	var all []Copy
	for _, topic := range sampleTopics {
		all = append(all, load(t, s, topic)...)
	}
	return all
}

// outcome counts what became of damaged images.
type outcome struct{ quarantined, rolledBack, named, harmless int }

// open opens a damaged image and requires that no loss goes unsaid: the file is moved aside, or it is one commit old and
// said to be, or the damaged records are named, or nothing is missing. In any case the store takes commits afterwards.
func (o *outcome) open(t *testing.T, sample sample, image []byte, what string) {
	dir, err := os.MkdirTemp(memoryDir(), "store")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.db")
	require.NoError(t, os.WriteFile(path, image, 0o600))
	s, damaged, err := open(path, start, testOptions)
	require.NoError(t, err, what)
	got := loadTopics(t, s)
	switch {
	case damaged != nil && damaged.Quarantine != "":
		o.quarantined++
		require.Empty(t, got, what)
		moved, err := os.ReadFile(damaged.Quarantine)
		require.NoError(t, err, what)
		require.Equal(t, image, moved, what)
	case damaged != nil:
		o.rolledBack++
		require.Contains(t, [][]Copy{sample.before, sample.after}, got, what)
	case anyDamaged(got):
		o.named++
		requireSubset(t, sample.after, got, what)
	default:
		o.harmless++
		require.Equal(t, sample.after, got, what)
	}
	g, err := s.NextGeneration(start, 1)
	require.NoError(t, err, what)
	if damaged == nil || damaged.Quarantine == "" {
		require.Greater(t, g, sample.generation, what)
	}
	w := Write{Topic: "main", Owner: owner(7), Signed: signed(owner(7), 9), Reset: true, Put: []wire.Entry{entry("new", "1", 9)}}
	require.NoError(t, s.Commit([]Write{w}), what)
	require.NoError(t, s.Close(), what)
	s, damaged, err = open(path, start, testOptions)
	require.NoError(t, err, what)
	require.Nil(t, damaged, what)
	found := false
	require.NoError(t, s.Load("main", func(c Copy) error {
		if c.Owner == w.Owner {
			found = true
			require.Equal(t, Copy{Owner: w.Owner, Signed: w.Signed, Entries: w.Put}, c, what)
		}
		return nil
	}))
	require.True(t, found, what)
	require.NoError(t, s.Close(), what)
}

// memoryDir is a file system in memory where there is one, for the tests that open thousands of files: fsync costs nothing
// there. "" is the usual place.
func memoryDir() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err != nil || !info.IsDir() {
		return ""
	}
	return shm
}

func anyDamaged(copies []Copy) bool {
	for _, c := range copies {
		if len(c.Damaged) > 0 {
			return true
		}
	}
	return false
}

func requireSubset(t *testing.T, written, got []Copy, what string) {
	t.Helper()
	for _, c := range got {
		for _, e := range c.Entries {
			require.Contains(t, entriesOf(written, c.Owner), e, what)
		}
		if len(c.Signed.Digest) > 0 {
			require.Contains(t, digestsOf(written, c.Owner), c.Signed, what)
		}
	}
}

func entriesOf(copies []Copy, id wire.ID) (all []wire.Entry) {
	for _, c := range copies {
		if c.Owner == id {
			all = append(all, c.Entries...)
		}
	}
	return all
}

func digestsOf(copies []Copy, id wire.ID) (all []wire.SignedDigest) {
	for _, c := range copies {
		if c.Owner == id {
			all = append(all, c.Signed)
		}
	}
	return all
}

func TestATruncatedFileIsMovedAside(t *testing.T) {
	s := makeSample(t)
	h, _ := parseHeader(s.image)
	used := int(h.pages) * h.pageSize
	rng := rand.New(rand.NewPCG(1, 2))
	cuts := []int{0, 1, 15, 16, 79, 80, used - 1, used, used + 1, len(s.image) - 1}
	for at := h.pageSize; at < used; at += h.pageSize {
		cuts = append(cuts, at-1, at, at+1, at+rng.IntN(h.pageSize))
	}
	var o outcome
	for _, cut := range cuts {
		o.open(t, sampleAt(s, cut, used), s.image[:cut], fmt.Sprintf("cut at %d of %d", cut, len(s.image)))
	}
	require.Equal(t, len(cuts)-4, o.quarantined, "all but the empty file and those which keep every page")
}

// sampleAt is what the image cut at that offset is known to hold: a file of no bytes is a new store.
func sampleAt(s sample, cut, used int) sample {
	if cut == 0 {
		return sample{}
	}
	return s
}

func TestFlippedBitsAreNoticed(t *testing.T) {
	s := makeSample(t)
	h, _ := parseHeader(s.image)
	used := int(h.pages) * h.pageSize
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var bits []int
	for page := 0; page < used; page += h.pageSize {
		for i := range 16 + 48 { // the page's own header and its first elements, one bit of each byte
			bits = append(bits, 8*(page+i)+rng.IntN(8))
		}
	}
	for range 400 {
		bits = append(bits, rng.IntN(8*used))
	}
	var o outcome
	for _, bit := range bits {
		image := append([]byte(nil), s.image...)
		image[bit/8] ^= 1 << (bit % 8)
		o.open(t, s, image, fmt.Sprintf("seed %d: bit %d of byte %d, page %d", seed, bit%8, bit/8, bit/8/h.pageSize))
	}
	t.Logf("%+v", o)
	require.Positive(t, o.quarantined)
	require.Positive(t, o.rolledBack)
	require.Positive(t, o.named)
}

func TestPagesOfRubbishAreNoticed(t *testing.T) {
	s := makeSample(t)
	h, _ := parseHeader(s.image)
	rng := rand.New(rand.NewPCG(3, 4))
	fill := map[string]func(b []byte){
		"zeros":   func(b []byte) { clear(b) },
		"ones":    func(b []byte) { copy(b, strings.Repeat("\xff", len(b))) },
		"noise":   func(b []byte) { fillNoise(rng, b) },
		"sector":  func(b []byte) { clear(b[:512]) },
		"tail":    func(b []byte) { fillNoise(rng, b[len(b)/2:]) },
		"another": func(b []byte) { copy(b, s.image[int(h.root)*h.pageSize:][:h.pageSize]) },
	}
	var o outcome
	for page := range int(h.pages) {
		for name, fill := range fill {
			image := append([]byte(nil), s.image...)
			fill(image[page*h.pageSize : (page+1)*h.pageSize])
			o.open(t, s, image, fmt.Sprintf("page %d: %s", page, name))
		}
	}
	t.Logf("%+v", o)
	require.Positive(t, o.quarantined)
}

func fillNoise(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

func TestALostHeaderPageLosesNoGeneration(t *testing.T) {
	for page := range 2 {
		path := filepath.Join(t.TempDir(), "state.db")
		s := openAt(t, path)
		g, err := s.NextGeneration(start, 0)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		image, err := os.ReadFile(path)
		require.NoError(t, err)
		h, _ := parseHeader(image)
		image[page*h.pageSize+pageHeader+20]++
		require.NoError(t, os.WriteFile(path, image, 0o600))

		s, damaged, err := open(path, start, testOptions)
		require.NoError(t, err)
		require.NotNil(t, damaged)
		require.Empty(t, damaged.Quarantine)
		require.ErrorContains(t, damaged, fmt.Sprintf("header page %d", page))
		next, err := s.NextGeneration(time.Unix(0, 0), 0)
		require.NoError(t, err)
		require.Equal(t, g+1, next)
		require.NoError(t, s.Close())
		openAt(t, path) // both headers are whole again
	}
}

func TestADamagedRecordIsNamedAndCostsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	require.NoError(t, s.Commit([]Write{
		put("main", owner(1), 1, entry("a", "AAAA", 1), entry("b", "BBBB", 1)),
		put("main", owner(2), 1, entry("a", "CCCC", 1)),
		put("main", owner(3), 3, entry("a", "DDDD", 1)),
	}))
	require.NoError(t, s.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	digest := signed(owner(3), 3)
	text := strings.Replace(string(image), "BBBB", "BbBB", 1)
	text = strings.Replace(text, string(digest.Digest)+string(digest.Signature), string(digest.Digest)+strings.Repeat("\x04", 64), 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))

	s = openAt(t, path)
	got := load(t, s, "main")
	require.Len(t, got, 3)
	require.Len(t, got[0].Damaged, 1)
	require.Equal(t, RecordError{Topic: "main", Owner: owner(1), Key: "b", Err: errChecksum}, *got[0].Damaged[0])
	require.ErrorContains(t, got[0].Damaged[0], `entry "b" of 01000000 on main: checksum mismatch`)
	require.Equal(t, []wire.Entry{entry("a", "AAAA", 1)}, got[0].Entries)
	require.Empty(t, got[1].Damaged)
	require.Equal(t, []wire.Entry{entry("a", "CCCC", 1)}, got[1].Entries)
	require.Equal(t, Copy{
		Owner: owner(3), Entries: []wire.Entry{entry("a", "DDDD", 1)},
		Damaged: []*RecordError{{Topic: "main", Owner: owner(3), Err: errChecksum}},
	}, got[2])
	require.ErrorContains(t, got[2].Damaged[0], "digest of 03000000 on main")

	require.NoError(t, s.Commit([]Write{
		{Topic: "main", Owner: owner(1), Signed: signed(owner(1), 2), Reset: true, Put: []wire.Entry{entry("b", "again", 2)}},
		{Topic: "main", Owner: owner(3), Drop: true},
	}))
	require.Equal(t, []string{"v2 b=again", "v1 a=CCCC"}, summaries(t, load(t, s, "main")))
}

func TestEntriesWithoutADigestAreNamed(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1, entry("a", "1", 1)), put("main", owner(2), 1)}))
	removeRecord(t, s, "main", recordKey(owner(1), ""))
	got := load(t, s, "main")
	require.Len(t, got, 2)
	require.ErrorIs(t, got[0].Damaged[0], errNoDigest)
	require.Len(t, got[0].Entries, 1)
	require.Empty(t, got[1].Damaged)
}

func TestAFileCutUnderARunningStoreIsAnErrorNotACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, _, err := open(path, start, testOptions)
	require.NoError(t, err)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1, entry("a", strings.Repeat("v", 50_000), 1))}))
	require.NoError(t, os.Truncate(path, 2*int64(os.Getpagesize())))

	var corrupt *CorruptError
	require.ErrorAs(t, s.Load("main", func(Copy) error { return nil }), &corrupt)
	require.Equal(t, path, corrupt.Path)
	require.ErrorAs(t, s.Commit([]Write{put("main", owner(1), 2)}), &corrupt)
	_, err = s.NextGeneration(start, 0)
	require.ErrorAs(t, err, &corrupt)
	require.NoError(t, s.Close())
	requireQuarantine(t, path)
}

// The check is stricter than bbolt's own, so it must know all that bbolt writes.
func TestTheCheckPassesWhateverBboltWrites(t *testing.T) {
	dir, err := os.MkdirTemp(memoryDir(), "store")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "state.db")
	s := openAt(t, path)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for v := range wire.Version(250) {
		var batch []Write
		for range 1 + rng.IntN(8) {
			id := owner(byte(rng.IntN(60)))
			w := put(sampleTopics[rng.IntN(3)], id, v+1)
			switch w.Reset = rng.IntN(10) == 0; {
			case rng.IntN(8) == 0:
				w = Write{Topic: w.Topic, Owner: id, Drop: true}
			default:
				for range rng.IntN(40) {
					key := fmt.Sprintf("%0*d", 1+rng.IntN(60), rng.IntN(300))
					w.Put = append(w.Put, entry(key, strings.Repeat("v", rng.IntN(1<<rng.IntN(14))), v+1))
					w.Delete = append(w.Delete, fmt.Sprintf("%0*d", 1+rng.IntN(60), rng.IntN(300)))
				}
			}
			batch = append(batch, w)
		}
		require.NoError(t, s.Commit(batch))
		info, err := f.Stat()
		require.NoError(t, err)
		var seen layout
		lost, err := check(f, info.Size(), seen.visit)
		require.NoError(t, err, "seed %d, commit %d", seed, v)
		require.NoError(t, lost)
		require.NoError(t, seen.err(path))
	}
}

// failing is a disk that can't read one page.
type failing struct {
	image []byte
	at    int64
}

func (f failing) ReadAt(b []byte, at int64) (int, error) {
	if at <= f.at && f.at < at+int64(len(b)) {
		return 0, syscall.EIO
	}
	return copy(b, f.image[at:]), nil
}

func TestADiskThatCannotBeReadIsNoDamagedFile(t *testing.T) {
	s := makeSample(t)
	h, _ := parseHeader(s.image)
	var seen layout
	free := 0 // pages which the check has no need to read
	for page := range int64(h.pages) {
		_, err := check(failing{s.image, page*int64(h.pageSize) + 20}, int64(len(s.image)), seen.visit)
		if err == nil {
			free++
			continue
		}
		require.ErrorIs(t, err, syscall.EIO, "page %d", page)
		require.NotErrorIs(t, err, errDamaged, "page %d", page)
	}
	require.Less(t, free, int(h.pages)/2)
}

func TestAFullDiskIsSeenThroughWhatBboltHides(t *testing.T) {
	hidden := fmt.Errorf("file resize error: %s", syscall.ENOSPC)
	require.NotErrorIs(t, hidden, syscall.ENOSPC)
	require.ErrorIs(t, explain("commit", hidden), syscall.ENOSPC)
}
