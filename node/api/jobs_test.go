package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/nonce"
)

// genesis is the header of Bitcoin's first block without its nonce.
const genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d"

func genesisJob() JobSpec {
	return JobSpec{Kind: "sha256d", Payload: genesis, Range: Range{2_080_000_000, 2_090_000_000}, Name: "genesis"}
}

func TestJobFromSubmissionToItsResult(t *testing.T) {
	s := serve(t, newFakeNode())
	j, err := s.client.SubmitJob(t.Context(), genesisJob())
	require.NoError(t, err)
	require.Equal(t, JobRunning, j.State)
	require.Equal(t, Uint64(10_000_000), j.Total)
	require.Equal(t, "first", j.Stop)
	require.Equal(t, "main", j.Topic)
	require.Equal(t, testPeer(1).String(), j.Submitter)
	require.Empty(t, j.Found)

	watch := read(t, s.client.WatchJob(t.Context(), j.ID))
	require.Equal(t, j.ID, watch.one().ID)
	st, err := s.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, []JobSummary{j.JobSummary}, st.Work)

	hash, err := nonce.ParseHash("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
	require.NoError(t, err)
	id, err := nonce.ParseJobID(j.ID)
	require.NoError(t, err)
	worker, err := replica.OwnerOf(testPeer(2))
	require.NoError(t, err)
	s.node.jobs["main"].change(id, func(p *nonce.Progress) {
		p.State = nonce.Done
		p.Found = []nonce.Result{{Nonce: 2083236893, Hash: hash, Worker: nonce.ID(worker)}}
	})
	done := watch.one()
	require.True(t, done.Ended())
	require.Equal(t, []Found{{Nonce: 2083236893, Hash: hash.String(), Worker: testPeer(2).String()}}, done.Found)
	_, err, ok := watch.next()
	require.False(t, ok, "the stream ends with the job: %v", err)

	raw := object(t, s.raw("GET", "/v1/jobs/"+j.ID, "").body)
	require.Equal(t, "2083236893", raw["found"].([]any)[0].(map[string]any)["nonce"])
	require.Equal(t, "10000000", raw["total"])
	require.Equal(t, map[string]any{"start": "2080000000", "end": "2090000000"}, raw["range"])
	st, err = s.client.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, st.Work)
}

func TestSubmitAnswersWithWhereTheJobIs(t *testing.T) {
	s := serve(t, newFakeNode())
	body, err := json.Marshal(genesisJob())
	require.NoError(t, err)
	a := s.raw("POST", "/v1/jobs", string(body), "Content-Type", "application/json")
	require.Equal(t, http.StatusAccepted, a.status, a.body)
	require.Equal(t, "/v1/jobs/"+object(t, a.body)["id"].(string), a.header.Get("Location"))
	require.Equal(t, http.StatusOK, s.raw("GET", a.header.Get("Location"), "").status)
}

func TestIdempotencyKeyMakesOneJobOfManyRequests(t *testing.T) {
	s := serve(t, newFakeNode())
	body, err := json.Marshal(genesisJob())
	require.NoError(t, err)
	submit := func(body, key string) answer { return s.raw("POST", "/v1/jobs", body, "Idempotency-Key", key) }

	ids := make([]any, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() { ids[i] = object(t, submit(string(body), "one").body)["id"] })
	}
	group.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.NotEqual(t, ids[0], object(t, submit(string(body), "two").body)["id"])
	all, err := s.client.Jobs(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)

	other := strings.Replace(string(body), "2090000000", "2090000001", 1)
	e := submit(other, "one").problem(t)
	require.Equal(t, "header.Idempotency-Key", e.Errors[0].Location)
}

func TestOldIdempotencyKeysAreForgotten(t *testing.T) {
	var s submissions
	submitted := 0
	submit := func() (nonce.JobID, error) { submitted++; return nonce.JobID{byte(submitted)}, nil }
	for i := range maxSubmissions + 1 {
		_, err := s.do(fmt.Sprint(i), submission{}, submit)
		require.NoError(t, err)
	}
	require.Len(t, s.jobs, maxSubmissions)
	_, err := s.do(fmt.Sprint(maxSubmissions), submission{}, submit)
	require.NoError(t, err)
	require.Equal(t, maxSubmissions+1, submitted, "the newest is known")
	_, err = s.do("0", submission{}, submit)
	require.NoError(t, err)
	require.Equal(t, maxSubmissions+2, submitted, "the oldest is not")
}

func TestJobIsFoundByIDNameOrPrefix(t *testing.T) {
	s := serve(t, newFakeNode())
	spec := genesisJob()
	spec.Name = "alone"
	alone, err := s.client.SubmitJob(t.Context(), spec)
	require.NoError(t, err)
	spec.Name = "twin"
	for range 2 {
		_, err := s.client.SubmitJob(t.Context(), spec)
		require.NoError(t, err)
	}
	for _, name := range []string{alone.ID, "alone", alone.ID[:8]} {
		j, err := s.client.Job(t.Context(), name)
		require.NoError(t, err, name)
		require.Equal(t, alone.ID, j.ID)
	}
	for _, name := range []string{"none", strings.Repeat("0", 32), alone.ID[:3], "twin"} {
		_, err = s.client.Job(t.Context(), name)
		require.Equal(t, node.CodeUnknownJob, codeOf(t, err), name)
	}
	require.ErrorContains(t, err, "2 jobs")
	_, err = s.client.WithTopic("none").Jobs(t.Context())
	require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))
}

func TestOnlyItsSubmitterCancelsAJob(t *testing.T) {
	s := serve(t, newFakeNode())
	j, err := s.client.SubmitJob(t.Context(), genesisJob())
	require.NoError(t, err)
	canceled, err := s.client.CancelJob(t.Context(), "genesis")
	require.NoError(t, err)
	require.Equal(t, JobCanceled, canceled.State)
	canceled, err = s.client.CancelJob(t.Context(), j.ID)
	require.NoError(t, err, "what is over is as good as cancelled")
	require.Equal(t, JobCanceled, canceled.State)

	id, err := nonce.ParseJobID(j.ID)
	require.NoError(t, err)
	s.node.jobs["main"].change(id, func(p *nonce.Progress) { p.Submitter = nonce.ID{9} })
	e := s.raw("POST", "/v1/jobs/"+j.ID+"/cancel", "").problem(t)
	require.Equal(t, node.CodeNotAllowed, e.Code)
	require.Equal(t, http.StatusForbidden, e.Status)
}

func TestWhatIsWrongWithAJobIsNamed(t *testing.T) {
	s := serve(t, newFakeNode())
	with := func(change func(*JobSpec)) JobSpec {
		spec := genesisJob()
		change(&spec)
		return spec
	}
	for name, c := range map[string]struct {
		spec JobSpec
		code string
	}{
		"empty range":      {with(func(j *JobSpec) { j.Range = Range{5, 5} }), node.CodeBadRange},
		"reversed range":   {with(func(j *JobSpec) { j.Range = Range{6, 5} }), node.CodeBadRange},
		"payload not hex":  {with(func(j *JobSpec) { j.Payload = "xyz" }), node.CodeBadHeader},
		"odd payload":      {with(func(j *JobSpec) { j.Payload = "123" }), node.CodeBadHeader},
		"short header":     {with(func(j *JobSpec) { j.Payload = genesis[:150] }), node.CodeBadHeader},
		"short target":     {with(func(j *JobSpec) { j.Target = "ff" }), node.CodeBadTarget},
		"zero target":      {with(func(j *JobSpec) { j.Target = strings.Repeat("0", 64) }), node.CodeBadTarget},
		"unknown stop":     {with(func(j *JobSpec) { j.Stop = "never" }), node.CodeValidation},
		"long name":        {with(func(j *JobSpec) { j.Name = strings.Repeat("n", 65) }), node.CodeValidation},
		"enormous payload": {with(func(j *JobSpec) { j.Payload = strings.Repeat("00", 1<<20) }), node.CodeValueTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.client.SubmitJob(t.Context(), c.spec)
			require.Equal(t, c.code, codeOf(t, err))
		})
	}
	for body, status := range map[string]int{
		"":    http.StatusBadRequest,
		"{":   http.StatusBadRequest,
		`{}`:  http.StatusUnprocessableEntity,
		`[1]`: http.StatusUnprocessableEntity,
		`{"kind":"sha256d","payload":"00","range":{"start":1,"end":"2"}}`:                      http.StatusUnprocessableEntity,
		`{"kind":"sha256d","payload":"00","range":{"start":"-1","end":"2"}}`:                   http.StatusUnprocessableEntity,
		`{"kind":"sha256d","payload":"00","range":{"start":"0","end":"18446744073709551616"}}`: http.StatusUnprocessableEntity,
		`{"kind":"sha256d","payload":"00","range":{"start":"0","end":"1"},"surprise":1}`:       http.StatusUnprocessableEntity,
	} {
		a := s.raw("POST", "/v1/jobs", body, "Content-Type", "application/json")
		require.Equal(t, status, a.status, "%s: %s", body, a.body)
		require.Equal(t, node.CodeValidation, a.problem(t).Code)
	}
	require.Equal(t, http.StatusUnsupportedMediaType,
		s.raw("POST", "/v1/jobs", "<job/>", "Content-Type", "application/xml").problem(t).Status)
}

func TestLargestRangeIsExact(t *testing.T) {
	s := serve(t, newFakeNode())
	spec := genesisJob()
	spec.Range = Range{1<<53 + 1, 1<<64 - 1}
	spec.Chunk = 1<<63 + 1
	j, err := s.client.SubmitJob(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, spec.Range, j.Range)
	require.Equal(t, spec.Chunk, j.Chunk)
}
