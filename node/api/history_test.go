package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

func TestWhatStoodUnderAKeyIsListedReadAndBroughtBack(t *testing.T) {
	s := serve(t, newFakeNode())
	_, err := s.client.Set(t.Context(), "k", []byte("first"), WriteOptions{ContentType: "text/x-colour"})
	require.NoError(t, err)
	set(t, s.client, "k", "second")
	_, err = s.client.Delete(t.Context(), "k", WriteOptions{})
	require.NoError(t, err)

	history, err := s.client.History(t.Context(), "k", "")
	require.NoError(t, err)
	var seen []string
	for _, v := range history.Items {
		seen = append(seen, fmt.Sprintf("%d %s %v %v", v.Version, v.Value.Value, v.Deleted, v.Current))
	}
	require.Equal(t, []string{"3  true true", "2 second false false", "1 first false false"}, seen)
	require.False(t, history.Cut)

	old, err := s.client.At(t.Context(), "k", "", 1)
	require.NoError(t, err)
	require.Equal(t, "first", string(old.Value))
	for version, why := range map[uint64]string{3: "version 3 of k is a deletion", 9: "remembers no version 9 of k"} {
		_, err = s.client.At(t.Context(), "k", "", version)
		require.Equal(t, node.CodeNotFound, codeOf(t, err))
		require.ErrorContains(t, err, why)
		_, err = s.client.Revert(t.Context(), "k", version, WriteOptions{})
		require.Equal(t, node.CodeNotFound, codeOf(t, err))
	}

	w, err := s.client.Revert(t.Context(), "k", 1, WriteOptions{})
	require.NoError(t, err)
	require.Equal(t, "first", string(w.Value.Value))
	require.Equal(t, Uint64(4), w.Version, "it is a new version")
	require.Equal(t, "text/x-colour", w.ContentType)
	_, err = s.client.Revert(t.Context(), "k", 2, WriteOptions{IfVersion: new(uint64(3))})
	require.Equal(t, node.CodeVersionConflict, codeOf(t, err))

	_, err = s.client.History(t.Context(), "nothing", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	set(t, s.client, "cut", "1")
	history, err = s.client.History(t.Context(), "cut", "n1")
	require.NoError(t, err)
	require.True(t, history.Cut)
	_, err = s.client.History(t.Context(), "k", "n2")
	require.Equal(t, node.CodeNotFound, codeOf(t, err), "another owner's")
}

func TestHistoryAsItIsOnTheWire(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "a/b", "1")
	a := s.raw("GET", "/v1/state/a/b?history=1", "")
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Empty(t, a.header.Get("ETag"), "it is of no one version")
	all := object(t, a.body)
	require.Nil(t, all["next_cursor"])
	require.Equal(t, false, all["cut"])
	require.Equal(t, true, all["items"].([]any)[0].(map[string]any)["current"])

	a = s.raw("GET", "/v1/state/a/b?at=1", "")
	require.Equal(t, `"1"`, a.header.Get("ETag"))
	require.Equal(t, "a/b", object(t, a.body)["key"])
	for _, query := range []string{"at=0", "at=x", "at=18446744073709551616", "at=1&history=1"} {
		e := s.raw("GET", "/v1/state/a/b?"+query, "").problem(t)
		require.Equal(t, node.CodeValidation, e.Code, query)
		require.Equal(t, "query.at", e.Errors[0].Location, query)
	}
}

// A condition is met or nothing is written: by PUT and by DELETE, on shared keys and on keys of one's own.
func TestAConditionThatDoesNotHoldIsAnsweredBy412(t *testing.T) {
	s := serve(t, newFakeNode())
	for _, key := range []string{"k", "~/k"} {
		set(t, s.client, key, "1")
		set(t, s.client, key, "2")
		for _, method := range []string{"PUT", "DELETE"} {
			for _, header := range [][]string{{"If-Match", `"1"`}, {"If-None-Match", "*"}} {
				a := s.raw(method, "/v1/state/"+key, "3", header...)
				require.Equal(t, http.StatusPreconditionFailed, a.status)
				e := a.problem(t)
				require.Equal(t, node.CodeVersionConflict, e.Code)
				require.Equal(t, Uint64(2), *e.Version)
			}
		}
		v, err := s.client.Get(t.Context(), key, "")
		require.NoError(t, err)
		require.Equal(t, "2", string(v.Value))
		require.Equal(t, http.StatusOK, s.raw("DELETE", "/v1/state/"+key, "", "If-Match", `"2"`).status)
	}
}

func TestALostValueIsToldWithWhatDecided(t *testing.T) {
	s := serve(t, newFakeNode())
	set(t, s.client, "k", "red")
	events := read(t, s.client.WatchState(t.Context(), WatchOptions{}))
	require.Equal(t, EventSynced, events.one().Kind)
	topic := s.node.main()
	topic.mu.Lock()
	topic.seq++
	topic.emit(replica.Event{
		Seq: topic.seq, Kind: replica.Lost, Remote: true, Cause: replica.CauseRumor,
		Old: replica.Value{Key: "k", Owner: testPeer(1), Clock: 1, Value: []byte("red")},
		New: replica.Value{Key: "k", Owner: testPeer(2), Clock: 1, Value: []byte("teal")},
	})
	topic.mu.Unlock()
	e := events.one()
	require.Equal(t, "lost k=red to teal", short(e))
	require.Equal(t, "same clock, higher id wins", e.Why)
	require.Equal(t, "rumor", e.Cause)
}
