package nonce

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is the obvious set.
type model map[uint64]bool

func drawRange(t *rapid.T) Range {
	return Range{Start: rapid.Uint64Range(0, 40).Draw(t, "start"), End: rapid.Uint64Range(0, 40).Draw(t, "end")}
}

func drawSet(t *rapid.T, label string) (RangeSet, model) {
	ranges := rapid.SliceOfN(rapid.Custom(drawRange), 0, 6).Draw(t, label)
	m := make(model)
	for _, r := range ranges {
		for x := r.Start; x < r.End; x++ {
			m[x] = true
		}
	}
	return NewRangeSet(ranges...), m
}

func (m model) check(t *rapid.T, s RangeSet) {
	runs, last := 0, uint64(math.MaxUint64)
	for x := range uint64(45) {
		require.Equal(t, m[x], s.Contains(x), "contains %d in %v", x, s)
		if m[x] && (x == 0 || !m[x-1]) {
			runs++
		}
		if m[x] {
			last = x
		}
	}
	require.Equal(t, uint64(len(m)), s.Len())
	require.Equal(t, len(m) == 0, s.Empty())
	require.Equal(t, last+1, s.End())
	require.Equal(t, runs, s.Count(), "runs neither touch nor are empty: %v", s)
}

func TestRangeSetAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, ma := drawSet(t, "a")
		b, mb := drawSet(t, "b")
		ma.check(t, a)
		union, difference := make(model), make(model)
		for x := range ma {
			union[x] = true
			if !mb[x] {
				difference[x] = true
			}
		}
		for x := range mb {
			union[x] = true
		}
		union.check(t, a.Union(b))
		difference.check(t, a.Subtract(b))
		ma.check(t, a)
		mb.check(t, b)

		r := drawRange(t)
		covered := true
		for x := r.Start; x < r.End; x++ {
			covered = covered && ma[x]
		}
		require.Equal(t, covered, a.Covers(r))

		again, err := ParseRangeSet(a.String(), a.Count())
		require.NoError(t, err)
		require.True(t, a.Equal(again))
	})
}

func TestRangeSetReachesTheLastNumbers(t *testing.T) {
	whole := NewRangeSet(Range{Start: 0, End: math.MaxUint64})
	require.Equal(t, uint64(math.MaxUint64), whole.Len())
	require.True(t, whole.Contains(math.MaxUint64-1))
	require.False(t, whole.Contains(math.MaxUint64))
	rest := whole.Subtract(NewRangeSet(Range{Start: 0, End: math.MaxUint64 - 1}))
	require.Equal(t, "18446744073709551614", rest.String())
	require.True(t, rest.Union(NewRangeSet(Range{Start: 0, End: math.MaxUint64 - 1})).Covers(Range{Start: 0, End: math.MaxUint64}))
}

func TestRangeSetHasOneText(t *testing.T) {
	set := NewRangeSet(Range{Start: 50, End: 61}, Range{Start: 0, End: 42}, Range{Start: 43, End: 44})
	require.Equal(t, "0:42,43,50:61", set.String())
	for name, text := range map[string]string{
		"out of order":          "5,3",
		"touching":              "0:4,4:9",
		"overlapping":           "0:4,3:9",
		"empty run":             "4:4",
		"reversed run":          "9:4",
		"one number as a run":   "4:5",
		"leading zero":          "04",
		"plus sign":             "+4",
		"no number":             "4,",
		"white space":           "4, 6",
		"above 64 bits":         "18446744073709551616",
		"the number in no rang": "18446744073709551615",
		"a negative number":     "-1",
		"three bounds":          "1:3:5",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRangeSet(text, 10)
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, Malformed, refused.Reason)
		})
	}
	_, err := ParseRangeSet("0,2,4", 2)
	require.EqualError(t, err, "3 runs, at most 2 (too-many-runs)")
}

func TestParseRangeNamesTheMistake(t *testing.T) {
	r, err := ParseRange("2080000000:2090000000")
	require.NoError(t, err)
	require.Equal(t, Range{Start: 2080000000, End: 2090000000}, r)
	r, err = ParseRange("0:18446744073709551615")
	require.NoError(t, err)
	require.Equal(t, uint64(math.MaxUint64), r.Len())
	for text, want := range map[string]string{
		"5":                      `range "5" has no colon: write START:END, END not included`,
		"":                       `range "" has no colon: write START:END, END not included`,
		"5:5":                    `range 5:5 is empty: its end is not part of it`,
		"9:5":                    `range 9:5 is reversed: it ends before it starts`,
		"a:5":                    `range "a:5": "a" is not a whole number`,
		"1:":                     `range "1:": "" is not a whole number`,
		"-1:5":                   `range "-1:5": "-1" is not a whole number`,
		"1:2:3":                  `range "1:2:3": "2:3" is not a whole number`,
		"0:18446744073709551616": `range "0:18446744073709551616": 18446744073709551616 is above 18446744073709551615 (2^64-1)`,
	} {
		_, err := ParseRange(text)
		require.EqualError(t, err, want)
	}
}

func FuzzParseRangeSet(f *testing.F) {
	for _, text := range []string{"", "0", "0:42,43,50:61", "18446744073709551614", "4:4", ",", "0:18446744073709551615"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseRangeSet(text, 100)
		if err == nil {
			require.Equal(t, text, s.String(), "one text for one set")
			require.LessOrEqual(t, s.Count(), 100)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, text := range []string{"0:1", "5:5", "9:5", "0:18446744073709551615", "0:18446744073709551616", ":"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange(text)
		if err != nil {
			return
		}
		require.Positive(t, r.Len())
		again, err := ParseRange(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
