package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
)

// What is remembered of peers that are not connected. Guesses: a DHT of a thousand nodes with some ten addresses each.
const (
	maxProtocols = 64 // of one peer; a node has some 20
	maxPeerAddrs = 16
	maxAddrs     = 16 << 10 // of all peers; as many signed records
)

// knownPeers is libp2p's peer store in memory, bounded, and without its leak: up to go-libp2p v0.51 at least, the addresses of
// who disconnects are never let go. They come to be expired in pstoremem's peerAddrs.Update, which leaves out what was connected.
type knownPeers struct {
	peerstore.Peerstore
	certified peerstore.CertifiedAddrBook // of the same
}

func newPeerstore() (peerstore.Peerstore, error) {
	ps, err := pstoremem.NewPeerstore(
		pstoremem.WithMaxProtocols(maxProtocols), pstoremem.WithMaxAddressesPerPeer(maxPeerAddrs),
		pstoremem.WithMaxAddresses(maxAddrs), pstoremem.WithMaxSignedPeerRecords(maxAddrs))
	if err != nil {
		return nil, fmt.Errorf("peer store: %w", err)
	}
	certified, ok := peerstore.GetCertifiedAddrBook(ps)
	if !ok {
		return nil, errors.Join(errors.New("peer store: it keeps no signed records"), ps.Close())
	}
	return knownPeers{ps, certified}, nil
}

// ConsumePeerRecord implements peerstore.CertifiedAddrBook.
func (k knownPeers) ConsumePeerRecord(e *record.Envelope, ttl time.Duration) (accepted bool, err error) {
	return k.certified.ConsumePeerRecord(e, ttl)
}

// GetPeerRecord implements peerstore.CertifiedAddrBook.
func (k knownPeers) GetPeerRecord(p peer.ID) *record.Envelope { return k.certified.GetPeerRecord(p) }

// UpdateAddrs implements peerstore.AddrBook. Addresses that stop being those of a connection are put in anew, with all others of
// the peer, so that they expire.
func (k knownPeers) UpdateAddrs(p peer.ID, oldTTL, newTTL time.Duration) {
	if oldTTL < peerstore.ConnectedAddrTTL || newTTL == 0 || newTTL >= peerstore.ConnectedAddrTTL {
		k.Peerstore.UpdateAddrs(p, oldTTL, newTTL)
		return
	}
	addrs, signed := k.Addrs(p), k.GetPeerRecord(p)
	k.ClearAddrs(p)
	k.AddAddrs(p, addrs, newTTL)
	if signed != nil {
		_, _ = k.ConsumePeerRecord(signed, newTTL) // it was taken before
	}
}
