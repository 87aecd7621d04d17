package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// inProcess gives the answer of handler without a connection.
func inProcess(t *testing.T, handler http.Handler, method, path string) answer {
	t.Helper()
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil))
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

func TestStatusHasItsPromisedShape(t *testing.T) {
	n := newFakeNode()
	n.setStatus(node.Status{
		Info: n.info, Uptime: 3*time.Hour + 12*time.Minute, Joined: true, Peers: 7,
		Bootstrap: node.Bootstrap{Wanted: 2, Connected: 1, Failures: map[string]string{"/dns4/b1": "name not found"}},
		Members:   node.MemberCount{Alive: 12, Suspect: 1, Left: 2},
		State: []node.TopicStatus{
			{Topic: "members", Fingerprint: [32]byte{1}, MeshPeers: 4},
			{Topic: "main", Fingerprint: [32]byte{0x9c, 0x1e}, Owners: 12, Keys: 318, Tombstones: 14, Bytes: 1000, Agree: 12, Of: 12, MeshPeers: 2},
		},
		Work: node.WorkStatus{Enabled: true, Running: 1, Rate: math.Inf(1)},

		ClockOffset: new(-1500 * time.Millisecond),
		Counters:    []node.Metric{{Name: "p2pnode_x_total", Kind: node.Counter, Labels: map[string]string{"result": "ok"}, Value: 3}},
		Problems:    []node.Problem{{Level: "warn", Code: node.CodeMemberSuspected, Detail: "d", Hint: "h"}},
	})
	s := serve(t, n)
	a := s.raw("GET", "/v1/status", "")
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))
	m := object(t, a.body)
	require.Equal(t, "p2pnode.status/v1", m["schema"])
	require.Equal(t, map[string]any{
		"id": testPeer(1).String(), "name": "n1", "version": "0.1.0", "uptime_seconds": json.Number("11520"),
	}, m["node"])
	require.Equal(t, json.Number("-1.5"), m["clock_offset_seconds"])
	require.Equal(t, "lab", m["network"].(map[string]any)["name"])
	require.Equal(t, []any{}, m["network"].(map[string]any)["authorities"])
	require.Equal(t, []any{}, m["work"])

	st, err := s.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, MemberCount{Alive: 12, Suspect: 1, Left: 2}, st.Members)
	require.Equal(t, "9c1e"+strings.Repeat("00", 30), st.State.Digest, "state is that of the first topic asked for")
	require.Equal(t, 12, st.State.Agree)
	require.Len(t, st.Topics, 2)
	require.Equal(t, StatusGossip{MeshPeers: 6, Topics: 2}, st.Gossip)
	require.Equal(t, "name not found", st.Bootstrap.Failures["/dns4/b1"])
	require.Equal(t, Metric{Name: "p2pnode_x_total", Kind: "counter", Labels: map[string]string{"result": "ok"}, Value: 3}, st.Counters[0])
	require.Equal(t, node.CodeMemberSuspected, st.Problems[0].Code)
	require.Equal(t, 7, st.Peers)

	n.mu.Lock()
	n.statusErr = replica.ErrStopped
	n.mu.Unlock()
	_, err = s.client.Status(t.Context())
	require.Equal(t, node.CodeStopped, codeOf(t, err))
}

func TestEmptyListsAreListsInJSON(t *testing.T) {
	s := serve(t, newFakeNode())
	status := s.raw("GET", "/v1/status", "").body
	require.NotContains(t, strings.Replace(status, `"clock_offset_seconds":null`, "", 1), "null", "a clock that is not known is no list")
	require.JSONEq(t, `{"items":[],"next_cursor":null}`, s.raw("GET", "/v1/peers", "").body)
	require.JSONEq(t, `{"items":[],"next_cursor":null}`, s.raw("GET", "/v1/jobs", "").body)
	require.NotContains(t, s.raw("GET", "/v1/digest", "").body, "members")
	require.Contains(t, s.raw("GET", "/v1/digest?all=1", "").body, `"members":[]`)
}

func TestNodeAndVersion(t *testing.T) {
	s := serve(t, newFakeNode())
	info, err := s.client.Node(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"main", "extra"}, info.Topics)
	require.Equal(t, []string{"/ip4/127.0.0.1/tcp/4747/p2p/" + testPeer(1).String()}, info.Addrs)
	require.Equal(t, []string{"/ip4/127.0.0.1/tcp/4747"}, info.Listen)
	require.Contains(t, s.raw("GET", "/v1/node", "").body, `"started":"2026-11-22T07:24:53.292Z"`)
	v, err := s.client.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, "0.1.0", v.Version)
	require.Equal(t, Protocol{1, 1, 1}, v.Protocol)
}

func TestPeersAreListedByID(t *testing.T) {
	n := newFakeNode()
	n.peers = []node.Peer{
		{ID: testPeer(3), Direction: "in", Transport: "tcp", Relayed: true},
		{
			ID: testPeer(2), Name: "n2", Direction: "out", Transport: "quic-v1", RTT: 11 * time.Millisecond, Mesh: []string{"main"},
			Addr: multiaddr.StringCast("/ip4/127.0.0.1/udp/4747/quic-v1"), Since: time.Unix(1_795_000_000, 0),
		},
	}
	s := serve(t, n)
	peers, err := s.client.Peers(t.Context())
	require.NoError(t, err)
	require.Len(t, peers, 2)
	require.Less(t, peers[0].ID, peers[1].ID)
	for _, p := range peers {
		if p.ID == testPeer(2).String() {
			require.InDelta(t, 0.011, *p.RTTSeconds, 1e-9)
			require.Equal(t, "direct", p.Path)
			require.Equal(t, []string{"main"}, p.Mesh)
		} else {
			require.Nil(t, p.RTTSeconds)
			require.Equal(t, "relay", p.Path)
			require.Equal(t, []string{}, p.Mesh)
			require.True(t, p.Since.IsZero())
		}
	}
}

func TestMembersByStatusAndTag(t *testing.T) {
	n := newFakeNode()
	n.members[2].Phi = math.Inf(1)
	n.members[1].Neighbour, n.members[1].ClockKnown, n.members[1].Clock = true, true, -2*time.Minute
	n.members[0].Generation = 1_795_000_000<<16 | 77
	n.info.MaxClockSkew = time.Minute
	n.reach = map[peer.ID]node.Reach{testPeer(1): {
		Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/203.0.113.7/tcp/4747")}, Status: node.ReachPublic, Protocol: 1,
	}}
	s := serve(t, n)
	for name, c := range map[string]struct {
		filter MemberFilter
		want   []string
	}{
		"all":                {MemberFilter{}, []string{"n1", "n2", "twin", "twin"}},
		"alive":              {MemberFilter{Status: "alive"}, []string{"n1", "n2"}},
		"with a tag":         {MemberFilter{Tag: "zone"}, []string{"n1", "n2"}},
		"with a tag's value": {MemberFilter{Tag: "zone=us"}, []string{"n2"}},
		"with an empty one":  {MemberFilter{Tag: "zone="}, nil},
		"of both":            {MemberFilter{Status: "dead", Tag: "zone"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := s.client.Members(t.Context(), c.filter)
			require.NoError(t, err)
			var names []string
			for _, m := range all {
				names = append(names, m.Name)
			}
			require.ElementsMatch(t, c.want, names)
		})
	}
	m, err := s.client.Member(t.Context(), "n2")
	require.NoError(t, err)
	require.Equal(t, Uint64(1<<60), m.Generation)
	require.Len(t, m.Story, 2)
	require.Equal(t, []string{testPeer(1).String()}, m.Story[1].Accusers)
	require.InDelta(t, 3.2, m.Story[1].Timeout, 0)
	require.Contains(t, s.raw("GET", "/v1/members", "").body, `"suspected_by":[]`, "never null")
	require.NotContains(t, s.raw("GET", "/v1/members", "").body, `"story"`)
	require.Contains(t, s.raw("GET", "/v1/members/n2", "").body, `"generation":"1152921504606846976"`)
	m, err = s.client.Member(t.Context(), testPeer(3).String())
	require.NoError(t, err)
	require.InDelta(t, maxPhi, m.Phi, 0, "JSON has no infinity")
	m, err = s.client.Member(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "0.1.0", m.Version)
	require.True(t, m.Self)
	require.Equal(t, time.Unix(1_795_000_000, 0).UTC(), m.Began.Time)
	require.Equal(t, "public", m.Reachability)
	require.Equal(t, []string{"/ip4/203.0.113.7/tcp/4747"}, m.Addrs)
	require.Equal(t, new(1), m.Protocol)
	require.Equal(t, new(0), m.StateLag)
	m, err = s.client.Member(t.Context(), "n2")
	require.NoError(t, err)
	require.True(t, m.ClockSkewed)
	require.Equal(t, []float64{0, 0.3, 9.1, maxPhi}, m.PhiHistory)
	require.InDelta(t, 2, m.PhiInterval, 0)
	require.Contains(t, s.raw("GET", "/v1/members/n1", "").body, `"phi_history":[]`)
	require.Nil(t, m.Protocol)
	require.Nil(t, m.StateLag, "it differs, by how much its beats do not say")
	require.True(t, m.Began.IsZero(), "that generation tells no time")
	require.Contains(t, s.raw("GET", "/v1/members/n2", "").body, `"addrs":[]`)
}

func TestMemberIsFoundByWhatPeopleWrite(t *testing.T) {
	s := serve(t, newFakeNode())
	id := testPeer(2).String()
	for _, who := range []string{id, "n2", id[len(id)-4:], id[len(id)-10:]} {
		m, err := s.client.Member(t.Context(), who)
		require.NoError(t, err, who)
		require.Equal(t, id, m.ID)
	}
	for who, code := range map[string]string{
		"nobody":             node.CodeUnknownMember,
		id[len(id)-3:]:       node.CodeUnknownMember, // shorter than 4
		testPeer(9).String(): node.CodeUnknownMember, // an id, but no member's
		"twin":               node.CodeAmbiguousPeer,
		"a/b c":              node.CodeUnknownMember,
		"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N": node.CodeBadPeerID, // no Ed25519 key
	} {
		_, err := s.client.Member(t.Context(), who)
		require.Equal(t, code, codeOf(t, err), who)
	}
}

func TestEveryErrorOfTheNodeHasItsCode(t *testing.T) {
	n := newFakeNode()
	s := serve(t, n)
	for _, c := range []struct {
		err  error
		code string
	}{
		{replica.ErrReservedKey, node.CodeReservedKey},
		{replica.ErrStopped, node.CodeStopped},
		{replica.ErrIdentityConflict, node.CodeIdentityConflict},
		{replica.ErrNotFound, node.CodeNotFound},
		{&gossipstate.KeyError{Key: "k", Reason: "is odd"}, node.CodeBadKey},
		{&gossipstate.ValueTooLargeError{Size: 70000, Limit: 65536}, node.CodeValueTooLarge},
		{&gossipstate.QuotaError{What: "entries", Size: 4097, Limit: 4096}, node.CodeQuotaExceeded},
		{&replica.ConflictError{Key: "k", Have: 2, Want: 1}, node.CodeVersionConflict},
		{gossipstate.ErrClockExhausted, node.CodeClockExhausted},
		{syscall.ENOSPC, node.CodeDiskFull},
		{context.DeadlineExceeded, node.CodeTimeout},
		{node.NewError(node.CodeUnknownTopic, nil, "detail", "hint"), node.CodeUnknownTopic},
		{errors.New(strings.Repeat("surprise ", 50)), node.CodeInternal},
	} {
		n.main().err = fmt.Errorf("put: %w", c.err)
		a := s.raw("PUT", "/v1/state/k", "v")
		e := a.problem(t)
		require.Equal(t, c.code, e.Code)
		explained, known := node.Explain(c.code)
		require.True(t, known)
		require.Equal(t, explained.Status, a.status, c.code)
		require.Equal(t, "k", e.Key)
		require.Equal(t, "/v1/state/k", e.Instance)
		_, err := s.client.Set(t.Context(), "k", nil, WriteOptions{})
		require.Equal(t, c.code, codeOf(t, err))
	}
	n.main().err = nil
	_, err := s.client.WithTopic("members").Set(t.Context(), "k", nil, WriteOptions{})
	require.Equal(t, node.CodeReservedKey, codeOf(t, err))
}

func TestMetricsOfNodeAndAPI(t *testing.T) {
	n := newFakeNode()
	n.metrics = []node.Metric{
		{Name: "p2pnode_members", Help: "Members.", Kind: node.Gauge, Labels: map[string]string{"status": "alive"}, Value: 12},
		{Name: "p2pnode_members", Help: "Members.", Kind: node.Gauge, Labels: map[string]string{"status": "dead"}, Value: 1},
		{Name: "p2pnode_work_nonces_total", Help: "Nonces.", Kind: node.Counter, Labels: map[string]string{"result": "done"}, Value: 1e10},
	}
	s := serve(t, n)
	_, err := s.client.Status(t.Context())
	require.NoError(t, err)
	s.raw("GET", "/none/of/these", "")
	text, err := s.client.Metrics(t.Context())
	require.NoError(t, err)
	for _, line := range []string{
		"# TYPE p2pnode_members gauge", "# HELP p2pnode_members Members.",
		`p2pnode_members{status="alive"} 12`, `p2pnode_members{status="dead"} 1`,
		"# TYPE p2pnode_work_nonces_total counter", `p2pnode_work_nonces_total{result="done"} 1e+10`,
		`p2pnode_api_requests_total{code="200",method="GET",route="/v1/status"} 1`,
		`p2pnode_api_requests_total{code="404",method="other",route="none"} 1`,
		"p2pnode_api_streams 0", "# TYPE go_goroutines gauge",
	} {
		require.Contains(t, string(text), line+"\n")
	}
	require.NotContains(t, string(text), testPeer(1).String())
}

func TestBadMetricDoesNotHideTheOthers(t *testing.T) {
	n := newFakeNode()
	n.metrics = []node.Metric{{Name: "p2pnode_ok", Help: "h", Value: 1}, {Name: "bad name\xff", Help: "h", Value: 1}}
	s := serve(t, n)
	text, err := s.client.Metrics(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(text), "p2pnode_ok 1\n")
}

func TestOpenAPIDescribesEveryPath(t *testing.T) {
	s := serve(t, newFakeNode())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { s.raw("GET", "/openapi.json", "") })
	}
	group.Wait()
	a := s.raw("GET", "/openapi.json", "")
	require.Equal(t, "application/openapi+json", a.header.Get("Content-Type"))
	doc := object(t, a.body)
	require.Equal(t, "3.1.0", doc["openapi"])
	paths := doc["paths"].(map[string]any)
	for path, methods := range map[string][]string{
		"/livez": {"get"}, "/readyz": {"get"}, "/v1/health": {"get"}, "/v1/status": {"get"}, "/v1/node": {"get"}, "/v1/version": {"get"},
		"/v1/peers": {"get"}, "/v1/members": {"get"}, "/v1/members/{id}": {"get"}, "/v1/events": {"get"},
		"/v1/state": {"get"}, "/v1/state/{key}": {"get", "put", "delete"}, "/v1/watch/state": {"get"}, "/v1/digest": {"get"},
		"/v1/jobs": {"get", "post"}, "/v1/jobs/{id}": {"get"}, "/v1/jobs/{id}/cancel": {"post"}, "/v1/jobs/{id}/events": {"get"},
		"/v1/stop": {"post"}, "/v1/proof/{key}": {"get"}, "/v1/export": {"get"}, "/v1/import": {"post"},
	} {
		for _, method := range methods {
			op := paths[path].(map[string]any)[method].(map[string]any)
			require.NotEmpty(t, op["summary"], path)
			failure := op["responses"].(map[string]any)["default"].(map[string]any)["content"].(map[string]any)
			require.Contains(t, failure, "application/problem+json", path)
		}
		delete(paths, path)
	}
	require.Empty(t, paths)
	require.Contains(t, a.body, `"Event lost"`)
	value := doc["components"].(map[string]any)["schemas"].(map[string]any)["Value"].(map[string]any)["properties"].(map[string]any)
	require.Equal(t, "string", value["version"].(map[string]any)["type"])
	require.NotContains(t, a.body, "unpkg")
}

func TestUint64IsDecimalAndNothingElse(t *testing.T) {
	text, err := json.Marshal(struct{ N Uint64 }{math.MaxUint64})
	require.NoError(t, err)
	require.JSONEq(t, `{"N":"18446744073709551615"}`, string(text))
	var v struct{ N Uint64 }
	require.NoError(t, json.Unmarshal(text, &v))
	require.Equal(t, Uint64(math.MaxUint64), v.N)
	for _, bad := range []string{`1`, `"-1"`, `"0x1"`, `"1e3"`, `""`, `" 1"`, `"18446744073709551616"`, `"1_000"`} {
		require.Error(t, json.Unmarshal([]byte(`{"N":`+bad+`}`), &v), bad)
	}
}

func TestTimeIsUTCWithMilliseconds(t *testing.T) {
	at := Time{time.Date(2026, 11, 22, 8, 24, 53, 292_999_999, time.FixedZone("", 3600))}
	text, err := json.Marshal([]Time{at, {}})
	require.NoError(t, err)
	require.Equal(t, `["2026-11-22T07:24:53.292Z",null]`, string(text))
	var back []Time
	require.NoError(t, json.Unmarshal(text, &back))
	require.True(t, back[0].Equal(at.Truncate(time.Millisecond)))
	require.True(t, back[1].IsZero())
	require.Error(t, json.Unmarshal([]byte(`["yesterday"]`), &back))
}
