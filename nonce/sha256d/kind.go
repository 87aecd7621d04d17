package sha256d

import (
	"fmt"
	"math"

	"github.com/p2pnode/p2pnode/nonce"
)

// maxExpected is how many hits a job may be expected to have when all are wanted, so that one worker's list of results
// holds them even if it finds them all: a Poisson variable of mean 256 exceeds nonce.MaxResults with p < 1e-40.
const maxExpected = nonce.MaxResults / 2

// Kind is the kind "sha256d".
type Kind struct{}

// Name is "sha256d".
func (Kind) Name() string { return "sha256d" }

// Complete takes a header of 76 or 80 bytes as payload, cuts off the nonce, and takes the target from its bits when none
// is given.
func (k Kind) Complete(j *nonce.Job) error {
	header, err := NewHeader(j.Payload)
	if err != nil {
		return err
	}
	if j.Target == (nonce.Target{}) {
		if j.Target, err = Target(header.Bits()); err != nil {
			return err
		}
	}
	j.Payload = header[:]
	_, err = k.Open(j)
	return err
}

// Open refuses a payload other than 76 bytes, a range that leaves the 32 bits of a nonce, and, where all hits are
// wanted, a target so easy that the range would hold more of them than one worker may list.
func (Kind) Open(j *nonce.Job) (nonce.Problem, error) {
	if len(j.Payload) != headerSize {
		return nil, fmt.Errorf("block header has %d bytes, want 76 in a job", len(j.Payload))
	}
	if j.Range.End > nonceEnd {
		return nil, fmt.Errorf("range %v goes beyond the 32-bit nonce of a block header: its end is at most %d", j.Range, uint64(nonceEnd))
	}
	if n := expected(j.Target, j.Range); j.Stop == nonce.All && n > maxExpected {
		return nil, fmt.Errorf("about %.0f hits in range %v, at most %d with stop all: take a lower target or a shorter range",
			n, j.Range, maxExpected)
	}
	return NewKernel(Header(j.Payload), j.Target), nil
}

// expected is how many nonces of r meet t on average.
func expected(t nonce.Target, r nonce.Range) float64 {
	var f float64
	for _, b := range t {
		f = f*256 + float64(b)
	}
	return math.Ldexp(f, -8*len(t)) * float64(r.Len())
}
