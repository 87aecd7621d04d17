package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// PhiEvery is the time between two samples of the suspicion levels (guess: more often than three beats are missed).
	PhiEvery = 2 * time.Second
	// phiSamples is how many samples of each member are kept: those of a minute.
	phiSamples = 30
)

// phis are the suspicion levels of members over the last minute: of the neighbours, and of who is suspect or dead.
type phis struct {
	mu   sync.Mutex
	all  map[peer.ID][]float64 // oldest first, at most phiSamples
	last map[peer.ID]int       // round of the newest sample
	n    int                   // rounds
}

// add takes one sample of each member. Who has none for a minute is dropped, and a gap before that is closed by zeros: nothing
// spoke against a member that was not looked at.
func (p *phis) add(sample map[peer.ID]float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all, p.last = map[peer.ID][]float64{}, map[peer.ID]int{}
	}
	p.n++
	for id, phi := range sample {
		history := p.all[id]
		if len(history) > 0 {
			history = append(history, make([]float64, p.n-1-p.last[id])...)
		}
		history = append(history, phi)
		p.all[id], p.last[id] = slices.Clone(history[max(0, len(history)-phiSamples):]), p.n
	}
	for id, last := range p.last {
		if p.n-last >= phiSamples {
			delete(p.all, id)
			delete(p.last, id)
		}
	}
}

// of is a copy of the samples of a member, oldest first, up to the newest round.
func (p *phis) of(id peer.ID) []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	history := p.all[id]
	if len(history) == 0 {
		return nil
	}
	history = append(slices.Clone(history), make([]float64, p.n-p.last[id])...)
	return history[max(0, len(history)-phiSamples):]
}

// samplePhi runs until ctx ends or the replica stops.
func (n *Node) samplePhi(ctx context.Context) error {
	tick := time.NewTicker(PhiEvery)
	defer tick.Stop()
	for {
		sample, err := n.replica.Phis(ctx)
		if err != nil {
			return err
		}
		n.phis.add(sample)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// PhiHistory is the suspicion level of a member over the last minute, a sample every PhiEvery, oldest first; nil when it was
// neither a neighbour nor under suspicion.
func (n *Node) PhiHistory(id peer.ID) []float64 { return n.phis.of(id) }
