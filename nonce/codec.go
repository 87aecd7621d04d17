package nonce

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// ContentType is what the values of this package are.
const ContentType = "application/json"

// Limits on what one worker says about one job.
const (
	MaxValue   = 64 << 10 // bytes of any value
	MaxSegment = 4 << 10  // bytes of a segment of done cells
	MaxLease   = 64       // cells leased, and cells lost, at a time
	MaxResults = 512      // results of one worker in one job

	maxSegmentRuns = MaxSegment / 2 // shortest run and comma: 2 bytes
)

// Lease is what a worker says about itself in a job. The zero Lease: it takes part and scans nothing now.
type Lease struct {
	Cells RangeSet // being scanned, or next; at most MaxLease
	Lost  RangeSet // leased when an earlier life of this worker ended without notice, and still not done; at most MaxLease
}

// Segment is a part of the cells that a worker has scanned in a job.
type Segment struct {
	Cells RangeSet
	// Results is how many results the worker had found when it wrote the segment, 0 to MaxResults. The cells count only
	// once that many are there, so that nobody takes a job for searched who has not seen what was found in it.
	Results int
}

// decimal is a 64-bit number as a decimal string: JSON numbers above 2^53 are damaged in browsers and jq.
type decimal uint64

func (d decimal) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(d), 10), nil }

func (d *decimal) UnmarshalText(text []byte) error {
	n, err := parseDecimal(string(text))
	*d = decimal(n)
	return err
}

type jobJSON struct {
	Kind      string  `json:"kind"`
	Payload   string  `json:"payload"`
	Range     string  `json:"range"`
	Target    string  `json:"target"`
	Stop      string  `json:"stop"`
	Cell      decimal `json:"cell"`
	Name      string  `json:"name,omitempty"`
	Submitted decimal `json:"submitted"`
}

type leaseJSON struct {
	Cells string `json:"cells"`
	Lost  string `json:"lost,omitempty"`
}

type doneJSON struct {
	Cells   string  `json:"cells"`
	Results decimal `json:"results,omitempty"`
}

type foundJSON struct {
	Results []resultJSON `json:"results"`
}

type resultJSON struct {
	Nonce decimal `json:"nonce"`
	Hash  string  `json:"hash"`
}

// EncodeJob is the value that defines j, which is valid. Its bytes are part of the job's id.
func EncodeJob(j *Job) []byte {
	return encode(jobJSON{
		Kind:      j.Kind,
		Payload:   hex.EncodeToString(j.Payload),
		Range:     j.Range.String(),
		Target:    j.Target.String(),
		Stop:      j.Stop.String(),
		Cell:      decimal(j.Cell),
		Name:      j.Name,
		Submitted: decimal(j.Submitted.UnixMilli()),
	})
}

// DecodeJob reads a definition and checks all that is not its kind's business.
func DecodeJob(value []byte) (Job, error) {
	var v jobJSON
	if err := decode(value, MaxValue, &v); err != nil {
		return Job{}, err
	}
	if len(v.Payload) > 2*MaxPayload {
		return Job{}, refuse(TooLarge, "payload has %d hex digits, at most %d", len(v.Payload), 2*MaxPayload)
	}
	payload, err := hex.DecodeString(v.Payload)
	if err != nil {
		return Job{}, refuse(Malformed, "payload is not hex")
	}
	j := Job{Kind: v.Kind, Payload: payload, Cell: uint64(v.Cell), Name: v.Name}
	if j.Range, err = ParseRange(v.Range); err != nil {
		return Job{}, refuse(Malformed, "%v", err)
	}
	if j.Target, err = ParseTarget(v.Target); err != nil {
		return Job{}, refuse(Malformed, "%v", err)
	}
	if j.Stop, err = ParseStop(v.Stop); err != nil {
		return Job{}, refuse(Malformed, "%v", err)
	}
	if v.Submitted > maxMillis {
		return Job{}, refuse(Malformed, "submitted %d ms is beyond the year 9999", uint64(v.Submitted))
	}
	j.Submitted = time.UnixMilli(int64(v.Submitted)).UTC()
	switch {
	case len(j.Name) > MaxJobName:
		return Job{}, refuse(TooLarge, "name has %d bytes, at most %d", len(j.Name), MaxJobName)
	case j.Cell > 0 && j.Cells().Count() > MaxCells:
		return Job{}, refuse(TooManyCells, "%d cells, at most %d", j.Cells().Count(), MaxCells)
	}
	if err := j.Validate(); err != nil {
		return Job{}, refuse(Malformed, "%v", err)
	}
	return j, nil
}

// maxMillis is the end of the year 9999 in unix ms: what RFC 3339 can still write.
const maxMillis = 253402300799999

// EncodeLease is the value of l, whose sets are within MaxLease.
func EncodeLease(l Lease) []byte {
	return encode(leaseJSON{Cells: l.Cells.String(), Lost: l.Lost.String()})
}

// DecodeLease reads a lease. Whether its cells are the job's is for the Board to say.
func DecodeLease(value []byte) (Lease, error) {
	var v leaseJSON
	if err := decode(value, MaxValue, &v); err != nil {
		return Lease{}, err
	}
	var l Lease
	var err error
	if l.Cells, err = parseLeased(v.Cells); err != nil {
		return Lease{}, err
	}
	l.Lost, err = parseLeased(v.Lost)
	return l, err
}

func parseLeased(text string) (RangeSet, error) {
	s, err := ParseRangeSet(text, MaxLease)
	if err == nil && s.Len() > MaxLease {
		return RangeSet{}, refuse(TooManyCells, "%d cells leased, at most %d", s.Len(), MaxLease)
	}
	return s, err
}

// EncodeDone is the value of one segment of done cells. Callers keep it within MaxSegment bytes.
func EncodeDone(s Segment) []byte {
	return encode(doneJSON{Cells: s.Cells.String(), Results: decimal(s.Results)})
}

// DecodeDone reads one segment of done cells.
func DecodeDone(value []byte) (Segment, error) {
	var v doneJSON
	if err := decode(value, MaxSegment, &v); err != nil {
		return Segment{}, err
	}
	if v.Results > MaxResults {
		return Segment{}, refuse(TooManyResults, "segment speaks of %d results, at most %d", uint64(v.Results), MaxResults)
	}
	cells, err := ParseRangeSet(v.Cells, maxSegmentRuns)
	if err != nil {
		return Segment{}, err
	}
	return Segment{Cells: cells, Results: int(v.Results)}, nil
}

// EncodeFound is the value of results, of which there are at most MaxResults. Workers are not written: the owner is.
func EncodeFound(results []Result) []byte {
	v := foundJSON{Results: make([]resultJSON, len(results))}
	for i, r := range results {
		v.Results[i] = resultJSON{Nonce: decimal(r.Nonce), Hash: r.Hash.String()}
	}
	return encode(v)
}

// DecodeFound reads results as worker claims them: nothing is verified. A nonce that comes twice is malformed.
func DecodeFound(value []byte, worker ID) ([]Result, error) {
	var v foundJSON
	if err := decode(value, MaxValue, &v); err != nil {
		return nil, err
	}
	if len(v.Results) > MaxResults {
		return nil, refuse(TooManyResults, "%d results, at most %d", len(v.Results), MaxResults)
	}
	results := make([]Result, len(v.Results))
	seen := make(map[decimal]bool, len(v.Results))
	for i, r := range v.Results {
		hash, err := ParseHash(r.Hash)
		if err != nil {
			return nil, refuse(Malformed, "result %d: %v", i, err)
		}
		if seen[r.Nonce] {
			return nil, refuse(Malformed, "nonce %d comes twice", uint64(r.Nonce))
		}
		seen[r.Nonce] = true
		results[i] = Result{Nonce: uint64(r.Nonce), Hash: hash, Worker: worker}
	}
	return results, nil
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("nonce: " + err.Error()) // strings and slices of them always encode
	}
	return b
}

// decode reads value into v, which has the fields that are known; others are ignored.
func decode(value []byte, limit int, v any) error {
	if len(value) > limit {
		return refuse(TooLarge, "value has %d bytes, at most %d", len(value), limit)
	}
	if err := checkNames(value); err != nil {
		return err
	}
	if err := json.Unmarshal(value, v); err != nil {
		return refuse(Malformed, "value is not the JSON expected: %v", err)
	}
	return nil
}
