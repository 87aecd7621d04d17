package nonce

import (
	"errors"
	"slices"
	"time"
)

// listKind is a kind for tests: the payload lists the nonces that are hits, one byte each, counted from 0.
type listKind struct{}

func (listKind) Name() string { return "list" }

func (listKind) Complete(j *Job) error {
	if j.Target == (Target{}) {
		j.Target = Target{0: 1}
	}
	_, err := listKind{}.Open(j)
	return err
}

func (listKind) Open(j *Job) (Problem, error) {
	if slices.Contains(j.Payload, 255) {
		return nil, errors.New("255 is not searched")
	}
	return list(j.Payload), nil
}

type list []byte

func (l list) Scan(r Range) (Result, bool) {
	for n := r.Start; n < r.End; n++ {
		if h, ok := l.Verify(n); ok {
			return Result{Nonce: n, Hash: h}, true
		}
	}
	return Result{}, false
}

func (l list) Verify(n uint64) (Hash, bool) {
	return hashOf(n), n < 256 && slices.Contains(l, byte(n))
}

func (l list) Rate() float64 { return 100 }

func hashOf(n uint64) Hash { return Hash{0: byte(n), 1: byte(n >> 8)} }

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func id(n byte) ID { return ID{0: n, 31: 1} }

func crew(ids ...byte) []Worker {
	var w []Worker
	for _, n := range ids {
		w = append(w, Worker{ID: id(n)})
	}
	return w
}

// hundred is a job of 100 nonces in 20 cells, where 42 and 77 are hits.
func hundred(change ...func(*Job)) Job {
	j := Job{Kind: "list", Payload: []byte{42, 77}, Range: Range{End: 100}, Target: Target{0: 1}, Stop: First, Cell: 5, Submitted: t0}
	for _, c := range change {
		c(&j)
	}
	return j
}

func all(j *Job) { j.Stop = All }
