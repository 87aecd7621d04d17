package bootstrap

import (
	"errors"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

const (
	idA = "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C"
	idB = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
	idQ = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
)

func TestParseTakesEveryUsableForm(t *testing.T) {
	for _, addr := range []string{
		"/ip4/203.0.113.7/tcp/4747",
		"/ip4/203.0.113.7/udp/4747/quic-v1",
		"/ip6/2001:db8::7/tcp/4747",
		"/ip6/::1/udp/4747/quic-v1",
		"/dns/boot.example.org/tcp/4747",
		"/dns4/boot.example.org/tcp/4747",
		"/dns6/boot.example.org/udp/4747/quic-v1",
		"/dnsaddr/boot.example.org",
		"/dnsaddr/boot.example.org/udp/4747/quic-v1",
		"/ip4/203.0.113.7/tcp/4747/p2p/" + idB + "/p2p-circuit",
		"/dns4/relay.example.org/udp/4747/quic-v1/p2p/" + idB + "/p2p-circuit",
	} {
		for _, id := range []string{idA, idQ} {
			info, err := Parse(" " + addr + "/p2p/" + id + "\n")
			require.NoError(t, err, addr)
			require.Equal(t, id, info.ID.String())
			require.Len(t, info.Addrs, 1)
			require.Equal(t, addr, info.Addrs[0].String())
		}
	}
}

func TestParseExplainsEachMistake(t *testing.T) {
	for _, c := range []struct{ addr, slug, detail, hint string }{
		{"", SlugBadMultiaddr, `bootstrap address is empty`, `write /ip4/`},
		{"127.0.0.1:4747", SlugBadMultiaddr, `bootstrap "127.0.0.1:4747" is a host:port, not a multiaddr`,
			`write /ip4/127.0.0.1/tcp/4747/p2p/PEER-ID; the other node prints its own with 'p2pnode id --addrs'`},
		{"[2001:db8::7]:4747", SlugBadMultiaddr, `is a host:port`, `write /ip6/2001:db8::7/tcp/4747/p2p/PEER-ID`},
		{"boot.example.org:4747", SlugBadMultiaddr, `is a host:port`, `write /dns/boot.example.org/tcp/4747/p2p/PEER-ID`},
		{"boot.example.org", SlugBadMultiaddr, `does not start with a slash`, `write /ip4/`},
		{":4747", SlugBadMultiaddr, `does not start with a slash`, `write /ip4/`},
		{"https://boot.example.org", SlugBadMultiaddr, `does not start with a slash`, `write /ip4/`},
		{idA, SlugBadMultiaddr, `is a peer id without an address`, `write /ip4/ADDRESS/tcp/4747/p2p/` + idA},
		{"/", SlugBadMultiaddr, `has no address in it`, `write /ip4/`},
		{"/ip4/203.0.113.7//tcp/4747/p2p/" + idA, SlugBadMultiaddr, `has nothing between two slashes`, ``},
		{"/ip4/203.0.113.7/tpc/4747/p2p/" + idA, SlugBadMultiaddr, `"tpc" is not the name of a protocol`, ``},
		{"/ip4/203.0.113.777/tcp/4747/p2p/" + idA, SlugBadMultiaddr, `"203.0.113.777" is not an IPv4 address`, ``},
		{"/ip6/203.0.113.7/tcp/4747/p2p/" + idA, SlugBadMultiaddr, `"203.0.113.7" is not an IPv6 address`, ``},
		{"/ip4/203.0.113.7/tcp/70000/p2p/" + idA, SlugBadMultiaddr, `"70000" is not a port (1 to 65535)`, ``},
		{"/ip4/203.0.113.7/tcp", SlugBadMultiaddr, `ends after /tcp, without its value`, ``},
		{"/" + strings.Repeat("x", maxAddrLen), SlugBadMultiaddr, `is 1025 bytes long, the limit is 1024`, ``},

		{"/ip4/203.0.113.7/tcp/4747", SlugMissingPeerID, `bootstrap /ip4/203.0.113.7/tcp/4747 has no /p2p/ part`,
			`add /p2p/ and the peer's id`},
		{"/dnsaddr/boot.example.org", SlugMissingPeerID, `has no /p2p/ part`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/", SlugMissingPeerID, `has nothing after /p2p/`, `add the peer's id`},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idB + "/p2p-circuit", SlugMissingPeerID, `has no /p2p/ part after /p2p-circuit`, ``},

		{"/ip4/203.0.113.7/tcp/4747/p2p/12D3Koo", SlugBadPeerID,
			`"12D3Koo" is not a peer id (too short: was it cut when copied?)`, `p2pnode id`},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idA[:51], SlugBadPeerID, `too short: was it cut when copied?`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idQ[:45], SlugBadPeerID, `too short: was it cut when copied?`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idA + "x", SlugBadPeerID, `too long: was something added`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/PEER-ID", SlugBadPeerID, `it has '-', which no peer id has`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + strings.Replace(idA, "o", "0", 1), SlugBadPeerID, `it has '0', which no peer id has`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/z" + idA[1:], SlugBadPeerID, `it does not decode: was a letter changed?`, ``},

		{"/ip4/203.0.113.7/p2p/" + idA, SlugUnusableMultiaddr, `has no transport`, `add /tcp/PORT or /udp/PORT/quic-v1 after /ip4/203.0.113.7`},
		{"/ip4/203.0.113.7/udp/4747/quic/p2p/" + idA, SlugUnusableMultiaddr, `/udp/4747/quic is the old QUIC name`, `use /udp/4747/quic-v1`},
		{"/ip4/203.0.113.7/udp/4747/p2p/" + idA, SlugUnusableMultiaddr, `/udp/4747 alone is no transport`, `use /udp/4747/quic-v1`},
		{"/ip4/203.0.113.7/tcp/4747/ipfs/" + idA, SlugUnusableMultiaddr, `uses /ipfs/, the old name of /p2p/`, `write /p2p/`},
		{"/ip4/203.0.113.7/tcp/0/p2p/" + idA, SlugUnusableMultiaddr, `port 0 can't be dialled`, `the port that the other node listens on`},
		{"/ip4/203.0.113.7/udp/0/quic-v1/p2p/" + idA, SlugUnusableMultiaddr, `port 0 can't be dialled`, ``},
		{"/ip4/203.0.113.7/tcp/443/ws/p2p/" + idA, SlugUnusableMultiaddr, `this node can't dial /ws`, `supported are /tcp/PORT and /udp/PORT/quic-v1`},
		{"/dns4/a.example/tcp/443/tls/ws/p2p/" + idA, SlugUnusableMultiaddr, `this node can't dial /tls`, `supported are`},
		{"/ip4/203.0.113.7/udp/4747/quic-v1/webtransport/p2p/" + idA, SlugUnusableMultiaddr, `this node can't dial /webtransport`, `supported are`},
		{"/ip4/203.0.113.7/udp/4747/webrtc-direct/p2p/" + idA, SlugUnusableMultiaddr, `this node can't dial /webrtc-direct`, `supported are`},
		{"/ip4/203.0.113.7/sctp/4747/p2p/" + idA, SlugUnusableMultiaddr, `this node can't dial /sctp`, `supported are`},
		{"/unix/run/p2pnode.sock", SlugUnusableMultiaddr, `this node can't dial /unix`, `supported are`},
		{"/ip4/0.0.0.0/tcp/4747/p2p/" + idA, SlugUnusableMultiaddr, `0.0.0.0 is an address to listen on`, `127.0.0.1`},
		{"/ip6/::/tcp/4747/p2p/" + idA, SlugUnusableMultiaddr, `:: is an address to listen on`, ``},
		{"/ip6/fe80::1/tcp/4747/p2p/" + idA, SlugUnusableMultiaddr, `fe80::1 is link-local`, ``},
		{"/ip4/224.0.0.251/udp/4747/quic-v1/p2p/" + idA, SlugUnusableMultiaddr, `224.0.0.251 is a multicast address`, ``},
		{"/p2p/" + idA, SlugUnusableMultiaddr, `has no address before /p2p/`, ``},
		{"/tcp/4747/p2p/" + idA, SlugUnusableMultiaddr, `starts with /tcp, not with a host`, `start with /ip4`},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idA + "/tcp/1", SlugUnusableMultiaddr, `goes on with /tcp after the peer's id`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p-circuit/p2p/" + idA, SlugUnusableMultiaddr, `does not name the relay before /p2p-circuit`, ``},
		{"/ip4/203.0.113.7/tcp/4747/p2p/" + idB + "/p2p-circuit/tcp/1/p2p/" + idA, SlugUnusableMultiaddr, `more than a peer's id after /p2p-circuit`, ``},
		{"/dnsaddr/boot.example.org/p2p/" + idB + "/p2p-circuit/p2p/" + idA, SlugUnusableMultiaddr, `does not look up /dnsaddr for a relay`, ``},
	} {
		_, err := Parse(c.addr)
		var fault *AddrError
		require.ErrorAs(t, err, &fault, c.addr)
		require.Equal(t, c.slug, fault.Slug, c.addr)
		require.Equal(t, c.addr, fault.Addr)
		require.Contains(t, fault.Error(), c.detail)
		require.Contains(t, fault.Hint, c.hint, c.addr)
		require.NotEmpty(t, fault.Hint, c.addr)
		require.NotContains(t, fault.Detail, "\n")
	}
}

func TestParseAllReportsEveryFaultAtOnce(t *testing.T) {
	infos, err := ParseAll([]string{"127.0.0.1:4747", "/ip4/203.0.113.7/tcp/4747/p2p/" + idA, "/ip4/203.0.113.7/tcp/4747"})
	require.Empty(t, infos)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var slugs []string
	for _, e := range joined.Unwrap() {
		var fault *AddrError
		require.ErrorAs(t, e, &fault)
		slugs = append(slugs, fault.Slug)
	}
	require.Equal(t, []string{SlugBadMultiaddr, SlugMissingPeerID}, slugs)
}

func TestParseAllMergesTheAddressesOfOnePeer(t *testing.T) {
	infos, err := ParseAll([]string{
		"/ip4/203.0.113.7/tcp/4747/p2p/" + idA,
		"/dnsaddr/boot.example.org/p2p/" + idB,
		"/ip4/203.0.113.7/udp/4747/quic-v1/p2p/" + idA,
		"/ip4/203.0.113.7/tcp/4747/p2p/" + idA,
	})
	require.NoError(t, err)
	require.Len(t, infos, 2)
	require.Equal(t, idA, infos[0].ID.String())
	require.Len(t, infos[0].Addrs, 2)
	require.Equal(t, idB, infos[1].ID.String())

	none, err := ParseAll(nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// FuzzParse: no input panics, an error is always an AddrError, and what parses can be printed and parsed again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"/ip4/203.0.113.7/tcp/4747/p2p/" + idA,
		"/dnsaddr/boot.example.org/p2p/" + idB,
		"/ip4/203.0.113.7/udp/4747/quic-v1/p2p/" + idB + "/p2p-circuit/p2p/" + idA,
		"/ip6zone/eth0/ip6/fe80::1/udp/1/quic-v1/p2p/" + idQ,
		"/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uEiA/p2p/" + idA,
		"127.0.0.1:4747", "/unix/a/b", "//", "/p2p", "/ip4/1.2.3.4/tcp/1/http-path/%2f",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		info, err := Parse(s)
		if err != nil {
			var fault *AddrError
			if !errors.As(err, &fault) || fault.Slug == "" || fault.Detail == "" || fault.Hint == "" {
				t.Fatalf("not a whole AddrError: %#v", err)
			}
			return
		}
		full, err := peer.AddrInfoToP2pAddrs(&info)
		if err != nil || len(full) != 1 {
			t.Fatalf("%q parses to %v, which has no text: %v", s, info, err)
		}
		again, err := Parse(full[0].String())
		if err != nil || again.ID != info.ID || !again.Addrs[0].Equal(info.Addrs[0]) {
			t.Fatalf("%q parses to %v, that to %v: %v", s, info, again, err)
		}
	})
}
