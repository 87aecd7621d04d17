package api

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

// realNode is a whole node, the first of its network, and a client of its API. Both end with the test.
func realNode(t *testing.T) (*node.Node, *Client, node.Config) {
	t.Helper()
	cfg := node.DefaultConfig(node.ProfileLocal)
	cfg.DataDir = t.TempDir()
	cfg.Network.Name = "testnet-api"
	cfg.Network.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.Work.Enabled, cfg.Work.Threads = true, 1
	n, client, start := serveReal(t, cfg)
	start()
	<-n.Ready()
	return n, client, cfg
}

// serveReal gives a whole node whose API answers, and a client of it. start has the node run: call it once. All ends with the test.
func serveReal(t *testing.T, cfg node.Config) (n *node.Node, client *Client, start func()) {
	t.Helper()
	socket := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	n, err := node.New(cfg, node.Options{Version: "0.1.0", API: socket})
	require.NoError(t, err)
	server, err := New(Of(n), config(t, socket))
	require.NoError(t, err)
	require.NoError(t, server.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	ran, serving := make(chan error, 1), make(chan error, 1)
	go func() { serving <- server.Serve(ctx) }()
	client, err = NewClient(socket)
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		cancel()
		require.NoError(t, <-serving)
		require.NoError(t, <-ran)
	})
	return n, client, func() { go func() { ran <- n.Run(ctx) }() }
}

// TestRealNode drives a whole node, the first of its network, through its API.
func TestRealNode(t *testing.T) {
	n, client, cfg := realNode(t)
	ask, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	_, err := client.Readyz(ask)
	require.NoError(t, err)

	w, err := client.Set(ask, "app/color", []byte("teal"), WriteOptions{Wait: "all"})
	require.NoError(t, err)
	require.Equal(t, 0, w.Wait.Of, "there is nobody else")
	v, err := client.Get(ask, "app/color", cfg.Node.Name)
	require.NoError(t, err)
	require.Equal(t, w.Value, v)
	proof, err := client.Prove(ask, "app/color", "")
	require.NoError(t, err)
	proven, err := proof.Verify()
	require.NoError(t, err)
	require.Equal(t, w.Value, proven.Value)
	require.Equal(t, "testnet-api", proven.Network)
	_, err = client.Set(ask, "app/color", nil, WriteOptions{IfVersion: new(uint64)})
	require.Equal(t, node.CodeVersionConflict, codeOf(t, err))
	all, err := client.List(ask, ListOptions{Prefix: "app/"})
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = client.WithTopic("members").Set(ask, "k", nil, WriteOptions{})
	require.Equal(t, node.CodeReservedKey, codeOf(t, err))
	_, err = client.WithTopic("none").Get(ask, "k", "")
	require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))

	spec := genesisJob()
	spec.Range = Range{2_083_200_000, 2_083_300_000}
	job, err := client.SubmitJob(ask, spec)
	require.NoError(t, err)
	for job, err = range client.WatchJob(ask, job.ID) {
		require.NoError(t, err)
	}
	require.Equal(t, JobDone, job.State)
	require.Equal(t, Uint64(2083236893), job.Found[0].Nonce)
	require.Equal(t, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", job.Found[0].Hash)
	require.Equal(t, n.Info().ID.String(), job.Found[0].Worker)
	spec.Range = Range{0, 1 << 40}
	_, err = client.SubmitJob(ask, spec)
	require.Equal(t, node.CodeBadJob, codeOf(t, err))
	_, err = client.Job(ask, "0123456789abcdef0123456789abcdef")
	require.Equal(t, node.CodeUnknownJob, codeOf(t, err))

	st, err := client.Status(ask)
	require.NoError(t, err)
	require.Equal(t, 1, st.Members.Alive)
	require.Equal(t, "main", st.State.Topic)
	require.NotEmpty(t, st.Counters)
	digest, err := client.Ask(ask)
	require.NoError(t, err)
	require.Equal(t, 1, digest.Of)
	require.Equal(t, 1, digest.Agree)
	text, err := client.Metrics(ask)
	require.NoError(t, err)
	require.Contains(t, string(text), "p2pnode_members")
}
