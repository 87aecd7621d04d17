package replica

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// OwnerOf is the owner whose key p names. Only Ed25519 identities can own state.
func OwnerOf(p peer.ID) (gossipstate.ID, error) {
	key, err := p.ExtractPublicKey()
	if err != nil {
		return gossipstate.ID{}, fmt.Errorf("peer %s: its id does not hold an Ed25519 key: %w", p, err)
	}
	if key.Type() != pb.KeyType_Ed25519 {
		return gossipstate.ID{}, fmt.Errorf("peer %s: %s key, but only Ed25519 identities can own state", p, key.Type())
	}
	raw, err := key.Raw()
	if err != nil {
		return gossipstate.ID{}, fmt.Errorf("peer %s: %w", p, err)
	}
	id := gossipstate.ID(raw)
	if id.Weak() {
		return gossipstate.ID{}, fmt.Errorf("peer %s: a point of small order, for which anybody can sign", p)
	}
	return id, nil
}

// PeerOf is the libp2p identity of owner.
func PeerOf(owner gossipstate.ID) peer.ID {
	key, err := crypto.UnmarshalEd25519PublicKey(owner[:])
	if err != nil {
		panic("replica: 32 bytes are always an Ed25519 key: " + err.Error())
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		panic("replica: an Ed25519 key always has a peer id: " + err.Error())
	}
	return id
}
