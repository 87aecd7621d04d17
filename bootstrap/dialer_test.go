package bootstrap

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
	"github.com/stretchr/testify/require"
)

// simNet is a simulated network in virtual time: QUIC, 10 ms each way.
type simNet struct{ *simnet.Simnet }

func newSimNet(t *testing.T) simNet {
	n := &simnet.Simnet{LatencyFunc: simnet.StaticLatency(10 * time.Millisecond), Logger: slog.New(slog.DiscardHandler)}
	n.Start()
	t.Cleanup(n.Close)
	return simNet{n}
}

func (n simNet) host(t *testing.T, ip string, key crypto.PrivKey) host.Host {
	t.Helper()
	link := simnet.LinkSettings{BitsPerSecond: 20 * simlibp2p.OneMbps}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings("/ip4/"+ip+"/udp/8000/quic-v1"),
		simlibp2p.QUICSimnet(n.Simnet, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.UDPBlackHoleSuccessCounter(nil), // else a long outage stops all later dials
	)
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

func newKey(t *testing.T) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return key, id
}

// loopbackHost is a real host on 127.0.0.1 that listens on one port of each transport named.
func loopbackHost(t *testing.T, listen ...string) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings(listen...))
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

func newDialer(t *testing.T, h host.Host, infos ...peer.AddrInfo) *Dialer {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Addrs = infos
	d, err := New(h, cfg)
	require.NoError(t, err)
	return d
}

// within waits in virtual time until cond holds.
func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for synctest.Wait(); !cond(); synctest.Wait() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestDialerJoinsWhenAPeerComesUpAndRejoinsWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimNet(t)
		key, id := newKey(t)
		own, _ := newKey(t)
		h := sim.host(t, "1.0.0.1", own)
		addr := ma.StringCast("/ip4/1.0.0.2/udp/8000/quic-v1")
		began := time.Now()
		d := newDialer(t, h, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()

		// Down at the start: tried at once, then again and again, with the reason in words.
		within(t, 6*time.Second, "the first attempt failed", func() bool { return d.Counters().Timeout == 1 })
		require.Equal(t, map[string]string{addr.String() + "/p2p/" + id.String(): "no answer in 5 s (firewall, or wrong address)"},
			d.State().Failures)
		within(t, 2*time.Minute, "four attempts", func() bool { return d.Counters().Timeout >= 4 })
		require.Equal(t, 0, d.State().Connected)
		require.Equal(t, began, d.State().Alone)
		require.Equal(t, 1, d.State().Wanted)
		select {
		case <-d.Joined():
			t.Fatal("joined without a peer")
		default:
		}

		// Up: joined after at most one pause and one attempt that was under way.
		b := sim.host(t, "1.0.0.2", key)
		within(t, 36*time.Second, "joined", func() bool { return d.State().Connected == 1 })
		<-d.Joined()
		require.Empty(t, d.State().Failures)
		require.Zero(t, d.State().Retry)
		require.Zero(t, d.State().Alone)
		require.True(t, h.ConnManager().IsProtected(id, ""))
		require.Equal(t, uint64(1), d.Counters().OK)

		// Away and back.
		time.Sleep(steady)
		lost := time.Now()
		require.NoError(t, b.Close())
		within(t, time.Second, "the loss was noticed", func() bool { return d.State().Connected == 0 })
		require.False(t, d.State().Retry.IsZero())
		require.WithinRange(t, d.State().Alone, lost, lost.Add(time.Second))
		within(t, time.Minute, "attempts go on", func() bool { return len(d.State().Failures) == 1 })
		sim.host(t, "1.0.0.2", key)
		within(t, 36*time.Second, "rejoined", func() bool { return d.State().Connected == 1 })

		cancel()
		require.NoError(t, <-done)
		require.False(t, h.ConnManager().IsProtected(id, ""))
	})
}

func TestDialerJoinsAfterALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimNet(t)
		key, id := newKey(t)
		own, _ := newKey(t)
		h := sim.host(t, "1.0.0.1", own)
		d := newDialer(t, h, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/1.0.0.2/udp/8000/quic-v1")}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		time.Sleep(3 * time.Hour)
		require.Greater(t, d.Counters().Timeout, uint64(300), "never given up")
		require.Less(t, d.Counters().Timeout, uint64(600), "nor hammered")
		sim.host(t, "1.0.0.2", key)
		within(t, 36*time.Second, "joined", func() bool { return d.State().Connected == 1 })
		cancel()
		require.NoError(t, <-done)
	})
}

func TestDialerCountsAConnectionThatThePeerMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimNet(t)
		key, id := newKey(t)
		own, ownID := newKey(t)
		h := sim.host(t, "1.0.0.1", own)
		// The address is wrong, so only the peer's own dial can connect the two.
		d := newDialer(t, h, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/1.0.0.9/udp/8000/quic-v1")}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		within(t, time.Minute, "two attempts in vain", func() bool { return d.Counters().Timeout == 2 })

		b := sim.host(t, "1.0.0.2", key)
		require.NoError(t, b.Connect(ctx, peer.AddrInfo{ID: ownID, Addrs: h.Addrs()}))
		within(t, 6*time.Second, "connected", func() bool { return d.State().Connected == 1 })
		require.Zero(t, d.Counters().OK)
		cancel()
		require.NoError(t, <-done)
	})
}

func TestDialerDialsAllPeersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimNet(t)
		own, _ := newKey(t)
		h := sim.host(t, "1.0.0.1", own)
		_, dead := newKey(t)
		infos := []peer.AddrInfo{{ID: dead, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/1.0.0.9/udp/8000/quic-v1")}}}
		for _, ip := range []string{"1.0.0.2", "1.0.0.3"} {
			key, id := newKey(t)
			infos = append(infos, peer.AddrInfo{ID: id, Addrs: sim.host(t, ip, key).Addrs()})
		}
		d := newDialer(t, h, infos...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		within(t, time.Second, "the two that live are connected while the dead one hangs", func() bool { return d.State().Connected == 2 })
		require.Equal(t, 3, d.State().Wanted)
		cancel()
		require.NoError(t, <-done)
	})
}

func TestDialerSkipsItself(t *testing.T) {
	h := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
	var logged strings.Builder
	cfg := DefaultConfig()
	cfg.Addrs = []peer.AddrInfo{{ID: h.ID(), Addrs: h.Addrs()}}
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	d, err := New(h, cfg)
	require.NoError(t, err)
	require.Zero(t, d.State().Wanted)
	require.Contains(t, logged.String(), "it is this node's own")
}

func TestAttemptExplainsEachFailure(t *testing.T) {
	h := loopbackHost(t, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")
	other := loopbackHost(t, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")
	_, wanted := newKey(t)

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusing := closed.Addr().(*net.TCPAddr)
	require.NoError(t, closed.Close())
	web := serveGarbage(t)

	tcp := func(a *net.TCPAddr) ma.Multiaddr {
		return ma.Join(ma.StringCast("/ip4/127.0.0.1"), ma.StringCast("/tcp/"+portOf(a)))
	}
	mismatch := "is " + other.ID().String() + ", not " + wanted.String()
	for name, c := range map[string]struct {
		addr  ma.Multiaddr
		words string
		want  Counters
	}{
		"refused":          {tcp(refusing), "connection refused (host up, nothing on that port)", Counters{Refused: 1}},
		"another id, TCP":  {other.Addrs()[0], mismatch, Counters{IDMismatch: 1}},
		"another id, QUIC": {other.Addrs()[1], mismatch, Counters{IDMismatch: 1}},
		"not libp2p":       {tcp(web), "not with libp2p's secure handshake", Counters{Security: 1}},
		"this node":        {h.Addrs()[0], "an address of this node itself", Counters{IDMismatch: 1}},
		"no transport":     {ma.StringCast("/ip4/127.0.0.1/udp/1"), "no transport", Counters{Other: 1}},
		"no such name":     {ma.StringCast("/dns4/absent.example/tcp/1"), "name not found", Counters{DNS: 1}},
		"no such record":   {ma.StringCast("/dnsaddr/absent.example"), "name not found", Counters{DNS: 1}},
		"record of others": {ma.StringCast("/dnsaddr/others.example"), "lists no address of this peer", Counters{DNS: 1}},
		"name refuses":     {ma.StringCast("/dns4/local.example/tcp/" + portOf(refusing)), "connection refused", Counters{Refused: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h.Peerstore().ClearAddrs(wanted)
			cfg := DefaultConfig()
			cfg.Addrs = []peer.AddrInfo{{ID: wanted, Addrs: []ma.Multiaddr{c.addr}}}
			cfg.Resolver = testResolver(t, other.ID())
			d, err := New(h, cfg)
			require.NoError(t, err)
			require.False(t, d.attempt(t.Context(), d.targets[0]))
			require.Equal(t, c.want, d.Counters())
			require.Contains(t, d.State().Failures[c.addr.String()+"/p2p/"+wanted.String()], c.words)
		})
	}
}

func TestAttemptReportsEveryAddressOfAPeer(t *testing.T) {
	h := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
	other := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
	_, wanted := newKey(t)
	refused, mismatched, nameless := ma.StringCast("/ip4/127.0.0.1/tcp/1"), other.Addrs()[0], ma.StringCast("/dns4/absent.example/tcp/1")
	cfg := DefaultConfig()
	cfg.Addrs = []peer.AddrInfo{{ID: wanted, Addrs: []ma.Multiaddr{refused, mismatched, nameless}}}
	cfg.Resolver = testResolver(t, other.ID())
	d, err := New(h, cfg)
	require.NoError(t, err)
	require.False(t, d.attempt(t.Context(), d.targets[0]))

	words := d.State().Failures
	require.Len(t, words, 3)
	require.Contains(t, words[withPeer(refused, wanted)], "connection refused")
	require.Contains(t, words[withPeer(mismatched, wanted)], "not "+wanted.String())
	require.Contains(t, words[withPeer(nameless, wanted)], "name not found")
	require.Equal(t, Counters{IDMismatch: 1}, d.Counters(), "one attempt, counted by what tells most")
}

func TestAttemptFollowsDNSNames(t *testing.T) {
	other := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
	port, err := other.Addrs()[0].ValueForProtocol(ma.P_TCP)
	require.NoError(t, err)
	for _, name := range []string{"/dns4/local.example/tcp/" + port, "/dnsaddr/boot.example"} {
		h := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
		cfg := DefaultConfig()
		cfg.Addrs = []peer.AddrInfo{{ID: other.ID(), Addrs: []ma.Multiaddr{ma.StringCast(name)}}}
		cfg.Resolver = testResolver(t, other.ID(), "dnsaddr=/dns4/local.example/tcp/"+port+"/p2p/"+other.ID().String())
		d, err := New(h, cfg)
		require.NoError(t, err)
		require.True(t, d.attempt(t.Context(), d.targets[0]), name)
		require.Equal(t, network.Connected, h.Network().Connectedness(other.ID()))
	}
}

func TestPauseGrowsWithJitterBetweenItsBounds(t *testing.T) {
	d := newDialer(t, loopbackHost(t))
	for tries := 1; tries < 100; tries++ {
		most := min(time.Second<<min(tries, 10), 30*time.Second)
		p := d.pause(tries)
		require.LessOrEqual(t, p, most)
		require.GreaterOrEqual(t, p, most/2)
	}
}

func TestValidateNamesEveryFaultyField(t *testing.T) {
	err := Config{MinBackoff: time.Hour, MaxBackoff: time.Minute, Addrs: []peer.AddrInfo{{}}}.Validate()
	require.ErrorContains(t, err, "MinBackoff 1h0m0s")
	require.ErrorContains(t, err, "AttemptTimeout 0s")
	require.ErrorContains(t, err, "SpareBackoff 0s")
	require.ErrorContains(t, err, "Addrs")
	require.NoError(t, DefaultConfig().Validate())
}

func portOf(a *net.TCPAddr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// serveGarbage listens on loopback and answers every connection as a web server would.
func serveGarbage(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr)
}

// testResolver knows local.example (127.0.0.1), boot.example (records) and others.example (a record of id's alone).
func testResolver(t *testing.T, id peer.ID, records ...string) network.MultiaddrDNSResolver {
	t.Helper()
	r, err := madns.NewResolver(madns.WithDefaultResolver(names{
		ips: map[string]string{"local.example": "127.0.0.1"},
		txt: map[string][]string{
			"_dnsaddr.boot.example":   records,
			"_dnsaddr.others.example": {"dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/" + id.String()},
		},
	}))
	require.NoError(t, err)
	return swarm.ResolverFromMaDNS{Resolver: r}
}

// names is a name server that, unlike go-multiaddr-dns's mock, says so when it does not have a name.
type names struct {
	ips map[string]string
	txt map[string][]string
}

func (n names) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	if ip, ok := n.ips[strings.TrimSuffix(name, ".")]; ok {
		return []net.IPAddr{{IP: net.ParseIP(ip)}}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (n names) LookupTXT(_ context.Context, name string) ([]string, error) {
	if txt, ok := n.txt[strings.TrimSuffix(name, ".")]; ok {
		return txt, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}
