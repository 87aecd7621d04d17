package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func remembered(t *testing.T, n int) []Peer {
	t.Helper()
	var peers []Peer
	for i := range n {
		_, id := newKey(t)
		addr := ma.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", i+1))
		p := Peer{Info: peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}}, Alive: noon.Add(-time.Duration(i) * time.Minute), Chosen: i%2 == 0}
		if i%3 == 0 {
			p.Failed, p.Failures = noon.Add(-time.Second), i
		}
		peers = append(peers, p)
	}
	return peers
}

func TestRememberedPeersAreReadAsTheyWereWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	none, err := ReadPeers(path, noon)
	require.NoError(t, err)
	require.Empty(t, none)
	for _, n := range []int{0, 3, 7} { // each in place of the one before
		peers := remembered(t, n)
		require.NoError(t, WritePeers(path, peers))
		got, err := ReadPeers(path, noon)
		require.NoError(t, err)
		require.Equal(t, append([]Peer{}, peers...), got)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing is left of the writing")
}

func TestAMemoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	peers := remembered(t, MaxPeers+10)
	long := ma.StringCast("/dns4/" + strings.Repeat("a.", 100) + "example/udp/65535/quic-v1/p2p/" + peers[0].Info.ID.String() + "/p2p-circuit")
	for i := range peers {
		for range maxMemoryAddrs + 10 {
			peers[i].Info.Addrs = append(peers[i].Info.Addrs, long)
		}
	}
	require.NoError(t, WritePeers(path, peers))
	got, err := ReadPeers(path, noon)
	require.NoError(t, err, "what is written at most can be read")
	require.Len(t, got, MaxPeers)
	require.Len(t, got[0].Info.Addrs, maxMemoryAddrs)
}

func TestADamagedMemoryIsSaidAndPutAside(t *testing.T) {
	_, id := newKey(t)
	one := `{"id":"` + id.String() + `","addrs":["/ip4/192.0.2.1/tcp/1"],"alive":"2026-11-22T12:00:00Z"}`
	for name, text := range map[string]string{
		"empty":          "",
		"cut":            `{"format":1,"peers":[` + one,
		"zeros":          strings.Repeat("\x00", 100),
		"another format": `{"format":2,"peers":[` + one + `]}`,
		"no peer id":     `{"format":1,"peers":[{"id":"me","addrs":["/ip4/192.0.2.1/tcp/1"]}]}`,
		"no address":     `{"format":1,"peers":[{"id":"` + id.String() + `"}]}`,
		"no multiaddr":   strings.Replace(`{"format":1,"peers":[`+one+`]}`, "/ip4/", "ip4:", 1),
		"too many":       `{"format":1,"peers":[` + strings.Repeat(one+",", MaxPeers) + one + `]}`,
		"too long":       `{"format":1,"peers":[` + one + `]}` + strings.Repeat(" ", maxMemory),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "peers.json")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			peers, err := ReadPeers(path, noon)
			require.Empty(t, peers)
			var damaged *DamagedError
			require.ErrorAs(t, err, &damaged)
			require.ErrorContains(t, err, path)
			kept, err := os.ReadFile(damaged.Aside)
			require.NoError(t, err)
			require.Equal(t, text, string(kept))
			require.NoFileExists(t, path)
			require.NoError(t, WritePeers(path, nil))
		})
	}
}

func TestTimesFromAfterNowAreNow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	require.NoError(t, WritePeers(path, remembered(t, 1)))
	got, err := ReadPeers(path, noon.Add(-24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, noon.Add(-24*time.Hour), got[0].Alive)
	require.Equal(t, noon.Add(-24*time.Hour), got[0].Failed)
}

// A name is looked up at every attempt, so a peer that moved is found where its name leads now.
func TestEveryAttemptLooksTheNameUpAgain(t *testing.T) {
	other := loopbackHost(t, "/ip4/127.0.0.1/tcp/0")
	port, err := other.Addrs()[0].ValueForProtocol(ma.P_TCP)
	require.NoError(t, err)
	records := []string{"dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/" + other.ID().String()}
	cfg := DefaultConfig()
	cfg.Addrs = []peer.AddrInfo{{ID: other.ID(), Addrs: []ma.Multiaddr{ma.StringCast("/dnsaddr/boot.example")}}}
	cfg.Resolver = testResolver(t, other.ID(), records...)
	d, err := New(loopbackHost(t, "/ip4/127.0.0.1/tcp/0"), cfg)
	require.NoError(t, err)
	require.False(t, d.attempt(t.Context(), d.targets[0]))
	d.cfg.Resolver = testResolver(t, other.ID(), "dnsaddr=/ip4/127.0.0.1/tcp/"+port+"/p2p/"+other.ID().String())
	require.True(t, d.attempt(t.Context(), d.targets[0]))
}
