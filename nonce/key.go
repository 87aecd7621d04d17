package nonce

import (
	"strconv"
	"strings"
)

// Prefix starts every key that this package reads.
const Prefix = "work/"

// MaxSegments is how many segments of done cells one worker has in one job. Measured need: 4,096 scattered cells fill 7.
const MaxSegments = 64

// Part is what a key says about its job.
type Part uint8

const (
	// PartDefinition defines the job.
	PartDefinition Part = iota + 1
	// PartLease is what a worker scans now.
	PartLease
	// PartDone is one segment of what a worker has scanned.
	PartDone
	// PartFound is what a worker found.
	PartFound
)

// Key names one value of one owner.
type Key struct {
	Job     JobID
	Part    Part
	Segment int // of PartDone, 0..MaxSegments-1; else 0
}

// String is the key as state holds it.
func (k Key) String() string {
	base := Prefix + k.Job.String()
	switch k.Part {
	case PartLease:
		return base + "/lease"
	case PartDone:
		return base + "/done/" + strconv.Itoa(k.Segment)
	case PartFound:
		return base + "/found"
	}
	return base
}

// ParseKey reads what String wrote. A key of a job that says something this version does not know has Part 0 and is no
// error; what is not a key of any job is malformed.
func ParseKey(text string) (Key, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	if !ok {
		return Key{}, refuse(Malformed, "key %.80q does not start with %s", text, Prefix)
	}
	name, part, hasPart := strings.Cut(rest, "/")
	id, err := ParseJobID(name)
	if err != nil {
		return Key{}, refuse(Malformed, "key %.80q: %v", text, err)
	}
	k := Key{Job: id}
	switch {
	case !hasPart:
		k.Part = PartDefinition
	case part == "lease":
		k.Part = PartLease
	case part == "found":
		k.Part = PartFound
	case strings.HasPrefix(part, "done/"):
		n, err := parseDecimal(part[len("done/"):])
		if err != nil || n >= MaxSegments {
			return Key{}, refuse(Malformed, "key %.80q: segment is not 0 to %d", text, MaxSegments-1)
		}
		k.Part, k.Segment = PartDone, int(n)
	}
	return k, nil
}
