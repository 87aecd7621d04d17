package api

import (
	"context"
	"iter"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// fakeExports is what a fakeNode exports and how it takes an import.
type fakeExports struct {
	snapshots []*replica.Snapshot
	err       error // after them
	asked     []replica.ExportOptions
	taken     []*replica.Snapshot
	dryRuns   []bool
	// take is what becomes of a snapshot; nil: all are applied.
	take func(*replica.Snapshot) (replica.ImportResult, error)
}

func (n *fakeNode) Export(_ context.Context, o replica.ExportOptions) iter.Seq2[*replica.Snapshot, error] {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.exports.asked = append(n.exports.asked, o)
	return func(yield func(*replica.Snapshot, error) bool) {
		for _, s := range n.exports.snapshots {
			if !yield(s, nil) {
				return
			}
		}
		if n.exports.err != nil {
			yield(nil, n.exports.err)
		}
	}
}

func (n *fakeNode) Import(dryRun bool) Importer {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.exports.dryRuns = append(n.exports.dryRuns, dryRun)
	return fakeImporter{n}
}

type fakeImporter struct{ n *fakeNode }

func (im fakeImporter) Add(_ context.Context, s *replica.Snapshot) (replica.ImportResult, error) {
	im.n.mu.Lock()
	defer im.n.mu.Unlock()
	if im.n.exports.take != nil {
		if result, err := im.n.exports.take(s); err != nil || result != replica.ImportApplied {
			return result, err
		}
	}
	im.n.exports.taken = append(im.n.exports.taken, s)
	return replica.ImportApplied, nil
}
