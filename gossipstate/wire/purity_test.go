package wire_test

import (
	"testing"

	"github.com/p2pnode/p2pnode/testnet/puretest"
)

// The package itself: pb holds generated code, which keeps a lazily built type table behind a sync.Once.
func TestPackageIsPure(t *testing.T) { puretest.Check(t, ".") }
