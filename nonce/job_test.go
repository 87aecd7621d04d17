package nonce

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCellsPartitionTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64().Draw(t, "start")
		length := rapid.Uint64Range(1, 200).Draw(t, "length")
		if rapid.Bool().Draw(t, "huge") {
			length = rapid.Uint64Range(1, math.MaxUint64).Draw(t, "huge length")
		}
		r := Range{Start: min(start, math.MaxUint64-length)}
		r.End = r.Start + length
		size := max(length/rapid.Uint64Range(1, 150).Draw(t, "parts"), 1)
		cells := NewCells(r, size)

		next, shortest, longest := r.Start, uint64(math.MaxUint64), uint64(0)
		for i := range cells.Count() {
			c := cells.At(i)
			require.Equal(t, next, c.Start)
			next, shortest, longest = c.End, min(shortest, c.Len()), max(longest, c.Len())
		}
		require.Equal(t, r.End, next)
		require.LessOrEqual(t, longest, size)
		require.LessOrEqual(t, longest-shortest, uint64(1))
		require.Equal(t, length, cells.Numbers(NewRangeSet(cells.run())))
	})
}

func TestDefaultCell(t *testing.T) {
	const rate = 1e6
	for name, c := range map[string]struct {
		length  uint64
		workers int
		cells   uint64
	}{
		"about 1.5 s of work":                  {1e9, 5, 667},
		"a small job: 16 for each worker":      {10e6, 5, 80},
		"a huge job: 4096 for each worker":     {1e15, 5, 5 * 4096},
		"all of 64 bits for 10,000 workers":    {math.MaxUint64, 10000, MaxCells},
		"fewer nonces than workers":            {3, 5, 3},
		"one nonce":                            {1, 1, 1},
		"no worker yet counts as one":          {1e6, 0, 16},
		"a worker too slow for a nonce a cell": {64, 1, 16},
	} {
		t.Run(name, func(t *testing.T) {
			size := DefaultCell(c.length, c.workers, rate)
			r := Range{End: c.length}
			require.NoError(t, CheckCell(r, size))
			require.Equal(t, c.cells, NewCells(r, size).Count())
		})
	}
	require.Equal(t, uint64(1), DefaultCell(10, 1, 0))
}

func TestValidateNamesTheFault(t *testing.T) {
	for want, change := range map[string]func(*Job){
		`kind "Exec!": want 1 to 32 of a-z, 0-9 and -`: func(j *Job) { j.Kind = "Exec!" },
		`payload has 16385 bytes, at most 16384`:       func(j *Job) { j.Payload = make([]byte, MaxPayload+1) },
		`target is zero: no hash can be a hit`:         func(j *Job) { j.Target = Target{} },
		`stop 7 is neither first nor all`:              func(j *Job) { j.Stop = 7 },
		`range 4:4 is empty: its end is not part of it`: func(j *Job) {
			j.Range = Range{Start: 4, End: 4}
		},
		`range 9:4 is reversed: it ends before it starts`: func(j *Job) {
			j.Range = Range{Start: 9, End: 4}
		},
		`cell size is 0, want at least 1`: func(j *Job) { j.Cell = 0 },
		`cell size 1 cuts range 0:4294967296 into 4294967296 cells, at most 1048576: use 4096 or more`: func(j *Job) {
			j.Range, j.Cell = Range{End: 1 << 32}, 1
		},
		`name has 65 bytes, at most 64`:                     func(j *Job) { j.Name = strings.Repeat("x", 65) },
		`name "\x1b[2J" holds '\x1b', which can't be shown`: func(j *Job) { j.Name = "\x1b[2J" },
		`name "\xff" is not UTF-8`:                          func(j *Job) { j.Name = "\xff" },
		`submitted 0001-01-01 00:00:00 +0000 UTC is before 1970`: func(j *Job) {
			j.Submitted = time.Time{}
		},
	} {
		j := hundred(change)
		require.EqualError(t, j.Validate(), want)
	}
	j := hundred(func(j *Job) { j.Name = "ночная смена №1" })
	require.NoError(t, j.Validate())
}

func TestUnknownKindNamesTheKnownOnes(t *testing.T) {
	_, err := NewKinds(listKind{}).Find("exec")
	require.EqualError(t, err, `kind "exec" is not known; known: list`)
	_, err = NewKinds().Find("exec")
	require.EqualError(t, err, `kind "exec" is not known; known: none`)
}

func TestTargetText(t *testing.T) {
	target, err := ParseTarget("00000000FFFF" + strings.Repeat("00", 26))
	require.NoError(t, err)
	require.Equal(t, Target{4: 0xff, 5: 0xff}, target)
	for text, want := range map[string]string{
		"":                       "target has 0 bytes, want 32 (64 hex digits, most significant first)",
		"ff":                     "target has 1 bytes, want 32 (64 hex digits, most significant first)",
		"fff":                    "target: 3 hex digits, an odd number: one is missing or too many",
		"0xff":                   "target: 'x' at position 2 is not a hex digit",
		strings.Repeat("00", 32): "target is zero: no hash can be a hit",
	} {
		_, err := ParseTarget(text)
		require.EqualError(t, err, want)
	}
}

func TestHashIsShownAsBitcoinShowsIt(t *testing.T) {
	h := Hash{0: 0x6f, 31: 0x01}
	require.Equal(t, "01"+strings.Repeat("00", 30)+"6f", h.String())
	require.Equal(t, byte(0x6f), h[0], "String leaves the hash alone")
	again, err := ParseHash(h.String())
	require.NoError(t, err)
	require.Equal(t, h, again)

	require.True(t, h.Meets(Target{0: 1, 31: 0x6f}), "equal is a hit")
	require.False(t, h.Meets(Target{0: 1, 31: 0x6e}))
	require.True(t, h.Meets(Target{0: 2}))
}
