package nonce

import "fmt"

// Reason is why a value of some owner was refused, in words fit for a counter's label.
type Reason string

// The reasons. Each refused value counts once under one of them; a false result counts once for each.
const (
	Malformed      Reason = "malformed"        // not the JSON, text or key that it should be
	TooLarge       Reason = "too-large"        // more bytes than MaxValue, MaxPayload, MaxJobName or MaxSegment
	TooManyRuns    Reason = "too-many-runs"    // a set of cells in more runs than it may have
	TooManyCells   Reason = "too-many-cells"   // a job cut finer than MaxCells, or a lease over MaxLease
	TooManyJobs    Reason = "too-many-jobs"    // MaxJobs defined, or MaxWorkerJobs worked on, by one owner
	TooManyResults Reason = "too-many-results" // more than MaxResults in one value
	WrongID        Reason = "wrong-id"         // the key's job is not the hash of owner and definition
	UnknownKind    Reason = "unknown-kind"     // no such kind on this node
	BadDefinition  Reason = "bad-definition"   // the job's kind refuses it
	OutsideJob     Reason = "outside-job"      // a cell or nonce that the job does not have
	FalseResult    Reason = "false-result"     // the nonce is no hit, or its hash is another
)

// RefusedError says that a value is not taken, and why. Whatever a peer can send ends in one of these.
type RefusedError struct {
	Reason Reason
	Detail string
}

func (e *RefusedError) Error() string { return e.Detail + " (" + string(e.Reason) + ")" }

func refuse(reason Reason, format string, args ...any) error {
	return &RefusedError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// UnknownKindError names a kind that this node does not have.
type UnknownKindError struct {
	Kind  string
	Known []string // sorted
}

func (e *UnknownKindError) Error() string {
	known := "none"
	for i, k := range e.Known {
		if i == 0 {
			known = k
		} else {
			known += ", " + k
		}
	}
	return fmt.Sprintf("kind %.40q is not known; known: %s", e.Kind, known)
}
