package sim

import (
	"testing"

	"github.com/p2pnode/p2pnode/testnet/puretest"
)

func TestPure(t *testing.T) { puretest.Check(t, ".") }
