package node

import (
	"time"

	"github.com/p2pnode/p2pnode/discovery"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// What MembershipConfig.Quiet comes to. Each beat on each stream is one packet and half an acknowledgement, together 130 bytes
// on the wire (measured).
const (
	// quietBeats: a beat is late after 5/4 intervals, and a machine that refuses connections then is believed at once: 3.75 s
	// and what the quorum takes, less than 5 s.
	quietBeats = 3 * time.Second
	// quietNeighbours is a quorum, and the fewest that make a random network connected.
	quietNeighbours = 3
	// quietBudget, in bytes a second, is the smallest for beats of far members.
	quietBudget = 32
	// quietAntiEntropy is for what rumors and the fingerprints in beats have missed, which is next to nothing.
	quietAntiEntropy = time.Minute
	// quietHeartbeat is gossipsub's: how long a change of its mesh waits. It sends nothing by itself while the mesh is whole.
	quietHeartbeat = 5 * time.Second
	quietAdvertise = discovery.RecordTTL / 3 // the longest
	quietLookup    = time.Hour
	// quietExchange is for exchanges of peers, which are to follow those who come and go. Sooner while neighbours are missing.
	quietExchange = 5 * time.Minute
	// quietLowPeers and quietMaxPeers are for the connections, which libp2p keeps alive: the overlay wants 8. They are marks for
	// trimming, not a limit: among 32 nodes, two minutes after they began, each still had 29 (measured).
	quietLowPeers = 10
	quietMaxPeers = 16
)

// quieten slows down what repeats itself, unless it is slower already.
func quieten(cfg *replica.Config) {
	cfg.Liveness.BeatInterval = max(cfg.Liveness.BeatInterval, quietBeats)
	cfg.Liveness.BeatBudget = quietBudget
	cfg.Neighbours = quietNeighbours
	cfg.AntiEntropy = max(cfg.AntiEntropy, quietAntiEntropy)
}
