package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// leave does what identify does when the last connection of a peer is gone.
func leave(ps peerstore.Peerstore, p peer.ID) {
	addrs := ps.Addrs(p)
	ps.UpdateAddrs(p, peerstore.ConnectedAddrTTL, peerstore.TempAddrTTL)
	ps.AddAddrs(p, addrs, peerstore.RecentlyConnectedAddrTTL)
	ps.UpdateAddrs(p, peerstore.TempAddrTTL, 0)
}

func TestNothingIsLeftOfPeersThatAreLongGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps, err := newPeerstore()
		require.NoError(t, err)
		defer ps.Close()
		certified, ok := peerstore.GetCertifiedAddrBook(ps)
		require.True(t, ok)
		for range 10 {
			key, _, err := crypto.GenerateEd25519Key(nil)
			require.NoError(t, err)
			id, err := peer.IDFromPrivateKey(key)
			require.NoError(t, err)
			var addrs []multiaddr.Multiaddr
			for port := range 10 {
				addrs = append(addrs, multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", 1+port)))
			}
			signed, err := record.Seal(&peer.PeerRecord{PeerID: id, Addrs: addrs[:5], Seq: 1}, key)
			require.NoError(t, err)
			_, err = certified.ConsumePeerRecord(signed, peerstore.ConnectedAddrTTL)
			require.NoError(t, err)
			ps.AddAddrs(id, addrs, peerstore.ConnectedAddrTTL)
			time.Sleep(time.Hour)
			require.Len(t, ps.Addrs(id), 10, "those of a connection stay")

			leave(ps, id)
			require.Len(t, ps.Addrs(id), 10)
			require.NotNil(t, certified.GetPeerRecord(id))
			time.Sleep(peerstore.RecentlyConnectedAddrTTL / 2)
			require.Len(t, ps.Addrs(id), 10, "it may come back")
		}
		require.NotEmpty(t, ps.PeersWithAddrs())
		time.Sleep(peerstore.RecentlyConnectedAddrTTL + 2*time.Minute)
		require.Empty(t, ps.PeersWithAddrs())
	})
}

func TestWhatIsKnownOfPeersIsBounded(t *testing.T) {
	ps, err := newPeerstore()
	require.NoError(t, err)
	defer ps.Close()
	var addrs []multiaddr.Multiaddr
	for port := range 2 * maxPeerAddrs {
		addrs = append(addrs, multiaddr.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", 1+port)))
	}
	known := 0
	for i := range 2 * maxAddrs / maxPeerAddrs {
		id := peer.ID(fmt.Sprint(i))
		ps.AddAddrs(id, addrs, time.Hour)
		known += len(ps.Addrs(id))
		require.LessOrEqual(t, len(ps.Addrs(id)), maxPeerAddrs)
	}
	require.Equal(t, maxAddrs, known)
}
