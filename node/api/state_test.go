package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
)

func TestWhatIsSetIsReadBack(t *testing.T) {
	s := serve(t, newFakeNode())
	w, err := s.client.Set(t.Context(), "app/color", []byte("teal"), WriteOptions{TTL: time.Hour})
	require.NoError(t, err)
	require.Equal(t, Uint64(1), w.Version)
	require.Equal(t, 2, w.PeersSent)
	require.Nil(t, w.Wait)

	v, err := s.client.Get(t.Context(), "app/color", "")
	require.NoError(t, err)
	require.Equal(t, w.Value, v)
	require.Equal(t, "teal", string(v.Value))
	require.Equal(t, "teal", *v.Text)
	require.Equal(t, "text/plain", v.ContentType)
	require.Equal(t, testPeer(1).String(), v.Owner)
	require.Equal(t, v.Written.Add(time.Hour), v.Expires.Time)

	for _, owner := range []string{testPeer(1).String(), "n1", testPeer(1).String()[44:]} {
		own, err := s.client.Get(t.Context(), "app/color", owner)
		require.NoError(t, err, owner)
		require.Equal(t, v, own)
	}
	_, err = s.client.Get(t.Context(), "app/color", "n2")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))

	d, err := s.client.Delete(t.Context(), "app/color", WriteOptions{})
	require.NoError(t, err)
	require.True(t, d.Deleted)
	require.Equal(t, Uint64(2), d.Version)
	_, err = s.client.Get(t.Context(), "app/color", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	_, err = s.client.Delete(t.Context(), "app/color", WriteOptions{})
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
}

func TestTopicsAreApart(t *testing.T) {
	s := serve(t, newFakeNode())
	extra := s.client.WithTopic("extra")
	_, err := extra.Set(t.Context(), "k", []byte("v"), WriteOptions{})
	require.NoError(t, err)
	_, err = s.client.Get(t.Context(), "k", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	_, err = s.client.WithTopic("main").Get(t.Context(), "k", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	v, err := extra.Get(t.Context(), "k", "")
	require.NoError(t, err)
	require.Equal(t, "v", *v.Text)
	_, err = s.client.WithTopic("none").Get(t.Context(), "k", "")
	require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))
}

func TestValueOnTheWireHasStringsForLargeNumbers(t *testing.T) {
	n := newFakeNode()
	n.main().fromPeer(replica.Value{
		Key: "big", Owner: testPeer(2), Clock: math.MaxUint64, Version: 1<<53 + 1, Value: []byte{0xff, 0}, Root: [32]byte{0xab},
	})
	s := serve(t, n)
	a := s.raw("GET", "/v1/state/big", "")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, `"18446744073709551615"`, a.header.Get("ETag"))
	require.Equal(t, map[string]any{
		"key": "big", "owner": testPeer(2).String(), "version": "18446744073709551615", "owner_version": "9007199254740993",
		"value": "/wA=", "encoding": "base64", "size": jsonNumber("2"), "content_type": "", "written": nil, "expires": nil,
		"digest": "ab" + strings.Repeat("00", 31), "deleted": false,
	}, object(t, a.body))
}

func TestEveryKeyCanBeWritten(t *testing.T) {
	s := serve(t, newFakeNode())
	keys := []string{
		"a", "app/color", "a//b", "/a", "a/", ".", "..", "../x", "a/./b", "a/../b", "//", "a b", "a?b=c#d", "a%2Fb", "~/own",
		"ключ/鍵", "a+b&c", "\x00\x01", "%", strings.Repeat("k", wire.MaxKey), "a;b", "{key}", `a\b`,
	}
	for _, key := range keys {
		_, err := s.client.Set(t.Context(), key, []byte(key), WriteOptions{})
		require.NoError(t, err, "%q", key)
	}
	for _, key := range keys {
		v, err := s.client.Get(t.Context(), key, "")
		require.NoError(t, err, "%q", key)
		require.Equal(t, key, v.Key)
		require.Equal(t, key, string(v.Value))
	}
	// what a person types is not cleaned up behind their back either
	require.Equal(t, "a//b", object(t, s.raw("GET", "/v1/state/a//b", "").body)["key"])
}

func TestKeyThatIsNoneIsRefused(t *testing.T) {
	s := serve(t, newFakeNode())
	_, err := s.client.Set(t.Context(), "", nil, WriteOptions{})
	require.Error(t, err)
	long := strings.Repeat("k", wire.MaxKey+1)
	a := s.raw("PUT", "/v1/state/"+long, "v")
	e := a.problem(t)
	require.Equal(t, node.CodeBadKey, e.Code)
	require.Equal(t, http.StatusBadRequest, e.Status)
	require.NotContains(t, a.body, strings.Repeat("k", maxEcho+1), "no more than 64 bytes of what was sent come back")
}

func TestBodyIsTheValueByteByByte(t *testing.T) {
	s := serve(t, newFakeNode())
	for name, c := range map[string]struct{ body, sent, kept string }{
		"text without a type":   {"teal", "", "text/plain"},
		"bytes without a type":  {"\xff\x00", "", "application/octet-stream"},
		"control characters":    {"a\x1b[2J", "", "application/octet-stream"},
		"what curl -d sends":    {"teal", "application/x-www-form-urlencoded", "text/plain"},
		"JSON is not read":      {`{"a": 1 }`, "application/json", "application/json"},
		"broken JSON neither":   {`{"a"`, "application/json", "application/json"},
		"a type of its own":     {"x", "image/x-foo; a=b", "image/x-foo; a=b"},
		"an empty value is one": {"", "", "text/plain"},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{}
			if c.sent != "" {
				header = []string{"Content-Type", c.sent}
			}
			a := s.raw("PUT", "/v1/state/k", c.body, header...)
			require.Equal(t, http.StatusOK, a.status, a.body)
			got := object(t, s.raw("GET", "/v1/state/k", "").body)
			require.Equal(t, base64.StdEncoding.EncodeToString([]byte(c.body)), got["value"])
			require.Equal(t, c.kept, got["content_type"])
		})
	}
}

func TestValueOfEverySizeUpToTheLimit(t *testing.T) {
	s := serve(t, newFakeNode())
	for _, size := range []int{1, 1 << 10, wire.MaxValue - 1, wire.MaxValue} {
		value := []byte(strings.Repeat("é", size))[:size]
		_, err := s.client.Set(t.Context(), "k", value, WriteOptions{})
		require.NoError(t, err, size)
		v, err := s.client.Get(t.Context(), "k", "")
		require.NoError(t, err)
		require.Equal(t, value, v.Value)
	}
	for _, size := range []int{wire.MaxValue + 1, 8 << 20} {
		_, err := s.client.Set(t.Context(), "k", make([]byte, size), WriteOptions{})
		var e *Error
		require.ErrorAs(t, err, &e, size)
		require.Equal(t, node.CodeValueTooLarge, e.Code)
		require.Equal(t, http.StatusRequestEntityTooLarge, e.Status)
		require.Contains(t, e.Detail, "65536")
		require.NotEmpty(t, e.Hint)
	}
	v, err := s.client.Get(t.Context(), "k", "")
	require.NoError(t, err)
	require.Len(t, v.Value, wire.MaxValue, "a refused write leaves what was there")
}

func TestConditionalWrites(t *testing.T) {
	s := serve(t, newFakeNode())
	at := func(v uint64) WriteOptions { return WriteOptions{IfVersion: &v} }
	_, err := s.client.Set(t.Context(), "k", []byte("1"), at(3))
	require.Equal(t, node.CodeVersionConflict, codeOf(t, err))
	_, err = s.client.Set(t.Context(), "k", []byte("1"), at(0))
	require.NoError(t, err)
	_, err = s.client.Set(t.Context(), "k", []byte("2"), at(0))
	require.Equal(t, node.CodeVersionConflict, codeOf(t, err))
	_, err = s.client.Set(t.Context(), "k", []byte("2"), at(1))
	require.NoError(t, err)
	_, err = s.client.Delete(t.Context(), "k", at(1))
	require.Equal(t, node.CodeVersionConflict, codeOf(t, err))

	a := s.raw("PUT", "/v1/state/k", "x", "If-Match", `"1"`)
	e := a.problem(t)
	require.Equal(t, http.StatusPreconditionFailed, e.Status)
	require.Equal(t, "k is at version 2, you asked for 1", e.Detail)
	require.Equal(t, "k", e.Key)
	require.Equal(t, Uint64(2), *e.Version)

	a = s.raw("DELETE", "/v1/state/k", "", "If-Match", `"2"`)
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Equal(t, `"3"`, a.header.Get("ETag"))

	for _, bad := range []string{"2", `"two"`, `W/"2"`, `"0"`, "*", `"1", "2"`, `""`, `"18446744073709551616"`} {
		e := s.raw("PUT", "/v1/state/k", "x", "If-Match", bad).problem(t)
		require.Equal(t, node.CodeValidation, e.Code, bad)
		require.Equal(t, "header.If-Match", e.Errors[0].Location)
	}
	require.Equal(t, node.CodeValidation, s.raw("PUT", "/v1/state/k", "x", "If-None-Match", `"2"`).problem(t).Code)
	require.Equal(t, node.CodeValidation,
		s.raw("PUT", "/v1/state/k", "x", "If-None-Match", "*", "If-Match", `"1"`).problem(t).Code)
}

func TestWriteWaitsForMembers(t *testing.T) {
	s := serve(t, newFakeNode())
	topic := s.node.main()
	topic.setSeen(2)
	w, err := s.client.Set(t.Context(), "k", nil, WriteOptions{Wait: "2"})
	require.NoError(t, err)
	require.Equal(t, 2, w.Wait.Seen)
	require.Equal(t, 3, w.Wait.Of)

	done := make(chan error, 1)
	go func() {
		_, err := s.client.Set(t.Context(), "k", nil, WriteOptions{Wait: "all", WaitTimeout: time.Minute})
		done <- err
	}()
	<-topic.waiting
	topic.setSeen(3)
	require.NoError(t, <-done)

	topic.setSeen(1)
	_, err = s.client.Set(t.Context(), "k", []byte("late"), WriteOptions{Wait: "all", WaitTimeout: time.Millisecond})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, node.CodeNotSeen, e.Code)
	require.Equal(t, http.StatusGatewayTimeout, e.Status)
	require.Contains(t, e.Detail, "seen by 1 of 3 members")
	v, err := s.client.Get(t.Context(), "k", "")
	require.NoError(t, err)
	require.Equal(t, "late", *v.Text, "the write stands")
	require.Equal(t, v.Version, *e.Version)
}

func TestWaitEndsWithItsRequest(t *testing.T) {
	s := serve(t, newFakeNode())
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.node.main().waiting; cancel() }()
	_, err := s.client.Set(ctx, "k", nil, WriteOptions{Wait: "all", WaitTimeout: time.Minute})
	require.ErrorIs(t, err, context.Canceled)
}

func TestWrongParametersAreNamed(t *testing.T) {
	s := serve(t, newFakeNode())
	for request, location := range map[string]string{
		"PUT /v1/state/k?wait=some":        "query.wait",
		"PUT /v1/state/k?wait=0":           "query.wait",
		"PUT /v1/state/k?wait=-1":          "query.wait",
		"PUT /v1/state/k?wait_timeout=5":   "query.wait_timeout",
		"PUT /v1/state/k?wait_timeout=11m": "query.wait_timeout",
		"PUT /v1/state/k?wait_timeout=-1s": "query.wait_timeout",
		"PUT /v1/state/k?ttl=5":            "query.ttl",
		"PUT /v1/state/k?ttl=999ms":        "query.ttl",
		"PUT /v1/state/k?tll=5s":           "query.tll",
		"GET /v1/state?limit=0":            "query.limit",
		"GET /v1/state?limit=1001":         "query.limit",
		"GET /v1/state?limit=many":         "query.limit",
		"GET /v1/state?cursor=!":           "query.cursor",
		"GET /v1/state?cursor=" + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{255}, 255)): "query.cursor",
		"GET /v1/state?cursor=AA":                          "query.cursor",
		"GET /v1/state?tombstones=perhaps":                 "query.tombstones",
		"GET /v1/members?status=ill":                       "query.status",
		"GET /v1/watch/state?since=-1":                     "query.since",
		"GET /v1/watch/state?since=99999999999999999999":   "query.since",
		"GET /v1/events?types=member,weather":              "query.types",
		"GET /v1/state/k?topic=" + strings.Repeat("t", 33): "query.topic",
	} {
		t.Run(request, func(t *testing.T) {
			method, path, _ := strings.Cut(request, " ")
			e := s.raw(method, path, "").problem(t)
			require.Equal(t, node.CodeValidation, e.Code)
			require.Equal(t, http.StatusUnprocessableEntity, e.Status)
			require.Equal(t, location, e.Errors[0].Location)
			require.NotEmpty(t, e.Errors[0].Message)
		})
	}
	e := s.raw("GET", "/v1/state?limit=0&tombstones=x&cursor="+strings.Repeat("c", 601), "").problem(t)
	require.Len(t, e.Errors, 3, "all faults at once")
	for _, f := range e.Errors {
		require.LessOrEqual(t, len(f.Value), maxEcho)
	}
}

func TestListPagesInOrder(t *testing.T) {
	s := serve(t, newFakeNode())
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("app/%02d", i)
		want = append(want, key)
		_, err := s.client.Set(t.Context(), key, []byte("v"), WriteOptions{})
		require.NoError(t, err)
	}
	_, err := s.client.Set(t.Context(), "other", nil, WriteOptions{})
	require.NoError(t, err)

	var got []string
	pages, path := 0, "/v1/state?prefix=app/&limit=10"
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		page := object(t, s.raw("GET", path+"&cursor="+cursor, "").body)
		for _, item := range page["items"].([]any) {
			got = append(got, item.(map[string]any)["key"].(string))
		}
		cursor, _ = page["next_cursor"].(string)
	}
	require.Equal(t, 3, pages)
	require.Equal(t, want, got)

	first := object(t, s.raw("GET", path, "").body)
	_, err = s.client.Delete(t.Context(), "app/09", WriteOptions{}) // the entry that the cursor names
	require.NoError(t, err)
	second := object(t, s.raw("GET", path+"&cursor="+first["next_cursor"].(string), "").body)
	require.Equal(t, "app/10", second["items"].([]any)[0].(map[string]any)["key"])

	live, err := s.client.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Len(t, live, 25)
	all, err := s.client.List(t.Context(), ListOptions{Prefix: "app/", Tombstones: true})
	require.NoError(t, err)
	require.Len(t, all, 25)
	require.True(t, all[9].Deleted)
	require.Nil(t, all[9].Value)
	require.Nil(t, all[9].Text)
	none, err := s.client.List(t.Context(), ListOptions{Owner: "n2"})
	require.NoError(t, err)
	require.Empty(t, none)
	require.JSONEq(t, `{"items":[],"next_cursor":null}`, s.raw("GET", "/v1/state?prefix=none", "").body)
}

func TestPageOfLargeValuesEndsEarly(t *testing.T) {
	s := serve(t, newFakeNode())
	for i := range 40 {
		_, err := s.client.Set(t.Context(), fmt.Sprintf("%02d", i), make([]byte, wire.MaxValue), WriteOptions{})
		require.NoError(t, err)
	}
	page := object(t, s.raw("GET", "/v1/state?limit=1000", "").body)
	require.Len(t, page["items"], pageBytes/wire.MaxValue)
	all, err := s.client.List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Len(t, all, 40)
}

func TestDigestAndWhoAgrees(t *testing.T) {
	s := serve(t, newFakeNode())
	_, err := s.client.Set(t.Context(), "k", []byte("v"), WriteOptions{})
	require.NoError(t, err)
	d, err := s.client.Digest(t.Context())
	require.NoError(t, err)
	require.Equal(t, "main", d.Topic)
	require.Equal(t, 1, d.Keys)
	require.Len(t, d.Digest, 64)

	topic := s.node.main()
	same := topic.digest()
	topic.answers = []replica.Agreement{
		{Peer: testPeer(3), Digest: replica.Digest{Topic: "main"}, Behind: 1},
		{Peer: testPeer(2), Digest: same},
		{Peer: testPeer(4), Err: context.DeadlineExceeded},
	}
	all, err := s.client.Ask(t.Context())
	require.NoError(t, err)
	require.Equal(t, d, all.Digest)
	require.Equal(t, 2, all.Agree, "this node and n2")
	require.Equal(t, 4, all.Of)
	byName := map[string]Agreement{}
	for _, m := range all.Members {
		byName[m.Name+m.Error] = m
	}
	require.True(t, byName["n2"].Agrees)
	require.Equal(t, 1, byName["twin"].Behind)
	require.False(t, byName["twin"].Agrees)
	require.Nil(t, byName["twin"+context.DeadlineExceeded.Error()].Digest)
}
