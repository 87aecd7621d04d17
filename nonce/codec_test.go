package nonce

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The values and ids below are what other versions and languages rely on: they are never regenerated to pass.
func TestGoldenValues(t *testing.T) {
	header, err := hex.DecodeString("0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d")
	require.NoError(t, err)
	job := Job{
		Kind: "sha256d", Payload: header, Range: Range{Start: 2080000000, End: 2090000000}, Target: Target{4: 0xff, 5: 0xff},
		Stop: First, Cell: 125000, Name: "genesis", Submitted: t0,
	}
	value := EncodeJob(&job)
	require.Equal(t, `{"kind":"sha256d","payload":"0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d",`+
		`"range":"2080000000:2090000000","target":"00000000ffff0000000000000000000000000000000000000000000000000000",`+
		`"stop":"first","cell":"125000","name":"genesis","submitted":"1772366400000"}`, string(value))
	require.Equal(t, "7416983a5239f1be82937a7c7b614fa7", NewJobID(id(1), value).String())

	require.Equal(t, `{"cells":"12,17:20","lost":"4"}`, string(EncodeLease(Lease{
		Cells: NewRangeSet(Range{Start: 12, End: 13}, Range{Start: 17, End: 20}), Lost: Single(4),
	})))
	require.Equal(t, `{"cells":""}`, string(EncodeLease(Lease{})))
	require.Equal(t, `{"cells":"0:12,13"}`, string(EncodeDone(Segment{
		Cells: NewRangeSet(Range{End: 12}, Range{Start: 13, End: 14}),
	})))
	require.Equal(t, `{"cells":"3","results":"2"}`, string(EncodeDone(Segment{Cells: Single(3), Results: 2})))
	require.Equal(t, `{"results":[{"nonce":"18446744073709551615","hash":"`+strings.Repeat("0", 60)+`0107"}]}`,
		string(EncodeFound([]Result{{Nonce: 1<<64 - 1, Hash: Hash{0: 7, 1: 1}, Worker: id(3)}})))
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	want := hundred()
	value := EncodeJob(&want)
	got, err := DecodeJob([]byte(`{"verify":3,` + string(value[1:])))
	require.NoError(t, err)
	require.Equal(t, want, got)
	lease, err := DecodeLease([]byte(`{"cells":"3","rate":{"1m":5}}`))
	require.NoError(t, err)
	require.Equal(t, Lease{Cells: Single(3)}, lease)
	done, err := DecodeDone([]byte(`{"cells":"3","shares":["a"]}`))
	require.NoError(t, err)
	require.Equal(t, Segment{Cells: Single(3)}, done)
}

func TestValuesOverALimitAreRefused(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, 2*i)
		}
		return b.String()
	}
	replace := func(old, new string) func() error {
		return func() error {
			j := hundred()
			value := strings.Replace(string(EncodeJob(&j)), old, new, 1)
			if value == string(EncodeJob(&j)) {
				t.Errorf("%s is not in %s", old, value)
			}
			_, err := DecodeJob([]byte(value))
			return err
		}
	}
	lease := func(text string) func() error {
		return func() error { _, err := DecodeLease([]byte(text)); return err }
	}
	done := func(text string) func() error {
		return func() error { _, err := DecodeDone([]byte(text)); return err }
	}
	found := func(text string) func() error {
		return func() error { _, err := DecodeFound([]byte(text), id(1)); return err }
	}
	for name, c := range map[string]struct {
		decode func() error
		want   Reason
	}{
		"a definition over 64 KiB":       {replace(`"kind"`, `"x":"`+strings.Repeat("y", MaxValue)+`","kind"`), TooLarge},
		"a payload over 16 KiB":          {replace(`2a4d`, strings.Repeat("00", MaxPayload+1)), TooLarge},
		"a name over 64 bytes":           {replace(`"submitted"`, `"name":"`+strings.Repeat("n", 65)+`","submitted"`), TooLarge},
		"2^20 cells and one":             {replace(`"0:100"`, `"0:5242881"`), TooManyCells},
		"a payload that is not hex":      {replace(`2a4d`, "2a4"), Malformed},
		"a range that is empty":          {replace(`"0:100"`, `"7:7"`), Malformed},
		"a range that is reversed":       {replace(`"0:100"`, `"7:6"`), Malformed},
		"a target of 31 bytes":           {replace(`"0100`, `"00`), Malformed},
		"another stop rule":              {replace(`first`, "second"), Malformed},
		"a cell size of 0":               {replace(`"cell":"5"`, `"cell":"0"`), Malformed},
		"a number that is a JSON number": {replace(`"cell":"5"`, `"cell":5`), Malformed},
		"a number in two spellings":      {replace(`"cell":"5"`, `"cell":"05"`), Malformed},
		"a time beyond the calendar":     {replace(`"1772366400000"`, `"9223372036854775807"`), Malformed},
		"a kind in capitals":             {replace(`"list"`, `"LIST"`), Malformed},
		"not an object":                  {func() error { _, err := DecodeJob([]byte("[]")); return err }, Malformed},
		"an empty value":                 {func() error { _, err := DecodeJob(nil); return err }, Malformed},
		"a lease over 64 KiB":            {lease(`{"cells":"1","x":"` + strings.Repeat("y", MaxValue) + `"}`), TooLarge},
		"a lease of 65 runs":             {lease(`{"cells":"` + many(65, "%d") + `"}`), TooManyRuns},
		"a lease of 65 cells in a run":   {lease(`{"cells":"0:65"}`), TooManyCells},
		"a lease of nearly all cells":    {lease(`{"cells":"0:18446744073709551615"}`), TooManyCells},
		"65 lost cells":                  {lease(`{"cells":"","lost":"5:70"}`), TooManyCells},
		"a segment over 4 KiB":           {done(`{"cells":"` + many(1200, "%d") + `"}`), TooLarge},
		"a segment out of order":         {done(`{"cells":"3,1"}`), Malformed},
		"a segment with 513 results":     {done(`{"cells":"3","results":"513"}`), TooManyResults},
		"513 results":                    {found(`{"results":[` + many(513, `{"nonce":"%d","hash":"`+strings.Repeat("0", 64)+`"}`) + `]}`), TooManyResults},
		"a hash in capitals":             {found(`{"results":[{"nonce":"1","hash":"` + strings.Repeat("A", 64) + `"}]}`), Malformed},
		"a result twice":                 {found(`{"results":[` + many(2, `{"nonce":"1","hash":"`+strings.Repeat("0", 64)+`"}`) + `]}`), Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			var refused *RefusedError
			require.ErrorAs(t, c.decode(), &refused)
			require.Equal(t, c.want, refused.Reason, refused.Detail)
		})
	}
}

func TestKeys(t *testing.T) {
	job := JobID{0: 0xab, 15: 0xcd}
	base := "work/ab0000000000000000000000000000cd"
	for text, k := range map[string]Key{
		base:              {Job: job, Part: PartDefinition},
		base + "/lease":   {Job: job, Part: PartLease},
		base + "/done/0":  {Job: job, Part: PartDone},
		base + "/done/63": {Job: job, Part: PartDone, Segment: 63},
		base + "/found":   {Job: job, Part: PartFound},
	} {
		require.Equal(t, text, k.String())
		got, err := ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, k, got)
	}
	later, err := ParseKey(base + "/reject/12")
	require.NoError(t, err)
	require.Equal(t, Key{Job: job}, later, "what a later version says is left alone")
	for _, text := range []string{
		"", "work/", "work/abc", "app/color", strings.ToUpper(base), base + "/done/64", base + "/done/00", base + "/done/",
		base + "/done/-1", base[:len(base)-1] + "g", base + "0",
	} {
		_, err := ParseKey(text)
		require.Error(t, err, text)
	}
}

func FuzzParseKey(f *testing.F) {
	base := "work/ab0000000000000000000000000000cd"
	for _, text := range []string{base, base + "/lease", base + "/done/7", base + "/found", base + "/", "work/x", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKey(text); err == nil && k.Part != 0 {
			require.Equal(t, text, k.String())
		}
	})
}

func FuzzParsePayload(f *testing.F) {
	f.Add(" 00ff\n")
	f.Add("0")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParsePayload(text)
		if err != nil {
			return
		}
		again, err := ParsePayload(hex.EncodeToString(b))
		require.NoError(t, err)
		require.Equal(t, b, again)
		require.LessOrEqual(t, 2*len(b), len(text))
	})
}

func FuzzDecodeJob(f *testing.F) {
	j := hundred(func(j *Job) { j.Name = "a\u2028<b>" })
	f.Add(EncodeJob(&j))
	f.Add([]byte(`{"kind":"list","payload":"","range":"0:18446744073709551615","target":"ff","stop":"all","cell":"1","submitted":"0"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		j, err := DecodeJob(value)
		if err != nil {
			return
		}
		require.NoError(t, j.Validate())
		require.LessOrEqual(t, j.Cells().Count(), uint64(MaxCells))
		again, err := DecodeJob(EncodeJob(&j))
		require.NoError(t, err)
		require.Equal(t, j, again)
	})
}

func FuzzDecodeLease(f *testing.F) {
	f.Add([]byte(`{"cells":"12,17:20","lost":"4"}`))
	f.Add([]byte(`{"cells":"0:18446744073709551615"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		l, err := DecodeLease(value)
		if err != nil {
			return
		}
		require.LessOrEqual(t, l.Cells.Len(), uint64(MaxLease))
		require.LessOrEqual(t, l.Lost.Len(), uint64(MaxLease))
		again, err := DecodeLease(EncodeLease(l))
		require.NoError(t, err)
		require.Equal(t, l, again)
	})
}

func FuzzDecodeDone(f *testing.F) {
	f.Add([]byte(`{"cells":"0:12,13","results":"1"}`))
	f.Add([]byte(`{"cells":"0,2,4,6,8"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := DecodeDone(value)
		if err != nil {
			return
		}
		again, err := DecodeDone(EncodeDone(s))
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func FuzzDecodeFound(f *testing.F) {
	f.Add([]byte(`{"results":[{"nonce":"5","hash":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"results":[{},{}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		results, err := DecodeFound(value, id(1))
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(results), MaxResults)
		again, err := DecodeFound(EncodeFound(results), id(1))
		require.NoError(t, err)
		require.Equal(t, results, again)
	})
}
