package node

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/stretchr/testify/require"
)

func newSecured(t *testing.T, listen string, secured ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append(secured, libp2p.ListenAddrStrings(listen))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// That nodes meet whose clocks differ is a test of processes: see package testnet.
func TestHostsOverTCPNeedNoCertificateAndSpeakTLSToWhoSpeaksNothingElse(t *testing.T) {
	const listen = "/ip4/127.0.0.1/tcp/0"
	secured, err := transports()
	require.NoError(t, err)
	h := newSecured(t, listen, secured)
	for want, other := range map[protocol.ID]host.Host{
		noise.ID:     newSecured(t, listen),
		libp2ptls.ID: newSecured(t, listen, libp2p.Security(libp2ptls.ID, libp2ptls.New)),
	} {
		require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}))
		require.Equal(t, want, h.Network().ConnsToPeer(other.ID())[0].ConnState().Security)
	}
}

func TestACertificateIsValidAtAnyTime(t *testing.T) {
	c, err := timeless()
	require.NoError(t, err)
	require.True(t, c.NotBefore.Before(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), "before the clock of a machine that has lost it")
	require.Equal(t, 9999, c.NotAfter.Year())
}
