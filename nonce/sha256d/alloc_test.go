//go:build !race

package sha256d

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/nonce"
)

// Not under the race detector: its build of the standard library allocates in AppendBinary.
func TestScanDoesNotAllocatePerNonce(t *testing.T) {
	header := mustHeader(t, blocks[0].header)
	k := NewKernel(header, mustTarget(t, header))
	scan := func(n uint64) float64 {
		return testing.AllocsPerRun(5, func() { k.Scan(nonce.Range{Start: 0, End: n}) })
	}
	require.Equal(t, scan(10), scan(1000))
}
