package node

import (
	"context"
	"path/filepath"
	"time"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/discovery"
)

const (
	// peersFile is the name of the remembered peers in the data directory.
	peersFile = "peers.json"

	// peersFirst is when they are first written, and peersEvery how often then: what a crash may cost. One write is 40 KB at
	// most usual sizes. Guesses.
	peersFirst = 10 * time.Second
	peersEvery = 5 * time.Minute
)

func (n *Node) peersPath() string { return filepath.Join(n.cfg.DataDir, peersFile) }

// readPeers reads whom an earlier run remembered. A file that can't be read is said and costs no start.
func (n *Node) readPeers() []discovery.Remembered {
	peers, err := bootstrap.ReadPeers(n.peersPath(), time.Now())
	if err != nil {
		n.log.Warn("starting without remembered peers", "error", err)
	}
	remembered := make([]discovery.Remembered, len(peers))
	for i, p := range peers {
		remembered[i] = discovery.Remembered(p)
	}
	return remembered
}

// keepPeers writes whom this run remembers, until ctx is done.
func (n *Node) keepPeers(ctx context.Context) {
	timer := time.NewTimer(peersFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			n.writePeers(ctx)
			timer.Reset(peersEvery)
		}
	}
}

// writePeers writes the peers worth remembering, if there are any: a node that met nobody keeps what it had.
func (n *Node) writePeers(ctx context.Context) {
	remembered := n.discovery.Remembered(ctx)
	if len(remembered) == 0 || ctx.Err() != nil {
		return
	}
	peers := make([]bootstrap.Peer, len(remembered))
	for i, r := range remembered {
		peers[i] = bootstrap.Peer(r)
	}
	if err := bootstrap.WritePeers(n.peersPath(), peers); err != nil {
		n.log.Warn("the peers to remember are not written; trying again", "error", err, "in", peersEvery)
	}
}
