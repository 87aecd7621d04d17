package nonce

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Range is the numbers from Start up to, not including, End. It is empty when End <= Start. 2^64-1 itself is in no range.
type Range struct{ Start, End uint64 }

// ParseRange reads "A:B", both decimal. An empty or reversed range is an error.
func ParseRange(text string) (Range, error) {
	a, b, ok := strings.Cut(text, ":")
	if !ok {
		return Range{}, fmt.Errorf("range %.80q has no colon: write START:END, END not included", text)
	}
	start, err := parseBound(text, a)
	if err != nil {
		return Range{}, err
	}
	end, err := parseBound(text, b)
	if err != nil {
		return Range{}, err
	}
	r := Range{Start: start, End: end}
	return r, r.Validate()
}

func parseBound(text, bound string) (uint64, error) {
	n, err := strconv.ParseUint(bound, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("range %.80q: %.40s is above 18446744073709551615 (2^64-1)", text, bound)
	case err != nil:
		return 0, fmt.Errorf("range %.80q: %.40q is not a whole number", text, bound)
	}
	return n, nil
}

// Validate says what is wrong with a range that holds nothing.
func (r Range) Validate() error {
	switch {
	case r.Start == r.End:
		return fmt.Errorf("range %v is empty: its end is not part of it", r)
	case r.Start > r.End:
		return fmt.Errorf("range %v is reversed: it ends before it starts", r)
	}
	return nil
}

// Len is how many numbers r holds.
func (r Range) Len() uint64 {
	if r.End <= r.Start {
		return 0
	}
	return r.End - r.Start
}

// Contains reports whether x is in r.
func (r Range) Contains(x uint64) bool { return r.Start <= x && x < r.End }

// String is "A:B", what ParseRange reads.
func (r Range) String() string {
	return strconv.FormatUint(r.Start, 10) + ":" + strconv.FormatUint(r.End, 10)
}

// RangeSet is a set of numbers as runs. It is a value: no method changes it, and copies may share memory. The zero
// RangeSet is empty.
type RangeSet struct {
	runs []Range // in order, none empty, none touching the next
}

// NewRangeSet is the union of ranges, in any order; empty and reversed ones add nothing.
func NewRangeSet(ranges ...Range) RangeSet {
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r Range) bool { return r.Len() == 0 })
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	var s RangeSet
	for _, r := range sorted {
		s.push(r)
	}
	return s
}

// Single is the set that holds x alone. x is below 2^64-1.
func Single(x uint64) RangeSet { return RangeSet{runs: []Range{{Start: x, End: x + 1}}} }

// push appends r, whose Start is not below that of any run. Only for sets that nobody else holds yet.
func (s *RangeSet) push(r Range) {
	if n := len(s.runs); n > 0 && r.Start <= s.runs[n-1].End {
		s.runs[n-1].End = max(s.runs[n-1].End, r.End)
		return
	}
	s.runs = append(s.runs, r)
}

// Runs gives the runs of s in order.
func (s RangeSet) Runs() iter.Seq[Range] { return slices.Values(s.runs) }

// Count is how many runs s has.
func (s RangeSet) Count() int { return len(s.runs) }

// Values gives the numbers of s in order.
func (s RangeSet) Values() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, r := range s.runs {
			for x := r.Start; x < r.End; x++ {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// Empty reports whether s holds nothing.
func (s RangeSet) Empty() bool { return len(s.runs) == 0 }

// Len is how many numbers s holds.
func (s RangeSet) Len() uint64 {
	var n uint64
	for _, r := range s.runs {
		n += r.Len()
	}
	return n
}

// End is one above the largest number of s, 0 when it is empty.
func (s RangeSet) End() uint64 {
	if s.Empty() {
		return 0
	}
	return s.runs[len(s.runs)-1].End
}

// Contains reports whether x is in s.
func (s RangeSet) Contains(x uint64) bool {
	i := s.after(x)
	return i < len(s.runs) && s.runs[i].Start <= x
}

// Covers reports whether every number of r is in s: the proof that a range is complete.
func (s RangeSet) Covers(r Range) bool {
	if r.Len() == 0 {
		return true
	}
	i := s.after(r.Start)
	return i < len(s.runs) && s.runs[i].Start <= r.Start && r.End <= s.runs[i].End
}

// after is the index of the first run that ends above x.
func (s RangeSet) after(x uint64) int {
	i, _ := slices.BinarySearchFunc(s.runs, x, func(r Range, x uint64) int {
		if r.End <= x {
			return -1
		}
		return 1
	})
	return i
}

// Equal reports whether both hold the same numbers.
func (s RangeSet) Equal(other RangeSet) bool { return slices.Equal(s.runs, other.runs) }

// Union is every number of s or other.
func (s RangeSet) Union(other RangeSet) RangeSet {
	switch {
	case s.Empty():
		return other
	case other.Empty():
		return s
	}
	u := RangeSet{runs: make([]Range, 0, len(s.runs)+len(other.runs))}
	a, b := s.runs, other.runs
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].Start <= b[0].Start {
			u.push(a[0])
			a = a[1:]
		} else {
			u.push(b[0])
			b = b[1:]
		}
	}
	return u
}

// Subtract is every number of s that is not in other.
func (s RangeSet) Subtract(other RangeSet) RangeSet {
	if s.Empty() || other.Empty() {
		return s
	}
	var d RangeSet
	b := other.runs
	for _, r := range s.runs {
		for len(b) > 0 && b[0].End <= r.Start {
			b = b[1:]
		}
		for _, cut := range b {
			if cut.Start >= r.End {
				break
			}
			if cut.Start > r.Start {
				d.runs = append(d.runs, Range{Start: r.Start, End: cut.Start})
			}
			r.Start = min(cut.End, r.End)
		}
		if r.Len() > 0 {
			d.runs = append(d.runs, r)
		}
	}
	return d
}

// String is the set's one text: runs in order, "A:B" for two numbers or more, "A" for one, with commas between; "" when
// it is empty.
func (s RangeSet) String() string {
	var b []byte
	for i, r := range s.runs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, r.Start, 10)
		if r.Len() > 1 {
			b = append(b, ':')
			b = strconv.AppendUint(b, r.End, 10)
		}
	}
	return string(b)
}

// ParseRangeSet reads what String wrote and nothing else: runs out of order, touching or empty and numbers with leading
// zeros are malformed. A text of more than maxRuns runs is refused before memory is spent on them.
func ParseRangeSet(text string, maxRuns int) (RangeSet, error) {
	if text == "" {
		return RangeSet{}, nil
	}
	n := strings.Count(text, ",") + 1
	if n > maxRuns {
		return RangeSet{}, refuse(TooManyRuns, "%d runs, at most %d", n, maxRuns)
	}
	s := RangeSet{runs: make([]Range, 0, n)}
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRun(part)
		if err != nil {
			return RangeSet{}, err
		}
		if n := len(s.runs); n > 0 && r.Start <= s.runs[n-1].End {
			return RangeSet{}, refuse(Malformed, "run %.48q is out of order or touches the one before", part)
		}
		s.runs = append(s.runs, r)
	}
	return s, nil
}

func parseRun(text string) (Range, error) {
	a, b, pair := strings.Cut(text, ":")
	start, err := parseDecimal(a)
	if err != nil {
		return Range{}, err
	}
	if !pair {
		end, carry := bits.Add64(start, 1, 0)
		if carry != 0 {
			return Range{}, refuse(Malformed, "number %s is in no range", a)
		}
		return Range{Start: start, End: end}, nil
	}
	end, err := parseDecimal(b)
	switch {
	case err != nil:
		return Range{}, err
	case end <= start || end-start == 1:
		return Range{}, refuse(Malformed, "run %.48q is empty, reversed or should be one number", text)
	}
	return Range{Start: start, End: end}, nil
}

// parseDecimal reads a number in its one spelling: no sign, no leading zero.
func parseDecimal(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || len(text) > 1 && text[0] == '0' {
		return 0, refuse(Malformed, "%.48q is not a decimal number below 2^64", text)
	}
	return n, nil
}
