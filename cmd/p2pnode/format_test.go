package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

func TestShortID(t *testing.T) {
	require.Equal(t, "12D3…979C", shortID("12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C"))
	require.Equal(t, "9c1e…40aa", shortHash("9c1e000000000000000000000000000000000000000000000000000000 40aa"))
	require.Equal(t, "short", shortID("short"), "what is short already stays whole")
	require.Equal(t, "", shortID(""))
	require.NotContains(t, shortID("\x1b[2Jaaaaaaaaaaaaaaaaaaa"), "\x1b")
}

func TestPlainShowsWhatWouldSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"teal":         "teal",
		"größe":        "größe",
		`{"max":40}`:   `{"max":40}`,
		"\x1b[31mred":  `\x1b[31mred`,
		"two\nlines":   `two\nlines`,
		"say \"hi\"\n": `say "hi"\n`,
		"\xff":         `\xff`,
		"a\u202eb":     `a\u202eb`,
	} {
		require.Equal(t, want, plain(in))
	}
}

func TestCellCutsAtRunes(t *testing.T) {
	require.Equal(t, none, cell("", 10))
	require.Equal(t, "größ…", cell("größenwahn", 5))
	require.Equal(t, "größe", cell("größe", 5))
}

func TestSize(t *testing.T) {
	for n, want := range map[int]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1126: "1.1 KiB", 1 << 20: "1 MiB", 1<<20 - 1: "1 MiB", 64 << 10: "64 KiB", 5 << 40: "5 TiB"} {
		require.Equal(t, want, size(n), "%d", n)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 180 * time.Millisecond: "180ms", 1800 * time.Millisecond: "1.8s", 9999 * time.Millisecond: "9.9s", 42 * time.Second: "42s",
		182 * time.Second: "3m02s", 3*time.Hour + 12*time.Minute: "3h12m", 120 * time.Hour: "5d", -time.Minute: "-1m00s",
	} {
		require.Equal(t, want, span(d), "%d", d)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 24, 53, 0, time.UTC)
	require.Equal(t, none, age(time.Time{}, now))
	require.Equal(t, "9s", age(now.Add(-9*time.Second), now)[:2])
	require.Equal(t, "now", age(now.Add(time.Hour), now), "the writer's clock is ahead")
}

func TestNumbers(t *testing.T) {
	require.Equal(t, "4 294 967 296", group(1<<32))
	require.Equal(t, "999", group(999))
	require.Equal(t, "1 000", group(1000))
	require.Equal(t, "18.90 Mn/s", rate(18.9e6))
	require.Equal(t, none, rate(0))
	require.Equal(t, "61.4 %", share(614, 1000))
	require.Equal(t, "99.9 %", share(1<<32-1, 1<<32), "100 % is all of it")
	require.Equal(t, "0.1 %", share(1, 1<<32))
	require.Equal(t, "100.0 %", share(5, 5))
	require.Equal(t, none, share(0, 0))
}

func TestCount64(t *testing.T) {
	for in, want := range map[string]uint64{"1": 1, "4096": 4096, "64Ki": 64 << 10, "1Mi": 1 << 20, "2Gi": 2 << 30, "17592186044415Mi": 17592186044415 << 20} {
		var n count64
		require.NoError(t, n.Set(in))
		require.Equal(t, want, uint64(n))
	}
	for _, in := range []string{"", "0", "-1", "1M", "1.5Mi", "17592186044416Mi", "18446744073709551616", "Mi"} {
		var n count64
		require.Error(t, n.Set(in), in)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"members", "members", 0}, {"memebrs", "members", 1}, {"bootsrap", "bootstrap", 1}, {"kitten", "sitting", 3},
	} {
		require.Equal(t, c.want, edits(c.a, c.b), "%s %s", c.a, c.b)
		require.Equal(t, c.want, edits(c.b, c.a), "%s %s", c.b, c.a)
	}
	require.Equal(t, "", closest("frobnicate", []string{"run", "status"}))
	require.Equal(t, "rm", closest("rn", []string{"rm", "list"}))
}

func TestTablesLineUp(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	rtt := 0.011
	now := time.Date(2026, 11, 22, 7, 24, 53, 0, time.UTC)
	require.NoError(t, a.showPeers([]api.Peer{
		{ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zoffmSx", Name: "n2", Direction: "out", Transport: "quic-v1", Path: "direct",
			RTTSeconds: &rtt, Mesh: []string{"main", "members"}, Agent: "p2pnode/0.4.0", Since: api.Time{Time: now.Add(-3 * time.Hour)}},
		{ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zofLgRt", Direction: "in", Transport: "tcp", Path: "relay", Since: api.Time{Time: now}},
	}, false, now))
	require.Equal(t, ""+
		"PEER       NAME  DIR  TRANSPORT  PATH    RTT   MESH          AGENT          AGE\n"+
		"12D3…fmSx  n2    out  quic-v1    direct  11ms  main,members  p2pnode/0.4.0  3h00m\n"+
		"12D3…LgRt  -     in   tcp        relay   -     -             -              now\n"+
		"2 peers (1 direct, 1 relayed)\n", out.String())
}

func TestMembersOfOthersCannotSteerTheTerminal(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	m := api.Member{ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C", Name: "\x1b[2J", Status: "alive", Tags: map[string]string{"zone": "\a"}, Agent: "\r", Version: "\x00"}
	require.NoError(t, a.showMembers([]api.Member{m}, true, time.Now()))
	require.NoError(t, a.showMember(api.MemberStory{Member: m}, time.Now()))
	require.NotRegexp(t, "[\x00-\x08\x0b-\x1f]", out.String())
}

func TestAMemberThatSignedTwoHistoriesIsMarked(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	honest := api.Member{ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C", Name: "n1", Status: "alive", Self: true}
	liar := api.Member{ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zofLgRt", Name: "n2", Status: "alive", Equivocated: true}
	require.NoError(t, a.showMembers([]api.Member{honest}, false, time.Now()))
	require.NotContains(t, out.String(), "!")
	out.Reset()
	require.NoError(t, a.showMembers([]api.Member{honest, liar}, false, time.Now()))
	require.Regexp(t, `n2 +12D3…LgRt +alive ! +`, out.String())
	require.Contains(t, out.String(), "\n! 1 member signed two histories under one version\n")
	out.Reset()
	require.NoError(t, a.showMember(api.MemberStory{Member: liar}, time.Now()))
	require.Contains(t, out.String(), "two histories")
}

// The last line of work submit --wait --json is what programs read.
func TestResultLine(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, err: &out, json: true}
	j := api.Job{JobSummary: api.JobSummary{ID: "ab12", State: api.JobDone, Done: 3, Total: 1 << 60}}
	j.Found = []api.Found{{Nonce: 2083236893, Hash: "000000000019d668", Worker: "12D3KooW"}}
	require.NoError(t, a.finish(j))
	require.Equal(t, `{"type":"result","job":"ab12","state":"done","found":[{"nonce":"2083236893","hash":"000000000019d668"}],"done":"3","total":"1152921504606846976"}`+"\n", out.String())

	out.Reset()
	j.State, j.Found = api.JobExhausted, nil
	err := a.finish(j)
	require.Equal(t, 4, explain(err, a).Exit)
	require.Contains(t, out.String(), `"state":"exhausted","found":[],`)

	j.State = api.JobCanceled
	require.Equal(t, 5, explain(a.finish(j), a).Exit)
}

func TestAnswersKeepTheirExitCode(t *testing.T) {
	a := &app{}
	require.Equal(t, 8, explain(&api.Error{Code: "version-conflict", Status: 412}, a).Exit)
	require.Equal(t, 2, explain(&api.Error{Code: "of-a-newer-node", Status: 400}, a).Exit)
	require.Equal(t, 1, explain(&api.Error{Code: "of-a-newer-node", Status: 500}, a).Exit)
	require.Equal(t, 7, explain(context.DeadlineExceeded, a).Exit)
	require.Equal(t, 2, explain(&api.ListenError{Addr: "x", Detail: "y"}, a).Exit)
	require.Equal(t, 8, explain(&api.ListenError{Addr: "x", Detail: "y", InUse: true, Err: context.Canceled}, a).Exit)
}
