package testnet

import (
	"encoding/json"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// The header of Bitcoin's first block without its nonce, and what is known of it.
const (
	genesis      = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d"
	genesisNonce = 2083236893
	genesisHash  = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
)

// result is what `work submit --wait --json` ends with.
type result struct {
	Type  string
	State string
	Found []struct{ Nonce, Hash string }
	Done  string
	Total string
}

func lastLine(t *testing.T, out string) result {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r result
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &r), out)
	require.Equal(t, "result", r.Type)
	return r
}

func TestGenesisNonceIsFound(t *testing.T) {
	n := up(t, 5)
	out, code := n.run("n2", " "+genesis+"\n", "work", "submit", "--algo", "sha256d", "--payload", "-",
		"--range", "2080000000:2090000000", "--wait", "--json")
	require.Zero(t, code, out)
	r := lastLine(t, out)
	require.Equal(t, "done", r.State)
	require.Len(t, r.Found, 1)
	require.Equal(t, "2083236893", r.Found[0].Nonce)
	require.Equal(t, genesisHash, r.Found[0].Hash)

	// Past the nonce there is nothing to find.
	out, code = n.run("n2", "", "work", "submit", "--algo", "sha256d", "--payload", genesis,
		"--range", "2083236894:2083300000", "--wait", "--json")
	require.Equal(t, node.ExitNotFound, code, out)
	r = lastLine(t, out)
	require.Empty(t, r.Found)
	require.Equal(t, r.Total, r.Done)
}

// Two of five workers die while they work: the others take over what those had not finished.
func TestWorkOfKilledWorkersIsTakenOver(t *testing.T) {
	n := up(t, 5)
	c := n.client("n1")
	ctx := n.within(5 * time.Minute)
	start, end := uint64(2_080_000_000), uint64(2_090_000_000)
	job, err := c.SubmitJob(ctx, api.JobSpec{
		Kind: "sha256d", Payload: genesis, Stop: "all", Range: api.Range{Start: api.Uint64(start), End: api.Uint64(end)},
	})
	require.NoError(t, err)

	victims := map[string]bool{}
	for e, err := range c.WatchState(ctx, api.WatchOptions{Prefix: path.Join("work", job.ID, "lease"), Initial: true}) {
		require.NoError(t, err)
		name := n.name(e.Value.Owner)
		if e.Kind == api.EventPut && name != "n1" && !victims[name] {
			victims[name] = true
			_, err := Kill(ctx, n.o, name)
			require.NoError(t, err)
		}
		if len(victims) == 2 {
			break
		}
	}
	now, err := c.Job(ctx, job.ID)
	require.NoError(t, err)
	require.False(t, now.Ended(), "they died after the work was done, which tests nothing")

	var last api.Job
	for j, err := range c.WatchJob(ctx, job.ID) {
		require.NoError(t, err)
		last = j
	}
	require.Equal(t, api.JobDone, last.State)
	require.EqualValues(t, end-start, last.Done)
	require.Equal(t, last.Total, last.Done)
	require.Len(t, last.Found, 1)
	require.EqualValues(t, genesisNonce, last.Found[0].Nonce)
	require.Equal(t, genesisHash, last.Found[0].Hash)
}

// name is that of the node with this peer id.
func (n testNet) name(id string) string {
	n.t.Helper()
	p, err := n.l.load()
	require.NoError(n.t, err)
	for _, pn := range p.Nodes {
		if pn.ID == id {
			return pn.Name
		}
	}
	return ""
}
