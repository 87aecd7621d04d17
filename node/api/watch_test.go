package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/nonce"
)

// reader takes events of a stream one by one.
type reader[T any] struct {
	t    *testing.T
	next func() (T, error, bool)
}

func read[T any](t *testing.T, seq iter.Seq2[T, error]) *reader[T] {
	next, stop := iter.Pull2(seq)
	t.Cleanup(stop)
	return &reader[T]{t, next}
}

func (r *reader[T]) one() T {
	r.t.Helper()
	v, err, ok := r.next()
	require.True(r.t, ok, "the stream has ended")
	require.NoError(r.t, err)
	return v
}

// event is a short form of e for comparing: "put k=v".
func short(e Event) string {
	switch e.Kind {
	case EventPut:
		return fmt.Sprintf("put %s=%s", e.Value.Key, e.Value.Value)
	case EventDel:
		return "del " + e.Value.Key
	case EventLost:
		return fmt.Sprintf("lost %s=%s to %s", e.Old.Key, e.Old.Value, e.Value.Value)
	case EventGap:
		return fmt.Sprintf("gap %d-%d", e.Gap.From, e.Gap.To)
	}
	return e.Kind
}

func set(t *testing.T, c *Client, key, value string) {
	t.Helper()
	_, err := c.Set(t.Context(), key, []byte(value), WriteOptions{})
	require.NoError(t, err)
}

func TestWatchTellsChangesFromNowOn(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "old", "1")
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{}))
	synced := events.one()
	require.Equal(t, EventSynced, synced.Kind)
	require.Equal(t, Uint64(1), synced.ID)

	set(t, s.client, "k", "1")
	e := events.one()
	require.Equal(t, "put k=1", short(e))
	require.Equal(t, Uint64(2), e.ID)
	require.Nil(t, e.Old)
	require.False(t, e.Remote)

	s.node.main().fromPeer(replica.Value{Key: "k", Owner: testPeer(2), Clock: 9, Value: []byte("theirs")})
	lost := events.one()
	require.Equal(t, "lost k=1 to theirs", short(lost))
	require.True(t, lost.Remote)
	require.Equal(t, "put k=theirs", short(events.one()))
	_, err := s.client.Delete(t.Context(), "old", WriteOptions{})
	require.NoError(t, err)
	deleted := events.one()
	require.Equal(t, "del old", short(deleted))
	require.Equal(t, "1", string(deleted.Old.Value))
	require.True(t, deleted.Value.Deleted)
}

func TestWatchBeginsWithWhatIsThere(t *testing.T) {
	s := serve(t, newFakeNode())
	for _, key := range []string{"app/a", "app/b", "else"} {
		set(t, s.client, key, "1")
	}
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{Prefix: "app/", Initial: true}))
	require.Equal(t, "put app/a=1", short(events.one()))
	require.Equal(t, "put app/b=1", short(events.one()))
	require.Equal(t, EventSynced, events.one().Kind)
	set(t, s.client, "else", "2")
	set(t, s.client, "app/c", "2")
	require.Equal(t, "put app/c=2", short(events.one()))
}

func TestWatchResumedGoesOnWhereItWas(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "a", "1")
	first := read(t, s.client.WatchState(t.Context(), WatchOptions{Initial: true}))
	require.Equal(t, "put a=1", short(first.one()))
	last := uint64(first.one().ID)
	require.Equal(t, uint64(1), last)
	set(t, s.client, "b", "1")
	set(t, s.client, "c", "1")

	events := read(t, s.client.WatchState(t.Context(), WatchOptions{Since: &last, Initial: true}))
	for i, want := range []string{EventSynced, "put b=1", "put c=1"} {
		e := events.one()
		require.Equal(t, want, short(e))
		require.Equal(t, Uint64(i+1), e.ID)
	}
	set(t, s.client, "d", "1")
	require.Equal(t, "put d=1", short(events.one()))
}

func TestWatchResumedTooLateTellsTheGapAndStartsAfresh(t *testing.T) {
	s := serve(t, newFakeNode())
	var last uint64
	for i := range fakeMemory + 1 {
		set(t, s.client, fmt.Sprint(i), "1")
	}
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{Since: &last}))
	for _, want := range []string{"gap 1-4", "put 0=1", "put 1=1", "put 2=1", "put 3=1", EventSynced} {
		require.Equal(t, want, short(events.one()))
	}
	set(t, s.client, "d", "1")
	require.Equal(t, "put d=1", short(events.one()))
}

func TestWatchResumedFromAnotherLifeOfTheNode(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "a", "1")
	last := uint64(1000)
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{Since: &last}))
	require.Equal(t, "gap 1-1", short(events.one()))
	require.Equal(t, "put a=1", short(events.one()))
	require.Equal(t, Uint64(1), events.one().ID, "its own numbers count again")
	set(t, s.client, "b", "1")
	require.Equal(t, Uint64(2), events.one().ID)
}

// TestBrowserResumesByHeader reads the stream as it is on the wire.
func TestBrowserResumesByHeader(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "a", "1")
	set(t, s.client, "a", "x<y")
	lines := s.lines("/v1/watch/state", "Last-Event-ID", "1", "Accept", eventStream)
	require.Equal(t, eventStream, lines.header.Get("Content-Type"))
	require.Equal(t, []string{"id: 1", "event: synced", "data: {}", ""}, lines.take(4))
	put := lines.take(4)
	require.Equal(t, []string{"id: 2", "event: put"}, put[:2])
	require.Contains(t, put[2], `"text":"x<y"`)

	lines = s.lines("/v1/watch/state", "Last-Event-ID", "99", "Accept", eventStream)
	require.Equal(t, []string{"event: gap", `data: {"from":"1","to":"2"}`, ""}, lines.take(3))
	require.Equal(t, "event: put", lines.take(3)[0])
	require.Equal(t, []string{"id: 2", "event: synced", "data: {}", ""}, lines.take(4))
}

func TestStreamAsNDJSON(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "a", "1")
	lines := s.lines("/v1/watch/state?initial=true", "Accept", ndjson)
	require.Equal(t, ndjson, lines.header.Get("Content-Type"))
	put := object(t, lines.take(1)[0])
	require.Equal(t, "put", put["event"])
	require.Equal(t, "a", put["data"].(map[string]any)["value"].(map[string]any)["key"])
	require.JSONEq(t, `{"event":"synced","id":"1","data":{}}`, lines.take(1)[0])
}

// wire is a stream read line by line.
type wireLines struct {
	t       *testing.T
	header  http.Header
	scanner *bufio.Scanner
}

func (s *served) lines(path string, header ...string) *wireLines {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://localhost"+path, nil)
	require.NoError(s.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.http.Do(req)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
	s.t.Cleanup(func() { resp.Body.Close() })
	return &wireLines{s.t, resp.Header, bufio.NewScanner(resp.Body)}
}

func (l *wireLines) take(n int) []string {
	l.t.Helper()
	var out []string
	for range n {
		require.True(l.t, l.scanner.Scan(), "the stream has ended")
		out = append(out, l.scanner.Text())
	}
	return out
}

func TestSlowReaderIsToldTheGapAndGetsAFreshSnapshot(t *testing.T) {
	s := serve(t, newFakeNode())
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{}))
	require.Equal(t, EventSynced, events.one().Kind)
	topic := s.node.main()
	large := strings.Repeat("x", wire.MaxValue)
	written := 0
	for ; topic.drops() == 0; written++ { // until the socket's buffers and the reader's queue are full
		set(t, s.client, fmt.Sprintf("%04d", written), large)
	}
	set(t, s.client, "last", "1")
	seen := map[string]bool{}
	var e Event
	for e = events.one(); e.Kind == EventPut; e = events.one() {
		seen[e.Value.Key] = true
	}
	require.Equal(t, EventGap, e.Kind)
	require.Equal(t, Uint64(len(seen)+1), e.Gap.From)
	require.Equal(t, Uint64(written+1), e.Gap.To)
	clear(seen)
	for e = events.one(); e.Kind == EventPut; e = events.one() {
		seen[e.Value.Key] = true
	}
	require.Equal(t, EventSynced, e.Kind)
	require.Len(t, seen, written+1, "all there is")
	set(t, s.client, "after", "1")
	require.Equal(t, "put after=1", short(events.one()))
	text, err := s.client.Metrics(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(text), "p2pnode_api_stream_gaps_total 1\n")
	require.Contains(t, string(text), "p2pnode_api_streams 1\n")
}

func TestErrorOfTheNodeEndsTheStream(t *testing.T) {
	n := newFakeNode()
	s := serve(t, n)
	events := read(t, s.client.WatchMembers(t.Context()))
	go func() {
		n.transitions <- replica.Transition{
			ID: testPeer(2), Name: "n2", From: "alive", To: "suspect", Phi: 8.2, Accusers: []peer.ID{testPeer(3)},
			Timeout: 3200 * time.Millisecond, Reason: "no beat",
		}
		close(n.transitions)
	}()
	require.Equal(t, Transition{
		ID: testPeer(2).String(), Name: "n2", From: "alive", To: "suspect", Phi: 8.2, Accusers: []string{testPeer(3).String()},
		Timeout: 3.2, Reason: "no beat",
	}, events.one())
	_, err, ok := events.next()
	require.True(t, ok)
	require.Equal(t, node.CodeStopped, codeOf(t, err))
	_, _, ok = events.next()
	require.False(t, ok)
}

func TestStreamOfUnknownThingsIsAnOrdinaryError(t *testing.T) {
	s := serve(t, newFakeNode())
	for _, err := range s.client.WithTopic("none").WatchState(t.Context(), WatchOptions{}) {
		require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))
	}
	for _, err := range s.client.WatchJob(t.Context(), "none") {
		require.Equal(t, node.CodeUnknownJob, codeOf(t, err))
	}
}

func TestStreamEndsWithItsReader(t *testing.T) {
	s := serve(t, newFakeNode())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for e, err := range s.client.WatchState(ctx, WatchOptions{}) {
		require.NoError(t, err, "when the context ends there is no error")
		require.Equal(t, EventSynced, e.Kind)
		n++
		cancel()
	}
	require.Equal(t, 1, n)
}

func TestHeadOfAStreamIsJustThat(t *testing.T) {
	s := serve(t, newFakeNode())
	a := s.raw("HEAD", "/v1/watch/state", "")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, eventStream, a.header.Get("Content-Type"))
	require.Empty(t, a.body)
}

func TestStreamEndsWithTheServer(t *testing.T) {
	s := serve(t, newFakeNode())
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{}))
	require.Equal(t, EventSynced, events.one().Kind)
	s.cancel()
	_, err, ok := events.next()
	require.True(t, ok)
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
}

// recorder is an answer in memory, for streams in virtual time.
type recorder struct {
	*httptest.ResponseRecorder
	mu    sync.Mutex
	times []time.Time // of each flush
}

func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ResponseRecorder.Write(b)
}

// text is what was written so far.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Body.String()
}

func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, time.Now())
}

// inMemory runs a GET of path against a server without a listener until ctx ends.
func inMemory(t *testing.T, ctx context.Context, n *fakeNode, path string) (*recorder, <-chan struct{}) {
	t.Helper()
	server, err := New(n, config(t, "unix:none"))
	require.NoError(t, err)
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	rec := &recorder{ResponseRecorder: httptest.NewRecorder()}
	done := make(chan struct{})
	go func() { defer close(done); server.handler.ServeHTTP(rec, req) }()
	return rec, done
}

func TestQuietStreamPingsEvery15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := newFakeNode()
		rec, done := inMemory(t, ctx, n, "/v1/watch/state")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, err := n.main().Set(ctx, "k", []byte("v"), replica.WriteOptions{})
		require.NoError(t, err)
		time.Sleep(14 * time.Second)
		synctest.Wait()
		require.NotContains(t, rec.text(), "event: ping", "an event is as good as a ping")
		time.Sleep(20 * time.Second)
		cancel()
		<-done
		require.Equal(t, 2, strings.Count(rec.text(), "event: ping\n"))
		require.Contains(t, rec.text(), `data: {"time":"`)
	})
}

func TestProgressComesTwiceASecondAtMostAndEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		jobs := n.jobs["main"]
		id, err := jobs.Submit(t.Context(), nonce.Job{Kind: "sha256d", Range: nonce.Range{End: 10_000}, Target: nonce.Target{1}})
		require.NoError(t, err)
		rec, done := inMemory(t, t.Context(), n, "/v1/jobs/"+id.String()+"/events")
		start := time.Now()
		for range 100 { // 100 changes in 10 s
			time.Sleep(100 * time.Millisecond)
			jobs.change(id, func(p *nonce.Progress) { p.Done += 50 })
		}
		jobs.change(id, func(p *nonce.Progress) { p.State = nonce.Exhausted; p.Done = p.Total })
		<-done
		require.Less(t, time.Since(start), 11*time.Second)
		for i := 3; i < len(rec.times)-1; i++ {
			require.GreaterOrEqual(t, rec.times[i].Sub(rec.times[i-1]), jobInterval)
		}
		var last Job
		seen := 0
		for e, err := range readEvents(strings.NewReader(rec.text())) {
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(e.data, &last))
			seen++
			if seen > 3 && !last.Ended() {
				require.InDelta(t, 500, *last.NetworkRate, 100, "50 each 100 ms")
				require.InDelta(t, float64(last.Total-last.Done) / *last.NetworkRate, *last.ETASeconds, 0.001)
			}
		}
		require.Greater(t, seen, 15)
		require.LessOrEqual(t, seen, 22)
		require.Equal(t, JobExhausted, last.State)
		require.Equal(t, last.Total, last.Done)
	})
}

func TestAtMostPassesAnErrorAfterTheNewestItem(t *testing.T) {
	failure := errors.New("failure")
	seq := func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			_ = yield(1, nil) && yield(2, nil) && yield(3, nil) && yield(0, failure)
		}
	}
	var got []int
	var last error
	for v, err := range atMost(t.Context(), time.Hour, seq) {
		if err != nil {
			last = err
			break
		}
		got = append(got, v)
	}
	require.Equal(t, []int{1, 3}, got)
	require.ErrorIs(t, last, failure)
}

func TestReadEventsFollowsTheStandard(t *testing.T) {
	text := ": comment\n\nevent: a\ndata: 1\ndata:2\nid: 7\n\ndata: x\n\nid: 8\n\nevent:b\nretry: 5\nfoo: bar\ndata:  y\n\ndata: cut off"
	var got []string
	for e, err := range readEvents(strings.NewReader(text)) {
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%s/%d/%s", e.name, e.id, e.data))
	}
	require.Equal(t, []string{"a/7/1\n2", "/0/x", "b/0/ y"}, got)
}
