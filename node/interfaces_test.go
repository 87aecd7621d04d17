package node

import (
	"errors"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// A machine whose addresses change, and a host that finds out a minute later.
func TestAddressesFollowTheInterfaces(t *testing.T) {
	var machine []string
	fails := false
	f := newInterfaces()
	f.look = func() ([]multiaddr.Multiaddr, error) {
		if fails {
			return nil, errors.New("no such luck")
		}
		return multiaddrs(machine), nil
	}
	at := time.Unix(1_800_000_000, 0)
	amend := func(found ...string) (amended []string) {
		for _, addr := range f.amend(multiaddrs(found), multiaddrs([]string{"/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/2"}), at) {
			amended = append(amended, addr.String())
		}
		return amended
	}
	machine = []string{"/ip4/127.0.0.1", "/ip4/11.0.0.1", "/ip4/11.0.0.2", "/ip6/fe80::1"}
	require.Equal(t, []string{"/ip4/11.0.0.1/tcp/1", "/ip4/99.0.0.1/tcp/7"}, amend("/ip4/11.0.0.1/tcp/1", "/ip4/99.0.0.1/tcp/7"),
		"what the host leaves out for reasons of its own stays out, what it has from elsewhere stays")

	machine = []string{"/ip4/127.0.0.1", "/ip4/11.0.0.9", "/ip4/11.0.0.2", "/ip6/fe80::2"}
	require.Equal(t, []string{"/ip4/11.0.0.1/tcp/1"}, amend("/ip4/11.0.0.1/tcp/1"), "the interfaces are not read at each call")
	at = at.Add(interfacesFor)
	require.Equal(t, []string{"/ip4/99.0.0.1/tcp/7", "/ip4/11.0.0.9/tcp/1"}, amend("/ip4/11.0.0.1/tcp/1", "/ip4/99.0.0.1/tcp/7"))
	require.Equal(t, []string{"/ip4/11.0.0.9/tcp/1"}, amend("/ip4/11.0.0.9/tcp/1"), "once is enough")

	fails = true
	at = at.Add(interfacesFor)
	require.Equal(t, []string{"/ip4/11.0.0.9/tcp/1"}, amend("/ip4/11.0.0.1/tcp/1"), "as it was")
	fails = false

	at = at.Add(newFor)
	require.Empty(t, amend("/ip4/11.0.0.1/tcp/1"), "the host knows it by now, and may have reasons")

	machine = []string{"/ip4/127.0.0.1", "/ip4/11.0.0.1"}
	at = at.Add(interfacesFor)
	require.Equal(t, []string{"/ip4/11.0.0.1/tcp/1"}, amend("/ip4/11.0.0.9/tcp/1", "/ip4/11.0.0.2/tcp/1"), "it is back")

	at = at.Add(goneFor)
	require.Equal(t, []string{"/ip4/11.0.0.9/tcp/1"}, amend("/ip4/11.0.0.9/tcp/1"), "it may be the router's now")
}
