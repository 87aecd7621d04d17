package testnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/node/api"
	"github.com/p2pnode/p2pnode/testnet/lab"
)

// Who is alive, as real processes in a LAN of network namespaces see it: what loopback cannot show.

// lanPort is the port of profile lan, the same on all hosts.
const lanPort = 4747

// lanNet is a testnet of profile lan whose node nX is on host X-1 of a LAN.
type lanNet struct {
	testNet
	lan *lab.LAN
}

// upLAN starts n nodes and returns when all agree. The test is skipped where there can be no LAN.
func upLAN(t testing.TB, n int) lanNet {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	o := real(t)
	l, err := o.layout()
	require.NoError(t, err)
	lan, err := lab.NewLAN(n)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lan.Close()) })
	p, err := l.prepare(t.Context(), n)
	require.NoError(t, err)
	require.NoError(t, l.save(p))
	ln := lanNet{testNet{t, o, l}, lan}
	t.Cleanup(func() {
		if t.Failed() {
			ln.dump()
		}
	})
	ln.start(ln.within(2*time.Minute), p)
	ln.agree(ln.within(2 * time.Minute))
	return ln
}

// start starts all nodes: the first one, then the others, which join through it.
func (n lanNet) start(ctx context.Context, p plan) {
	n.t.Helper()
	require.NoError(n.t, n.run(ctx, p, 0))
	var g errgroup.Group
	for i := range p.Nodes[1:] {
		g.Go(func() error { return n.run(ctx, p, i+1, n.address(0)+"/p2p/"+p.Nodes[0].ID) })
	}
	require.NoError(n.t, g.Wait())
	require.NoError(n.t, n.l.save(p))
}

func (n lanNet) run(ctx context.Context, p plan, i int, bootstrap ...string) error {
	c, err := n.l.spawnBy(func(cmd *exec.Cmd) error { return n.lan.Start(i, cmd) }, p.Nodes[i], bootstrap, "--profile", "lan")
	if err != nil {
		return err
	}
	p.Nodes[i].ID, err = c.ready(ctx)
	return err
}

func (n lanNet) address(i int) string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", n.lan.Addr(i), lanPort)
}

func TestSilentHostIsSuspectThenDead(t *testing.T) {
	n := upLAN(t, 8)
	others := n.names("n4")
	silent := time.Now()
	require.NoError(t, n.lan.Silence(3))
	seen := n.everywhere(n.within(soon), others, "n4", "dead", is("dead"))
	n.measured("suspect", seen.delays("suspect", silent))
	n.measured("dead", seen.delays("dead", silent))
	for _, m := range seen {
		require.True(t, has("suspect", silent)(m), tale(m))
	}
	// The silent one has its doubts about all others. When they hear each other again, they are one network.
	n.everywhere(n.within(soon), []string{"n4"}, "n1", "suspect", has("suspect", silent))
	require.NoError(t, n.lan.Restore(3))
	n.agree(n.within(soon))
	for _, name := range others {
		told := n.tellsOfOthers(n.within(soon), name)
		delete(told, "n4")
		n.never(told, "dead", silent)
	}
}

// lossEnv is how long TestTenPercentLossKillsNobody loses packets; default 15s.
const lossEnv = "P2PNODE_TEST_LOSS"

func TestTenPercentLossKillsNobody(t *testing.T) {
	lossy := 15 * time.Second
	if text := os.Getenv(lossEnv); text != "" {
		var err error
		lossy, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	n := upLAN(t, 8)
	began := time.Now()
	for i := range n.lan.Hosts() {
		require.NoError(t, n.lan.Loss(i, 0.1))
	}
	<-time.After(lossy)
	for i := range n.lan.Hosts() {
		require.NoError(t, n.lan.Restore(i))
	}
	suspicions := 0
	for _, name := range n.names() {
		told := n.tellsOfOthers(n.within(soon), name)
		n.never(told, "dead", began)
		suspicions += len(told.delays("suspect", began))
	}
	t.Logf("%d suspicions by 8 nodes of each other in %v", suspicions, lossy)
	n.agree(n.within(soon))
}

// moveSeen is how soon others must know where a node has moved to: half of the minute after which libp2p notices by itself.
const moveSeen = 30 * time.Second

// The host's address changes while its node runs.
func TestMovedHostStaysAMember(t *testing.T) {
	n := upLAN(t, 5)
	others := n.names("n3")
	moved := time.Now()
	require.NoError(t, n.lan.SetAddr(2, netip.MustParseAddr("11.0.99.99")))
	told := n.follows("n3", others, moved)
	n.never(n.wakes(others, "n3", told), "dead", moved)
	n.set("n3", "app/moved", "yes")
	n.agree(n.within(soon))
}

func TestHostsThatSwapAddressesKeepTheirIdentities(t *testing.T) {
	n := upLAN(t, 5)
	p, err := n.l.load()
	require.NoError(t, err)
	a, b := n.lan.Addr(1), n.lan.Addr(2)
	swapped := time.Now()
	require.NoError(t, n.lan.SetAddr(1, b))
	require.NoError(t, n.lan.SetAddr(2, a))
	for _, pn := range p.Nodes[1:3] {
		others := n.names(pn.Name)
		told := n.follows(pn.Name, others, swapped)
		seen := n.wakes(others, pn.Name, told)
		n.never(seen, "dead", swapped)
		for observer, m := range seen {
			require.Equal(t, pn.ID, m.ID, observer)
		}
		n.set(pn.Name, "app/swapped/"+pn.Name, "yes")
	}
	n.agree(n.within(soon))
}

// follows returns the time when all observers hold a node.addrs of the member that names its host's present address.
func (n lanNet) follows(member string, observers []string, since time.Time) time.Time {
	n.t.Helper()
	ctx := n.within(moveSeen)
	p, host, err := n.l.find(member)
	require.NoError(n.t, err)
	took := make([]time.Duration, len(observers))
	var g errgroup.Group
	for i, observer := range observers {
		c := n.client(observer).WithTopic("members")
		g.Go(func() error {
			for e, err := range c.WatchState(ctx, api.WatchOptions{Prefix: "node.addrs", Initial: true}) {
				if err != nil {
					return fmt.Errorf("%s: %w", observer, err)
				}
				if e.Kind == api.EventPut && e.Value.Owner == p.Nodes[host].ID && names(e.Value.Value, n.lan.Addr(host)) {
					took[i] = time.Since(since)
					return nil
				}
			}
			return fmt.Errorf("%s is not told where %s is now: %w", observer, member, ctx.Err())
		})
	}
	require.NoError(n.t, g.Wait())
	slices.Sort(took)
	n.measured("told where "+member+" is", took)
	return time.Now()
}

// names says whether a signed peer record has an address with that IP.
func names(signed []byte, ip netip.Addr) bool {
	_, untyped, err := record.ConsumeEnvelope(signed, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(untyped.(*peer.PeerRecord).Addrs, func(addr multiaddr.Multiaddr) bool {
		text, err := addr.ValueForProtocol(multiaddr.P_IP4)
		return err == nil && text == ip.String()
	})
}
