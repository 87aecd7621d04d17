package testnet

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// replicas are processes that an orchestrator starts: with identities and addresses that are known before, and probes on.
type replicas struct {
	t     *testing.T
	l     layout
	p     plan
	addrs []string // with /p2p/

	mu     sync.Mutex
	lived  map[string]bool // /livez has answered ok
	faults []string        // times that it did not after that
}

func newReplicas(t *testing.T, n int) *replicas {
	t.Helper()
	l, err := real(t).layout()
	require.NoError(t, err)
	r := &replicas{t: t, l: l, lived: map[string]bool{}}
	r.p, err = l.prepare(t.Context(), n)
	require.NoError(t, err)
	for i := range r.p.Nodes {
		key, err := node.MakeIdentity(filepath.Join(l.home(r.p.Nodes[i].Name), "identity.key"))
		require.NoError(t, err)
		id, err := peer.IDFromPrivateKey(key)
		require.NoError(t, err)
		r.p.Nodes[i].ID = id.String()
		r.addrs = append(r.addrs, r.p.Nodes[i].dialAddress())
	}
	require.NoError(t, l.save(r.p))
	return r
}

// start runs a replica and probes it until the test ends.
func (r *replicas) start(i int, bootstrap ...string) *api.Client {
	r.t.Helper()
	n := r.p.Nodes[i]
	c, err := r.l.spawn(n, bootstrap)
	require.NoError(r.t, err)
	client, err := api.NewClient("unix:" + r.l.socket(n.Name))
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var probing sync.WaitGroup
	probing.Go(func() { r.probe(ctx, c, client) })
	r.t.Cleanup(func() {
		cancel()
		probing.Wait()
		client.Close()
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", n.Name, tail(r.l.log(n.Name)))
		}
	})
	return client
}

// probe asks /livez again and again. Once it has answered, it has to go on: an orchestrator would kill the process.
func (r *replicas) probe(ctx context.Context, c *child, client *api.Client) {
	tick := time.NewTicker(pollReady)
	defer tick.Stop()
	for {
		h, err := client.Livez(ctx)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		switch {
		case err == nil && h.Status == node.CheckOK:
			r.lived[c.name] = true
		case r.lived[c.name] || c.ended():
			r.faults = append(r.faults, c.name)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// await asks /readyz until it answers as wanted.
func (r *replicas) await(client *api.Client, what string, wanted func(api.Health, error) bool) {
	r.t.Helper()
	var h api.Health
	var err error
	require.Eventually(r.t, func() bool {
		h, err = client.Readyz(r.t.Context())
		return wanted(h, err)
	}, time.Minute, pollReady, "%s: %+v %v", what, &h, &err)
}

func (r *replicas) ready(clients ...*api.Client) {
	r.t.Helper()
	for _, client := range clients {
		r.await(client, "ready", func(_ api.Health, err error) bool { return err == nil })
	}
}

// neverKilled is that no liveness probe failed, whatever the network was like.
func (r *replicas) neverKilled(n int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(r.t, r.lived, n)
	require.Empty(r.t, r.faults)
}

// healthy is what the HEALTHCHECK of an image runs.
func (r *replicas) healthy(i int) {
	r.t.Helper()
	cmd := command(r.t.Context(), r.l.binary, "health", "--home", r.l.home(r.p.Nodes[i].Name))
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	require.Equal(r.t, node.ExitOK, exitCode(r.t, err), "%s", out)
}

func TestThreeReplicasThatNameEachOtherBecomeReadyInParallel(t *testing.T) {
	r := newReplicas(t, 3)
	var clients []*api.Client
	for i := range r.p.Nodes {
		clients = append(clients, r.start(i, r.addrs...)) // its own address too: they are configured alike
	}
	r.ready(clients...)
	r.neverKilled(3)
	for i := range clients {
		r.healthy(i)
	}
}

func TestThreeReplicasBecomeReadyWhicheverStartsFirst(t *testing.T) {
	for _, order := range [][]int{{2, 0, 1}, {1, 2, 0}} {
		t.Run("", func(t *testing.T) {
			r := newReplicas(t, 3)
			first := r.start(order[0], r.addrs...)
			alone := false // ready though nobody is there to sync with, and it is not said to be the first
			r.await(first, "running, but not ready", func(h api.Health, err error) bool {
				alone = alone || err == nil
				return slices.ContainsFunc(h.Checks, func(c api.Check) bool { return c.Name == "sync" && c.Status == node.CheckFail })
			})
			require.False(t, alone)
			second := r.start(order[1], r.addrs...)
			r.ready(first, second)
			third := r.start(order[2], r.addrs...)
			r.ready(third, first, second)
			r.neverKilled(3)
		})
	}
}

func TestReplicasThatWaitForOneAnotherNeedOneThatIsTheFirst(t *testing.T) {
	r := newReplicas(t, 3)
	first := r.start(0, r.addrs[0]) // the only bootstrap peer is itself
	r.ready(first)
	second := r.start(1, r.addrs[0])
	r.ready(second)
	third := r.start(2, r.addrs[0])
	r.ready(third)
	r.neverKilled(3)
	r.healthy(2)
}
