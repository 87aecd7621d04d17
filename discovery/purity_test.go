package discovery

import (
	"testing"

	"github.com/p2pnode/p2pnode/testnet/puretest"
)

// The table of candidates, its view and its choices are values in and values out, but for libp2p's types of peers and addresses.
func TestTheTableIsPure(t *testing.T) {
	puretest.CheckFiles(t, []string{"github.com/libp2p/go-libp2p/core/peer", "github.com/multiformats/go-multiaddr", "net/netip"},
		"candidates.go", "choice.go", "group.go", "sampler.go", "view.go")
}
