package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// localConfig is a node of profile local with its data in a directory of the test.
func localConfig(t *testing.T, name string) Config {
	t.Helper()
	cfg := DefaultConfig(ProfileLocal)
	cfg.DataDir = filepath.Join(t.TempDir(), name)
	cfg.Node.Name = name
	cfg.Network.Name = "test"
	cfg.API.Listen = "off"
	return cfg
}

// running is a node that runs.
type running struct {
	*Node
	stop func() error // in an orderly way
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	n, err := New(cfg, Options{Version: "test"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var ended error
	stopped := false
	stop := func() error {
		cancel()
		if !stopped {
			ended, stopped = <-done, true
		}
		return ended
	}
	t.Cleanup(func() { require.NoError(t, stop()) })
	select {
	case <-n.Ready():
	case err := <-done:
		stopped, ended = true, err
		t.Fatalf("the node did not start: %v", err)
	}
	return &running{n, stop}
}

// address is where others reach n.
func (n *running) address() string {
	return fmt.Sprintf("%s/p2p/%s", n.Info().Listen[0], n.Info().ID)
}

func (n *running) topic(t *testing.T) *replica.Topic {
	t.Helper()
	topic, err := n.Topic("")
	require.NoError(t, err)
	return topic
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// awaitValue watches until key has value.
func (n *running) awaitValue(t *testing.T, key, value string) {
	t.Helper()
	for e, err := range n.topic(t).Watch(deadline(t), key) {
		require.NoError(t, err)
		if e.Kind == replica.Put && e.New.Key == key && string(e.New.Value) == value {
			return
		}
	}
}

// awaitStatus watches until a member has status.
func (n *running) awaitStatus(t *testing.T, id peer.ID, status string) {
	t.Helper()
	ctx := deadline(t)
	for {
		members, err := n.Replica().Members(ctx)
		require.NoError(t, err)
		for _, m := range members {
			if m.ID == id && m.Status == status {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not %s", id, status)
		case <-time.After(20 * time.Millisecond): // a transition may have come before a watch of them began
		}
	}
}

func TestNodesFormANetworkAndAnOrderlyEndIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	a := start(t, localConfig(t, "a"))
	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{a.address()}
	b := start(t, cfg)
	_, err := a.topic(t).Set(context.Background(), "color", []byte("teal"), replica.WriteOptions{})
	require.NoError(t, err)
	b.awaitValue(t, "color", "teal")
	a.awaitStatus(t, b.Info().ID, "alive")
	require.NoError(t, b.stop())
	a.awaitStatus(t, b.Info().ID, "left")
	require.NoError(t, a.stop())
}

func TestARestartedNodeKeepsItsIdentityAndItsState(t *testing.T) {
	cfg := localConfig(t, "a")
	first := start(t, cfg)
	id := first.Info().ID
	require.True(t, first.Info().NewKey)
	_, err := first.topic(t).Set(context.Background(), "color", []byte("teal"), replica.WriteOptions{})
	require.NoError(t, err)
	require.NoError(t, first.stop())

	second := start(t, cfg)
	require.Equal(t, id, second.Info().ID)
	require.False(t, second.Info().NewKey)
	second.awaitValue(t, "color", "teal")
}

func TestADamagedStoreIsSaidAndKeptAside(t *testing.T) {
	cfg := localConfig(t, "a")
	require.NoError(t, start(t, cfg).stop())
	path := filepath.Join(cfg.DataDir, storeFile)
	require.NoError(t, os.WriteFile(path, []byte("this is no store"), 0o600))

	n := start(t, cfg)
	status, err := n.Status(context.Background())
	require.NoError(t, err)
	require.Len(t, status.Problems, 1)
	require.Equal(t, CodeStoreCorrupt, status.Problems[0].Code)
	kept, err := filepath.Glob(path + ".corrupt-*")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	text, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	require.Equal(t, "this is no store", string(text))
}

func TestANodeRemembersAsManyEarlierValuesAsItIsTold(t *testing.T) {
	cfg := localConfig(t, "a")
	cfg.State.History = 2
	n := start(t, cfg)
	for _, value := range []string{"teal", "red", "grey", "black"} {
		_, err := n.topic(t).Set(t.Context(), "color", []byte(value), replica.WriteOptions{})
		require.NoError(t, err)
	}
	v, err := n.topic(t).History(t.Context(), "color", "")
	require.NoError(t, err)
	require.Len(t, v.Values, 1+2, "what stands now, and two")
	require.True(t, v.Cut)
}

func TestASecondNodeOnOneDataDirectoryIsRefused(t *testing.T) {
	cfg := localConfig(t, "a")
	start(t, cfg)
	_, err := New(cfg, Options{})
	requireCode(t, err, CodeDataDirLocked, ExitConflict)
}

func requireCode(t *testing.T, err error, code string, exit int) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
	require.Equal(t, exit, ExitCode(err))
	require.NotEmpty(t, e.Hint)
}

func TestATakenPortIsAnErrorNotAShare(t *testing.T) {
	for _, kind := range []string{"/ip4/127.0.0.1/tcp/%s", "/ip4/127.0.0.1/udp/%s/quic-v1"} {
		t.Run(kind, func(t *testing.T) {
			cfg := localConfig(t, "a")
			cfg.Network.Listen = []string{fmt.Sprintf(kind, "0")}
			a := start(t, cfg)
			cfg = localConfig(t, "b")
			cfg.Network.Listen = []string{a.Info().Listen[0].String()}
			_, err := New(cfg, Options{})
			requireCode(t, err, CodePortInUse, ExitConflict)
			require.ErrorContains(t, err, a.Info().Listen[0].String())
		})
	}
}

func TestAnAddressThatIsNotHereIsAnErrorUnlessAllowed(t *testing.T) {
	cfg := localConfig(t, "a")
	cfg.Profile = ProfileLAN
	cfg.Network.MDNS, cfg.Network.UPnP = false, false
	cfg.Network.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.1/tcp/0"}
	_, err := New(cfg, Options{})
	requireCode(t, err, CodeListenLost, ExitConflict)
	require.ErrorContains(t, err, "192.0.2.1")

	cfg.Network.ListenStrict = false
	n := start(t, cfg)
	require.Len(t, n.Info().Listen, 1)
}

func TestANodeWhoseBootstrapIsDownJoinsWhenItAppears(t *testing.T) {
	first := localConfig(t, "a")
	port := freePort(t)
	first.Network.Listen = []string{"/ip4/127.0.0.1/tcp/" + port}
	a := start(t, first)
	address := a.address()
	require.NoError(t, a.stop())

	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{address}
	b := start(t, cfg) // it publishes alone once it has waited for a first sync
	status, err := b.Status(context.Background())
	require.NoError(t, err)
	require.False(t, status.Joined)
	require.Equal(t, CodeBootstrapUnreachable, status.Problems[0].Code)
	require.Contains(t, status.Bootstrap.Failures[address], "connection refused")

	again := start(t, first)
	b.awaitStatus(t, again.Info().ID, "alive")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func TestANodeOfAnotherNetworkIsDroppedWithAReason(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	cfg := localConfig(t, "b")
	cfg.Network.Name = "other"
	cfg.Network.Bootstrap = []string{a.address()}
	b := start(t, cfg)
	_, err := b.topic(t).Set(context.Background(), "color", []byte("teal"), replica.WriteOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return a.stray.dropped.Load()+b.stray.dropped.Load() > 0 && len(a.Peers()) == 0
	}, time.Minute, 20*time.Millisecond)
	members, err := a.Replica().Members(context.Background())
	require.NoError(t, err)
	require.Len(t, members, 1)
	d, err := a.topic(t).Digest(context.Background())
	require.NoError(t, err)
	require.Zero(t, d.Owners)
}

func TestALocalNodeDialsLoopbackAlone(t *testing.T) {
	n := start(t, localConfig(t, "a"))
	id, err := peer.Decode("12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C")
	require.NoError(t, err)
	err = n.host.Connect(context.Background(), peer.AddrInfo{
		ID: id, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.0.2.1/tcp/4747"), multiaddr.StringCast("/ip4/10.0.0.1/udp/4747/quic-v1")},
	})
	require.ErrorContains(t, err, "gater")
	for _, addr := range append(n.Info().Listen, n.Info().Addrs...) {
		ip, err := addr.ValueForProtocol(multiaddr.P_IP4)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", ip)
	}
}

func TestStrayKnowsOtherNetworksAndLeavesOtherAppsAlone(t *testing.T) {
	s := &strays{network: "lab"}
	for name, c := range map[string]struct {
		protocols []string
		network   string
		stray     bool
	}{
		"a node of this network":      {[]string{"/p2pnode/lab/sync/1.0.0", "/ipfs/ping/1.0.0"}, "", false},
		"a node of another network":   {[]string{"/p2pnode/test/sync/1.0.0", "/p2pnode/test/kad/1.0.0"}, "test", true},
		"a node of both":              {[]string{"/p2pnode/test/sync/1.0.0", "/p2pnode/lab/kad/1.0.0"}, "", false},
		"another libp2p app":          {[]string{"/ipfs/ping/1.0.0", "/meshsub/1.1.0"}, "", false},
		"a network with a like start": {[]string{"/p2pnode/lab2/sync/1.0.0"}, "lab2", true},
	} {
		t.Run(name, func(t *testing.T) {
			network, stray := s.stray(protocols(c.protocols))
			require.Equal(t, c.stray, stray)
			require.Equal(t, c.network, network)
		})
	}
}

func protocols(ids []string) []protocol.ID {
	all := make([]protocol.ID, len(ids))
	for i, id := range ids {
		all[i] = protocol.ID(id)
	}
	return all
}

func TestASecondNodeWithTheSameKeyDoesNotStart(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{a.address()}
	elder := start(t, cfg)
	a.awaitStatus(t, elder.Info().ID, "alive")

	twin := localConfig(t, "twin")
	twin.Network.Bootstrap = cfg.Network.Bootstrap
	key, err := os.ReadFile(cfg.IdentityPath())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(twin.DataDir, 0o700))
	require.NoError(t, os.WriteFile(twin.IdentityPath(), key, 0o600))
	younger, err := New(twin, Options{Version: "test"})
	require.NoError(t, err)
	err = younger.Run(deadline(t))
	var conflict *Error
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, CodeIdentityConflict, conflict.Code)
	require.Equal(t, ExitConflict, ExitCode(err))
	require.ErrorIs(t, err, replica.ErrIdentityConflict)
	require.Contains(t, younger.Metrics(), Metric{
		Name: "p2pnode_identity_conflict", Help: "1 once another process was seen to sign with this node's identity.", Kind: Gauge, Value: 1,
	})
	status, err := elder.Status(deadline(t))
	require.NoError(t, err)
	require.Empty(t, status.Problems)
}

func TestTroubleWithTheOwnKeyIsAProblemOfTheStatus(t *testing.T) {
	require.Empty(t, identityProblems(replica.Identity{}))
	stopped := identityProblems(replica.Identity{Moved: true, Stopped: true, Withdrawn: 3})
	require.Len(t, stopped, 2)
	require.Equal(t, CodeIdentityConflict, stopped[0].Code)
	require.Contains(t, stopped[0].Detail, "does not write any more")
	require.Equal(t, CodeKeysWithdrawn, stopped[1].Code)
	require.Contains(t, stopped[1].Detail, "3 shared keys")
	moved := identityProblems(replica.Identity{Moved: true})
	require.Len(t, moved, 1)
	require.Equal(t, "error", moved[0].Level)
}

func TestAFullDiskIsAProblemOfTheStatusAndNothingElseOfTheStoreIs(t *testing.T) {
	require.Empty(t, storageProblems(replica.Storage{}))
	require.Empty(t, storageProblems(replica.Storage{Fault: store.ErrClosed}))
	full := storageProblems(replica.Storage{Fault: fmt.Errorf("writing own state to disk: %w", syscall.ENOSPC)})
	require.Len(t, full, 1)
	require.Equal(t, CodeDiskFull, full[0].Code)
	require.Equal(t, "error", full[0].Level)
}
