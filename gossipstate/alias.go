package gossipstate

import "github.com/p2pnode/p2pnode/gossipstate/wire"

// The words of the wire are the words of the state.
type (
	ID           = wire.ID
	Generation   = wire.Generation
	Version      = wire.Version
	Clock        = wire.Clock
	Root         = wire.Root
	Digest       = wire.Digest
	SignedDigest = wire.SignedDigest
	Entry        = wire.Entry
	Update       = wire.Update
)

// Members is the reserved topic that every node is on.
const Members = wire.Members
