package replica

import _ "github.com/p2pnode/p2pnode/testnet/bubble" // this package tests in bubbles
