package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

// checks are those of one answer, from well to not.
var checks = []api.Check{
	{Name: "api", Status: "ok", Detail: "unix socket answers in 2 ms"},
	{Name: "clock", Status: "warn", Detail: "+61.0 s against members' median (limit 60 s)", Hint: "turn on NTP"},
	{Name: "membership", Status: "ok", Detail: "12 of 13 alive", Measure: &api.Measure{Name: "members_alive", Value: 12, Warn: 10, Fail: 8}},
	{Name: "bootstrap", Status: "fail", Detail: "0 of 2 bootstrap peers connected for 3m", Hint: "p2pnode errors bootstrap-unreachable", Lines: []string{
		"/dns4/b1/tcp/4747: connection refused", "/dns4/b2/udp/4747/quic-v1: no answer in 5 s | \x1b[2J",
	}},
}

func TestHealthIsATableWithHintsBesideIt(t *testing.T) {
	var out, err bytes.Buffer
	a := &app{out: &out, err: &err}
	h := api.Health{Status: api.Worst(checks), Checks: checks}
	require.Equal(t, saidError{5}, a.showHealth(h))
	require.Equal(t, ""+
		"ok    api          unix socket answers in 2 ms\n"+
		"warn  clock        +61.0 s against members' median (limit 60 s)\n"+
		"ok    membership   12 of 13 alive\n"+
		"FAIL  bootstrap    0 of 2 bootstrap peers connected for 3m\n"+
		"                   /dns4/b1/tcp/4747: connection refused\n"+
		"                   /dns4/b2/udp/4747/quic-v1: no answer in 5 s | \\x1b[2J\n", out.String())
	require.Equal(t, ""+
		"p2pnode: hint: clock: turn on NTP\n"+
		"p2pnode: hint: bootstrap: p2pnode errors bootstrap-unreachable\n", err.String())
	require.NoError(t, a.showHealth(api.Health{Status: "warn", Checks: checks[:3]}), "a warning is no failure")
}

func TestNagiosGetsOneLineAndItsOwnExitCodes(t *testing.T) {
	for _, c := range []struct {
		checks []api.Check
		line   string
		code   int
	}{
		{checks[:1], "OK 1 check ok", 0},
		{checks[2:3], "OK 1 check ok | members_alive=12;10;8", 0},
		{checks[:3], "WARNING clock: +61.0 s against members' median (limit 60 s) | members_alive=12;10;8", 1},
		{checks, "CRITICAL bootstrap: 0 of 2 bootstrap peers connected for 3m; clock: +61.0 s against members' median (limit 60 s) | members_alive=12;10;8", 2},
		{[]api.Check{{Name: "x", Status: "fail", Detail: "a|b\nc"}}, `CRITICAL x: a/b\nc`, 2},
	} {
		line, code := nagiosLine(api.Health{Status: api.Worst(c.checks), Checks: c.checks})
		require.Equal(t, c.line, line)
		require.Equal(t, c.code, code)
	}
}

func TestProblemsStandInOneLineWithTheirHints(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	long := "this one is so long that its hint would stand beyond the right edge of a terminal"
	require.NoError(t, a.showProblems([]api.Problem{
		{Level: "warn", Detail: "member 12D3…LgRt suspected for 6 s (phi 9.1) by 3 of 12", Hint: "p2pnode members LgRt"},
		{Level: "warn", Detail: "no public address: others reach you only by relay", Hint: "p2pnode netcheck"},
		{Level: "error", Detail: "no hint"}, {Level: "error", Detail: long, Hint: "do this"},
	}))
	require.Equal(t, ""+
		"  warn  member 12D3…LgRt suspected for 6 s (phi 9.1) by 3 of 12     p2pnode members LgRt\n"+
		"  warn  no public address: others reach you only by relay           p2pnode netcheck\n"+
		"  error no hint\n"+
		"  error "+long+"\n        do this\n", out.String())
}

func TestMembersTableShowsGenerationReachAndWhoseClockIsOff(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	now := time.Date(2026, 11, 22, 7, 24, 53, 0, time.UTC)
	ahead, off := 0.012, -75.0
	require.NoError(t, a.showMembers([]api.Member{
		{
			ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zoffmSx", Name: "n2", Status: "alive", Phi: 0.3, Neighbour: true, Agrees: true,
			LastHeard: api.Time{Time: now.Add(-180 * time.Millisecond)}, Generation: 117638000000000, Began: api.Time{Time: now.Add(-3 * time.Hour)},
			Reachability: "public", Version: "0.4.0", ClockOffset: &ahead, Tags: map[string]string{"zone": "eu"},
		},
		{
			ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zofLgRt", Name: "n3", Status: "suspect", Phi: 9.1, Neighbour: true,
			LastHeard: api.Time{Time: now.Add(-6200 * time.Millisecond)}, Generation: 2, ClockOffset: &off, ClockSkewed: true,
		},
	}, false, now))
	require.Equal(t, ""+
		"NAME  ID         STATUS   PHI  HEARD  GEN    REACH   VERSION  CLOCK    STATE    TAGS\n"+
		"n2    12D3…fmSx  alive    0.3  180ms  3h00m  public  0.4.0    +12ms    same     zone=eu\n"+
		"n3    12D3…LgRt  suspect  9.1  6.2s   2      -       -        -1m15s!  differs  -\n"+
		"2 members: 1 alive, 1 suspect  (* this node)\n", out.String())
}

func TestSparklineIsFullAtSuspicionOrAbove(t *testing.T) {
	require.Equal(t, "▁▁▄█", sparkline([]float64{0, 0.3, 4, 8}))
	require.Equal(t, "▁▁▂█", sparkline([]float64{-1, 0.3, 4, 24}))
	require.Equal(t, "▁", sparkline([]float64{0.4}))
}

// The watch tells of who has the tag when something changes, or had it when last seen.
func TestWatchOfMembersWithATagNamesAccusersAndTimeout(t *testing.T) {
	members := []api.Member{{ID: "12D3KooWtagged", Name: "n2", Status: "suspect", Tags: map[string]string{"zone": "eu"}}, {ID: "12D3KooWother", Name: "n3", Status: "alive"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, m := range members {
				data, err := json.Marshal(api.Transition{
					ID: m.ID, Name: m.Name, From: "alive", To: "suspect", Phi: 9.1, Accusers: []string{"12D3KooWthe-accuser"}, Timeout: 3.2, Reason: "no beat for 2.1s",
				})
				assert.NoError(t, err)
				fmt.Fprintf(w, "event: member\ndata: %s\n\n", data)
			}
			return
		}
		shown := members
		if r.URL.Query().Get("tag") == "zone" {
			shown = members[:1]
		}
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(api.Page[api.Member]{Items: shown}))
	}))
	defer server.Close()
	client, err := api.NewClient(server.URL)
	require.NoError(t, err)
	defer client.Close()
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	require.Error(t, a.watchMembers(t.Context(), client, api.MemberFilter{Tag: "zone"}, false), "the stream broke off")
	require.Contains(t, out.String(), "\n1 member: 0 alive, 1 suspect")
	require.Contains(t, out.String(), "n2 12D3…gged  alive -> suspect  phi 9.1  (no beat for 2.1s)  by 12D3…user  timeout 3.2s\n")
	require.NotContains(t, out.String(), "n3")
}
