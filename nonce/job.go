package nonce

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on a definition, checked before anything is kept.
const (
	MaxPayload  = 16 << 10 // bytes of Job.Payload
	MaxJobName  = 64       // bytes of Job.Name
	maxKindName = 32       // bytes of Job.Kind
)

// Stop says when a job ends.
type Stop uint8

const (
	// First ends the job with its first verified result.
	First Stop = iota
	// All searches the whole range.
	All
)

// ParseStop reads "first" or "all".
func ParseStop(text string) (Stop, error) {
	switch text {
	case "first":
		return First, nil
	case "all":
		return All, nil
	}
	return 0, fmt.Errorf("stop %.40q: want first or all", text)
}

func (s Stop) String() string {
	if s == All {
		return "all"
	}
	return "first"
}

// Job defines a search. What its submitter may leave open, Kind.Complete fills in.
type Job struct {
	Kind      string    // name of the kind: 1..32 bytes of [a-z0-9-]
	Payload   []byte    // what is searched, at most MaxPayload bytes; its form is the kind's
	Range     Range     // nonces to try, not empty
	Target    Target    // zero: the kind takes it from the payload
	Stop      Stop      // zero: First
	Cell      uint64    // nonces in a cell at most; the range has at most MaxCells cells. 0: DefaultCell chooses
	Name      string    // label for people: printable, at most MaxJobName bytes; may be empty, need not be unique
	Submitted time.Time // whole milliseconds, the submitter's claim; earlier jobs are worked on first
}

// Cells is how the job's range is cut.
func (j *Job) Cells() Cells { return NewCells(j.Range, j.Cell) }

// Validate says what is wrong with a complete definition, apart from what only its kind knows.
func (j *Job) Validate() error {
	switch {
	case !validKindName(j.Kind):
		return fmt.Errorf("kind %.40q: want 1 to %d of a-z, 0-9 and -", j.Kind, maxKindName)
	case len(j.Payload) > MaxPayload:
		return fmt.Errorf("payload has %d bytes, at most %d", len(j.Payload), MaxPayload)
	case j.Target == Target{}:
		return fmt.Errorf("target is zero: no hash can be a hit")
	case j.Stop > All:
		return fmt.Errorf("stop %d is neither first nor all", j.Stop)
	case j.Submitted.UnixMilli() < 0:
		return fmt.Errorf("submitted %v is before 1970", j.Submitted.UTC())
	}
	if err := j.Range.Validate(); err != nil {
		return err
	}
	if err := CheckCell(j.Range, j.Cell); err != nil {
		return err
	}
	return validateName(j.Name)
}

func validKindName(name string) bool {
	if len(name) == 0 || len(name) > maxKindName {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// validateName keeps control characters of strangers out of terminals.
func validateName(name string) error {
	if len(name) > MaxJobName {
		return fmt.Errorf("name has %d bytes, at most %d", len(name), MaxJobName)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("name %q is not UTF-8", name)
	}
	for _, c := range name {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("name %q holds %q, which can't be shown", name, c)
		}
	}
	return nil
}

// Result is a nonce whose hash meets the job's target.
type Result struct {
	Nonce  uint64
	Hash   Hash
	Worker ID // who found it; zero when nobody has said so yet
}

// Kind is one sort of work.
type Kind interface {
	// Name is what Job.Kind holds.
	Name() string
	// Complete fills in what a submitter left open and brings the payload to its one form, or says what is wrong with
	// the job in words for its submitter. Cell, Name and Submitted are not its business.
	Complete(*Job) error
	// Open gives the problem that a complete job poses. It refuses what Complete would have changed: the job may come
	// from anyone.
	Open(*Job) (Problem, error)
}

// Problem is a job made ready for trying nonces. Its methods may be called concurrently.
type Problem interface {
	// Scan tries the nonces of r in order up to the first hit, and reports whether there was one. Worker stays zero.
	// It can't be interrupted, so callers give it few nonces at a time: Slice.
	Scan(r Range) (hit Result, ok bool)
	// Verify gives the hash of one nonce and whether it is a hit. Any nonce may be asked for.
	Verify(nonce uint64) (hash Hash, ok bool)
	// Rate is how many nonces a second one thread is assumed to try: a guess, for sizing cells and calls of Scan.
	Rate() float64
}

// Slice is how many nonces to give to one Scan of p: 2.5 ms of work at the assumed rate, so that a machine of half that
// speed still answers a cancel within 5 ms.
func Slice(p Problem) uint64 { return uint64(max(p.Rate()/400, 1)) }

// Kinds are the kinds that a node knows, by name.
type Kinds map[string]Kind

// NewKinds makes a registry of kinds. Two of one name are a bug.
func NewKinds(kinds ...Kind) Kinds {
	k := make(Kinds, len(kinds))
	for _, kind := range kinds {
		if _, twice := k[kind.Name()]; twice {
			panic("nonce: two kinds named " + kind.Name())
		}
		k[kind.Name()] = kind
	}
	return k
}

// Find gives the kind called name, or an *UnknownKindError that names the known ones.
func (k Kinds) Find(name string) (Kind, error) {
	if kind, ok := k[name]; ok {
		return kind, nil
	}
	return nil, &UnknownKindError{Kind: name, Known: slices.Sorted(maps.Keys(k))}
}
