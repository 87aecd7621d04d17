package discovery

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/stretchr/testify/require"
)

const inNamespace = "P2PNODE_TEST_IN_NETWORK_NAMESPACE"

// enterNamespace runs the calling test again, in a network namespace of its own, and reports whether this is that run. What
// the test sends then reaches nobody's network.
func enterNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Skipf("this machine gives no network namespace: %v", err)
		}
		require.NoErrorf(t, err, "%s", out)
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		return false
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up", "multicast", "on"},
		{"addr", "add", "10.77.0.1/24", "dev", "lo"},
		{"route", "add", "224.0.0.0/4", "dev", "lo"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	return true
}

func TestMDNSFindsTheNodesOfTheSameNetworkOnly(t *testing.T) {
	if !enterNamespace(t) {
		return
	}
	start := func(network string) host.Host {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/10.77.0.1/udp/0/quic-v1"))
		require.NoError(t, err)
		cfg := DefaultConfig()
		cfg.Network, cfg.MDNS = network, true
		_, stop := run(t, h, cfg)
		t.Cleanup(func() { stop(); h.Close() })
		return h
	}
	other := start("other")
	a := start("test")
	sub, err := a.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	require.NoError(t, err)
	defer sub.Close()
	b := start("test")
	select {
	case e := <-sub.Out():
		require.Equal(t, b.ID(), e.(event.EvtPeerConnectednessChanged).Peer)
	case <-time.After(20 * time.Second):
		t.Fatal("not found in 20 s")
	}
	require.Empty(t, other.Network().Peers())
}
