package discovery

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func localConfig() Config {
	cfg := DefaultConfig()
	cfg.Network = "test"
	cfg.Profile = Local
	return cfg
}

func loopbackHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"))
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

// run runs discovery on h until the returned function.
func run(t *testing.T, h host.Host, cfg Config) (*Discovery, func()) {
	t.Helper()
	d, err := New(h, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestNamesOfANetwork(t *testing.T) {
	require.Equal(t, "/p2pnode/main", Rendezvous("main"))
	require.EqualValues(t, "/p2pnode/main/kad/1.0.0", DHTProtocol("main"))
	require.EqualValues(t, "/p2pnode/main/peers/1.0.0", PeersProtocol("main"))
	require.Equal(t, "_p2pnode-0d6e4079._udp", MDNSService("main"))
}

func TestValidateReportsEveryFaultAtOnce(t *testing.T) {
	require.ErrorContains(t, DefaultConfig().Validate(), `Network "" is not`)
	err := Config{Network: "Main", Profile: "office", Low: 9, Target: 8}.Validate()
	for _, field := range []string{`Network "Main"`, `Profile "office"`, "Low 9", "Candidates 0", "AdvertiseInterval 0s",
		"LookupInterval 0s", "MendInterval 0s", "ExchangeInterval 0s"} {
		require.ErrorContains(t, err, field)
	}
	cfg := localConfig()
	require.NoError(t, cfg.Validate())
	cfg.MDNS = true
	require.ErrorContains(t, cfg.Validate(), "profile local must not")
	_, err = New(nil, cfg)
	require.Error(t, err)
}

func TestRunLeavesNothingBehind(t *testing.T) {
	h, other := loopbackHost(t), loopbackHost(t)
	require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}))
	leaks := goleak.IgnoreCurrent()
	sub, err := h.EventBus().Subscribe(new(event.EvtPeerProtocolsUpdated))
	require.NoError(t, err)
	_, stop := run(t, h, localConfig())
	_, stopOther := run(t, other, localConfig())
	<-sub.Out() // each knows that the other serves the DHT, so they talk
	stop()
	stopOther()
	require.NoError(t, sub.Close())
	goleak.VerifyNone(t, leaks)
	require.NotContains(t, h.Mux().Protocols(), DHTProtocol("test"))
}

func TestProfileLocalDialsLoopbackOnly(t *testing.T) {
	h, target := loopbackHost(t), loopbackHost(t)
	d, stop := run(t, h, localConfig())
	_, stopTarget := run(t, target, localConfig())
	defer stopTarget()
	defer stop()

	away := ma.StringCast("/ip4/192.0.2.1/tcp/4747")
	_, stranger := newPeer(t)
	d.Add(peer.AddrInfo{ID: stranger, Addrs: []ma.Multiaddr{away}})

	// What someone claimed about the target earlier is dropped, not dialled.
	h.Peerstore().AddAddr(target.ID(), away, peerstore.PermanentAddrTTL)
	sub, err := h.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	require.NoError(t, err)
	defer sub.Close()
	d.Add(peer.AddrInfo{ID: target.ID(), Addrs: append([]ma.Multiaddr{away}, target.Addrs()...)})
	select {
	case e := <-sub.Out():
		require.Equal(t, target.ID(), e.(event.EvtPeerConnectednessChanged).Peer)
	case <-time.After(10 * time.Second):
		t.Fatal("not connected")
	}
	require.NotContains(t, h.Peerstore().Addrs(target.ID()), away)
	got := d.Counters()
	require.Equal(t, uint64(1), got.Found, "the stranger has no address to dial")
	require.Equal(t, uint64(1), got.Dropped.Address)
	require.Equal(t, network.NotConnected, h.Network().Connectedness(stranger))
}

func TestAddNeverBlocks(t *testing.T) {
	d, err := New(loopbackHost(t), localConfig())
	require.NoError(t, err)
	for range maxOffers + 10 {
		d.Add(info("z", 1))
	}
	require.Equal(t, uint64(10), d.Counters().Dropped.Queue)
}
