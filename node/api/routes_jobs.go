package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/nonce"
	"github.com/p2pnode/p2pnode/nonce/sha256d"
	"github.com/p2pnode/p2pnode/nonce/worker"
)

const (
	jobInterval = 500 * time.Millisecond // between two events of a job's stream, at least
	rateWindow  = 10 * time.Second       // over which a stream measures the network's rate
	minPrefix   = 4                      // digits of a job id's prefix
	maxJobBody  = 128 << 10              // the longest payload in hex with white space, and the rest
)

// Jobs is what the API needs of the work on one topic: the methods of worker.Pool.
type Jobs interface {
	Submit(ctx context.Context, job nonce.Job) (nonce.JobID, error)
	Cancel(ctx context.Context, id nonce.JobID) error
	Jobs(ctx context.Context) ([]nonce.Progress, error)
	Job(ctx context.Context, id nonce.JobID) (nonce.Progress, error)
	Watch(ctx context.Context, id nonce.JobID) iter.Seq2[nonce.Progress, error]
}

func (s *Server) registerJobs(api huma.API) {
	submit := operation(api, http.MethodPost, "/v1/jobs", "job-submit", "Give the network a job")
	submit.DefaultStatus = http.StatusAccepted
	submit.MaxBodyBytes = maxJobBody
	huma.Register(api, submit, s.submitJob)
	huma.Register(api, operation(api, http.MethodGet, "/v1/jobs", "jobs", "Jobs in the order in which they are worked on"), s.jobs)
	huma.Register(api, operation(api, http.MethodGet, "/v1/jobs/{id}", "job", "One job"), s.job)
	huma.Register(api, operation(api, http.MethodPost, "/v1/jobs/{id}/cancel", "job-cancel", "Withdraw a job of this node"), s.cancelJob)
	registerStream(api, operation(api, http.MethodGet, "/v1/jobs/{id}/events", "job-watch",
		"Progress of a job, at most twice a second; the stream ends with the job"), map[string]any{EventJob: Job{}}, s.watchJob)
}

// work finds the jobs of a topic and its name.
func (s *Server) work(topic string) (Jobs, string, error) {
	work, err := s.node.Work(topic)
	if err != nil {
		return nil, "", s.fail(err, "")
	}
	if topic == "" {
		if topics := s.node.Info().Topics; len(topics) > 0 {
			topic = topics[0]
		}
	}
	return work, topic, nil
}

type submitInput struct {
	TopicParam
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"128" doc:"a request sent again under its key is the same job; the node remembers the last 256 until it ends"`
	Body           JobSpec
}

type submitOutput struct {
	Location string `header:"Location"`
	Body     Job
}

func (s *Server) submitJob(ctx context.Context, in *submitInput) (*submitOutput, error) {
	def, err := definition(&in.Body)
	if err != nil {
		return nil, err
	}
	work, topic, err := s.work(in.Topic)
	if err != nil {
		return nil, err
	}
	id, err := s.submitted.do(in.IdempotencyKey, submission{topic, in.Body}, func() (nonce.JobID, error) {
		return work.Submit(ctx, def)
	})
	if err != nil {
		return nil, s.failJob(err, in.Body.Name)
	}
	p, err := work.Job(ctx, id)
	if err != nil {
		return nil, s.failJob(err, id.String())
	}
	return &submitOutput{Location: "/v1/jobs/" + id.String(), Body: jobOf(p, topic)}, nil
}

// definition reads a JobSpec. What only the job's kind knows is checked when it is submitted.
func definition(spec *JobSpec) (nonce.Job, error) {
	job := nonce.Job{
		Kind:  spec.Kind,
		Range: nonce.Range{Start: uint64(spec.Range.Start), End: uint64(spec.Range.End)},
		Cell:  uint64(spec.Chunk),
		Name:  spec.Name,
	}
	if err := job.Range.Validate(); err != nil {
		return job, problem(node.CodeBadRange, err.Error(), "a range is START:END, START below END")
	}
	var err error
	if job.Payload, err = nonce.ParsePayload(spec.Payload); err != nil {
		return job, problem(node.CodeBadHeader, err.Error(), "a block header is 76 or 80 bytes in hex")
	}
	if spec.Kind == (sha256d.Kind{}).Name() {
		if _, err = sha256d.NewHeader(job.Payload); err != nil {
			return job, problem(node.CodeBadHeader, err.Error(), "")
		}
	}
	if spec.Target != "" {
		if job.Target, err = nonce.ParseTarget(spec.Target); err != nil {
			return job, problem(node.CodeBadTarget, err.Error(), "leave it out to take the header's own")
		}
	}
	if spec.Stop != "" {
		if job.Stop, err = nonce.ParseStop(spec.Stop); err != nil {
			return job, problem(node.CodeBadJob, err.Error(), "")
		}
	}
	return job, nil
}

// submission is a request to submit, as far as the job depends on it.
type submission struct {
	topic string
	spec  JobSpec
}

// maxSubmissions is how many Idempotency-Keys are remembered.
const maxSubmissions = 256

// submissions remembers which job an Idempotency-Key stands for. The zero value remembers none.
type submissions struct {
	mu   sync.Mutex
	keys []string // oldest first
	jobs map[string]submittedJob
}

type submittedJob struct {
	what submission
	id   nonce.JobID
}

// do submits, or gives the job that was submitted under key before. Requests that have a key go one after the other, so
// that two at once are one job.
func (s *submissions) do(key string, what submission, submit func() (nonce.JobID, error)) (nonce.JobID, error) {
	if key == "" {
		return submit()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.jobs[key]; ok {
		if before.what != what {
			return nonce.JobID{}, invalid("header.Idempotency-Key", key, "was used for another request")
		}
		return before.id, nil
	}
	id, err := submit()
	if err != nil {
		return nonce.JobID{}, err
	}
	if s.jobs == nil {
		s.jobs = make(map[string]submittedJob)
	}
	if len(s.keys) == maxSubmissions {
		delete(s.jobs, s.keys[0])
		s.keys = s.keys[1:]
	}
	s.keys = append(s.keys, key)
	s.jobs[key] = submittedJob{what, id}
	return id, nil
}

func (s *Server) jobs(ctx context.Context, in *TopicParam) (*output[Page[Job]], error) {
	work, topic, err := s.work(in.Topic)
	if err != nil {
		return nil, err
	}
	all, err := work.Jobs(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	return &output[Page[Job]]{Page[Job]{Items: list(all, func(p nonce.Progress) Job { return jobOf(p, topic) })}}, nil
}

type jobInput struct {
	TopicParam
	ID string `path:"id" maxLength:"128" doc:"the job's id, its name, or a unique prefix of the id"`
}

// find finds the job that a request names.
func (s *Server) find(ctx context.Context, in *jobInput) (Jobs, string, nonce.Progress, error) {
	none := nonce.Progress{}
	work, topic, err := s.work(in.Topic)
	if err != nil {
		return nil, "", none, err
	}
	if id, err := nonce.ParseJobID(in.ID); err == nil {
		p, err := work.Job(ctx, id)
		if err != nil {
			return nil, "", none, s.failJob(err, in.ID)
		}
		return work, topic, p, nil
	}
	all, err := work.Jobs(ctx)
	if err != nil {
		return nil, "", none, s.fail(err, "")
	}
	matches := choose(all, func(p nonce.Progress) bool { return p.Name == in.ID })
	if len(matches) == 0 && len(in.ID) >= minPrefix {
		matches = choose(all, func(p nonce.Progress) bool { return strings.HasPrefix(p.ID.String(), in.ID) })
	}
	switch len(matches) {
	case 1:
		return work, topic, matches[0], nil
	case 0:
		return nil, "", none, unknownJob(in.ID)
	}
	return nil, "", none, problem(node.CodeUnknownJob,
		fmt.Sprintf("%d jobs are called %q, or their ids begin so", len(matches), clip(in.ID)), "write more of the id: p2pnode work ls")
}

func (s *Server) job(ctx context.Context, in *jobInput) (*output[Job], error) {
	_, topic, p, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	return &output[Job]{jobOf(p, topic)}, nil
}

func (s *Server) cancelJob(ctx context.Context, in *jobInput) (*output[Job], error) {
	work, topic, p, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := work.Cancel(ctx, p.ID); err != nil && !errors.Is(err, worker.ErrOver) { // what is over is as good as cancelled
		return nil, s.failJob(err, in.ID)
	}
	if p, err = work.Job(ctx, p.ID); err != nil {
		return nil, s.failJob(err, in.ID)
	}
	return &output[Job]{jobOf(p, topic)}, nil
}

func (s *Server) watchJob(ctx context.Context, in *jobInput) (func(huma.Context), error) {
	work, topic, p, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		watch := func(ctx context.Context) iter.Seq2[nonce.Progress, error] {
			return atMost(ctx, jobInterval, func(ctx context.Context) iter.Seq2[nonce.Progress, error] {
				return untilOver(work.Watch(ctx, p.ID))
			})
		}
		var meter meter
		relay(s, hc, watch, func(out *sender, p nonce.Progress) (bool, error) {
			j := jobOf(p, topic)
			meter.fill(&j.JobSummary, time.Now())
			return j.Ended(), out.send(EventJob, 0, j)
		})
	}, nil
}

// untilOver ends seq with the job, so that its last state is sent at once.
func untilOver(seq iter.Seq2[nonce.Progress, error]) iter.Seq2[nonce.Progress, error] {
	return func(yield func(nonce.Progress, error) bool) {
		for p, err := range seq {
			if !yield(p, err) || err != nil || p.State.Over() {
				return
			}
		}
	}
}

// meter measures the network's rate from what a stream sees of a job. The zero meter has seen nothing.
type meter struct{ samples []sample }

type sample struct {
	at   time.Time
	done uint64
}

// fill sets what the samples of the last 10 s tell about j at now.
func (m *meter) fill(j *JobSummary, now time.Time) {
	m.samples = append(m.samples, sample{now, uint64(j.Done)})
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:] // the first one left is just outside the window, so that it is whole
	}
	first := m.samples[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 || uint64(j.Done) < first.done {
		return
	}
	rate := float64(uint64(j.Done)-first.done) / took
	j.NetworkRate = &rate
	if rate > 0 {
		eta := float64(j.Total-j.Done) / rate
		j.ETASeconds = &eta
	}
}

// runningJobs are the running jobs of all topics. A topic without work has none.
func (s *Server) runningJobs(ctx context.Context, topics []string) []JobSummary {
	running := []JobSummary{}
	for _, topic := range topics {
		work, err := s.node.Work(topic)
		if err != nil {
			continue
		}
		all, err := work.Jobs(ctx)
		if err != nil {
			s.cfg.Logger.Debug("api: jobs for status", "topic", topic, "error", err)
			continue
		}
		for _, p := range all {
			if !p.State.Over() {
				running = append(running, jobOf(p, topic).JobSummary)
			}
		}
	}
	return running
}

func jobOf(p nonce.Progress, topic string) Job {
	return Job{
		JobSummary: JobSummary{
			ID: p.ID.String(), Name: p.Name, Topic: topic, State: p.State.String(),
			Done: Uint64(p.Done), Total: Uint64(p.Total), Rate: finite(p.Rate),
		},
		Submitter: ownerText(p.Submitter), Submitted: stamp(p.Submitted), Kind: p.Kind, Range: rangeOf(p.Range),
		Target: p.Target.String(), Stop: p.Stop.String(), Chunk: Uint64(p.Cell), Cells: Uint64(p.Cells),
		Leased: Uint64(p.Leased), Duplicates: Uint64(p.Duplicates), Workers: p.Workers, Failed: list(p.Failed, rangeOf),
		Found: list(p.Found, func(r nonce.Result) Found {
			return Found{Nonce: Uint64(r.Nonce), Hash: r.Hash.String(), Worker: ownerText(r.Worker)}
		}),
	}
}

func rangeOf(r nonce.Range) Range { return Range{Start: Uint64(r.Start), End: Uint64(r.End)} }

// ownerText is the peer id of a worker or submitter, "" of nobody.
func ownerText(id nonce.ID) string {
	if id == (nonce.ID{}) {
		return ""
	}
	return text(replica.PeerOf(gossipstate.ID(id)))
}

// failJob makes an answer of an error of the work on a topic. job is how the request named the job.
func (s *Server) failJob(err error, job string) *Error {
	var wrong *worker.JobError
	switch {
	case errors.As(err, &wrong):
		return problem(node.CodeBadJob, wrong.Error(), "")
	case errors.Is(err, worker.ErrNotFound):
		return unknownJob(job)
	case errors.Is(err, worker.ErrNotSubmitter):
		return problem(node.CodeNotAllowed, fmt.Sprintf("job %s is another node's: only its submitter can cancel it", clip(job)), "")
	case errors.Is(err, worker.ErrTooManyJobs):
		return problem(node.CodeQuotaExceeded, worker.ErrTooManyJobs.Error(), "p2pnode work ls")
	case errors.Is(err, worker.ErrStopped):
		return problem(node.CodeStopped, "the node is not running, or stops", "")
	}
	return s.fail(err, "")
}

func unknownJob(job string) *Error {
	return problem(node.CodeUnknownJob, fmt.Sprintf("no job %q", clip(job)), "p2pnode work ls")
}
