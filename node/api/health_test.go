package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

func TestLivezAsksTheProcessAlone(t *testing.T) {
	n := newFakeNode()
	n.setReadiness(node.Check{Name: "sync", Status: node.CheckFail, Detail: "no sync with a peer yet"})
	s := serve(t, n)
	h, err := s.client.Livez(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ok", h.Status)
	require.Equal(t, "process", h.Checks[0].Name)
	require.Equal(t, http.StatusOK, s.raw("GET", "/livez", "").status)
}

func TestReadyzIs503WithTheReasonsWhileACheckFails(t *testing.T) {
	n := newFakeNode()
	s := serve(t, n)
	started := node.Check{Name: "started", Status: node.CheckOK, Detail: "for 3 s"}
	full := node.Check{Name: "storage", Status: node.CheckFail, Detail: "no space left in /d", Hint: "free some space"}
	n.setReadiness(started, full)
	a := s.raw("GET", "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	require.JSONEq(t, `{"status":"fail","checks":[{"name":"started","status":"ok","detail":"for 3 s"},
		{"name":"storage","status":"fail","detail":"no space left in /d","hint":"free some space"}]}`, a.body)
	h, err := s.client.Readyz(t.Context())
	require.Equal(t, node.CodeNotReady, codeOf(t, err))
	require.ErrorContains(t, err, "storage: no space left in /d")
	require.NotContains(t, err.Error(), "started")
	require.Len(t, h.Checks, 2, "the answer comes with the error")

	n.setReadiness(started, node.Check{Name: "storage", Status: node.CheckWarn, Detail: "2 MiB free of 1 GiB"})
	h, err = s.client.Readyz(t.Context())
	require.NoError(t, err, "a warning does not make it of no use")
	require.Equal(t, "warn", h.Status)
	require.Equal(t, http.StatusOK, s.raw("GET", "/readyz", "").status)
}

func TestHealthTellsTheWorstAndHints(t *testing.T) {
	n := newFakeNode()
	n.health = []node.Check{
		{Name: "clock", Status: node.CheckWarn, Detail: "+61.0 s", Hint: "turn on NTP"},
		{Name: "membership", Status: node.CheckOK, Measure: &node.Measure{Name: "members_alive", Value: 12, Warn: 10, Fail: 8}},
		{Name: "bootstrap", Status: node.CheckFail, Detail: "0 of 1", Lines: []string{"/dns4/b1/tcp/4747: connection refused"}},
	}
	s := serve(t, n)
	a := s.raw("GET", "/v1/health", "")
	require.Equal(t, http.StatusOK, a.status, "the question was answered")
	require.JSONEq(t, `{"status":"fail","checks":[{"name":"clock","status":"warn","detail":"+61.0 s","hint":"turn on NTP"},
		{"name":"membership","status":"ok","measure":{"name":"members_alive","value":12,"warn":10,"fail":8}},
		{"name":"bootstrap","status":"fail","detail":"0 of 1","lines":["/dns4/b1/tcp/4747: connection refused"]}]}`, a.body)
	h, err := s.client.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, "fail", h.Status)
	require.Equal(t, "ok", Worst(nil))
	require.Equal(t, "warn", Worst(h.Checks[:2]))
}

// The checks of a whole node that is the first of its network: alone is well.
func TestARealFirstNodeIsHealthyAndReadyAlone(t *testing.T) {
	n, client, _ := realNode(t)
	h, err := client.Readyz(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"started", "identity", "storage", "sync"}, names(h.Checks))
	h, err = client.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"identity", "storage", "sync", "clock", "membership", "bootstrap"}, names(h.Checks))
	for _, c := range h.Checks {
		if c.Name != "storage" { // this machine's disk may be nearly full
			require.Equal(t, "ok", c.Status, c)
		}
	}
	require.Equal(t, "key readable, mode 0600", h.Checks[0].Detail)
	require.Regexp(t, ` free of `, h.Checks[1].Detail)
	require.Equal(t, &Measure{"members_alive", 1, 1, 1}, h.Checks[4].Measure)
	m, err := client.Member(t.Context(), n.Info().ID.String())
	require.NoError(t, err)
	require.False(t, m.Began.IsZero())
}

// A node that nobody answers lives, but is not ready: it may not have what the network has.
func TestARealNodeWithoutItsBootstrapPeerLivesAndIsNotReady(t *testing.T) {
	cfg := node.DefaultConfig(node.ProfileLocal)
	cfg.DataDir = t.TempDir()
	cfg.Network.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.Network.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1/p2p/" + testPeer(1).String()}
	cfg.Work.Enabled = false
	n, client, start := serveReal(t, cfg)

	_, err := client.Livez(t.Context()) // before it runs
	require.NoError(t, err)
	_, err = client.Readyz(t.Context())
	require.ErrorContains(t, err, "the node is starting: it waits up to 5s for a first sync; 0 of 1 bootstrap peers connected")
	h, err := client.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"started", "identity", "storage", "bootstrap"}, names(h.Checks))
	start()
	<-n.Ready()
	_, err = client.Livez(t.Context())
	require.NoError(t, err)
	h, err = client.Readyz(t.Context())
	require.ErrorContains(t, err, "sync: no sync with a peer yet; 0 of 1 bootstrap peers connected")
	require.Equal(t, []string{"/ip4/127.0.0.1/tcp/1: connection refused (host up, nothing on that port)"}, h.Checks[3].Lines)
	h, err = client.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, "fail", h.Status)
	require.Regexp(t, `^0 of 1 bootstrap peers connected for \d+ s$`, h.Checks[5].Detail)
}

func names(checks []Check) []string {
	return list(checks, func(c Check) string { return c.Name })
}
