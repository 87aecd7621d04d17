package worker

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/p2pnode/p2pnode/nonce"
	"github.com/p2pnode/p2pnode/nonce/sha256d"
)

// What a caller may want to tell apart. A *JobError is a definition that makes no sense.
var (
	ErrNotFound     = errors.New("no such job")
	ErrNotSubmitter = errors.New("only its submitter can cancel it")
	ErrOver         = errors.New("it is over already")
	ErrTooManyJobs  = errors.New("too many unfinished jobs of this node: cancel one, or wait for one to finish")
	ErrStopped      = errors.New("the worker pool has stopped")
)

// JobError says what is wrong with a job that was to be submitted.
type JobError struct{ Err error }

func (e *JobError) Error() string { return e.Err.Error() }

func (e *JobError) Unwrap() error { return e.Err }

const (
	maxThreads   = 1024
	keepFinished = nonce.MaxJobs / 2 // finished jobs of its own that a node keeps; older ones go when it submits the next
)

// Config says who this node is and how it works.
type Config struct {
	// Self is the owner of this node's keys. Required.
	Self nonce.ID

	// Enabled says whether this node scans. A pool that does not still submits, cancels, verifies and tells progress.
	Enabled bool

	// Threads is how many cells' slices are scanned at a time. 0: one less than the processors that Go may use, at least
	// 1. Range 0..1024. More than the default slows the network part of this process down.
	Threads int

	// Workers gives the live members that offer to work, Self among them when it is Enabled. It is called often, by
	// several goroutines. nil: Self alone.
	Workers func() []nonce.Worker

	// Trusted says whether this node works for a submitter other than itself. It is called by one goroutine and must not
	// block. nil: for nobody.
	Trusted func(submitter nonce.ID) bool

	// Kinds are the kinds of work known here. nil: DefaultKinds().
	Kinds nonce.Kinds

	// Logger gets results, finished jobs and failing writes. nil: nothing is logged.
	Logger *slog.Logger
}

// DefaultKinds are the kinds that every node knows.
func DefaultKinds() nonce.Kinds { return nonce.NewKinds(sha256d.Kind{}) }

// Validate reports every fault of c.
func (c *Config) Validate() error {
	var faults []error
	if c.Self == (nonce.ID{}) {
		faults = append(faults, errors.New("worker.Config.Self is not set"))
	}
	if c.Threads < 0 || c.Threads > maxThreads {
		faults = append(faults, fmt.Errorf("worker.Config.Threads is %d, want 0 to %d", c.Threads, maxThreads))
	}
	return errors.Join(faults...)
}

// Counters are what a pool has counted since it was made. They only grow.
type Counters struct {
	Tried       uint64 // nonces tried here
	Cells       uint64 // cells that this node scanned to the end
	TakenOver   uint64 // cells taken over from workers that died over them
	Surrendered uint64 // cells given up because another worker had done them or had the better claim
	Found       uint64 // results found here
	Puts        uint64 // commits written
	PutFailures uint64 // commits that failed and were tried again
	Rewatches   uint64 // times that Watch had to be called again
	Refused     map[nonce.Reason]uint64
}
