package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Config says what a Replica joins and how. Make one with DefaultConfig and change what differs.
type Config struct {
	// Network isolates: it is part of every protocol ID, topic and signature. 1 to 32 of [a-z0-9-]. No default.
	Network string
	// Topics are the state topics to replicate beside "members". Each 1 to 32 of [a-z0-9-]. Default: "main".
	Topics []string
	// AntiEntropy is the time between syncs with a random peer, the backstop for what rumors and fingerprints missed.
	// Default 10 s, range 1 s to 10 min; jittered by a quarter. Raising it saves little: equal replicas spend under 100
	// bytes a topic.
	AntiEntropy time.Duration
	// Neighbours is how many peers this node exchanges beats with, as far as that is up to it: it opens beat streams until it has
	// so many, accepts others up to twice as many, and gives up those that it opened above one more. Default 4, range 3 to 64:
	// three must watch a member to call it dead without asking others, and one of four may be stopped itself. Raising it costs
	// two packets for each of them in each beat interval, on both sides: 190 bytes a second (measured).
	Neighbours int
	// TombstoneTTL is how long this node remembers its own deleted keys, so that replicas which were away learn of them.
	// Default 168 h, range 1 min to 365 days. Raising it costs memory for every deleted key.
	TombstoneTTL time.Duration
	// History is how many superseded values of each key this node remembers, in memory, for Topic.History. Default 8, range 1 to
	// 64; on each topic at most 4 MiB of them in all.
	History int
	// Liveness judges who is alive; see its own documentation.
	Liveness liveness.Config
	// FirstSync is how long the start waits for one sync before this node publishes, so that it learns what it said before.
	// Default 5 s; 0 for the first node of a network, which has nobody to ask.
	FirstSync time.Duration
	// Description is what this node tells about itself from its first publication on; Replica.Describe changes it.
	Description Description
	// Store keeps the state on disk. Nil keeps it in memory: the node then begins anew at every start.
	Store *store.Store
	// Gater is that of the host: dials that look after silent members go past the swarm, and ask it themselves. Nil: none.
	Gater connmgr.ConnectionGater
	// Logger gets the few events worth a line. Nil: none.
	Logger *slog.Logger
}

// DefaultConfig is the Config for network with the defaults that the fields name.
func DefaultConfig(network string) Config {
	return Config{
		Network: network, Topics: []string{"main"}, AntiEntropy: 10 * time.Second, TombstoneTTL: 168 * time.Hour,
		Neighbours: neighboursWanted, History: gossipstate.DefaultHistoryPerKey, Liveness: liveness.DefaultConfig(), FirstSync: 5 * time.Second,
	}
}

// Validate reports every fault of c at once, each with field, value and range; nil when there is none.
func (c *Config) Validate() error {
	var faults []error
	if err := wire.CheckName("network", c.Network); err != nil {
		faults = append(faults, err)
	}
	if len(c.Topics) == 0 || len(c.Topics) >= wire.MaxTopics {
		faults = append(faults, fmt.Errorf("topics: %d of them, must be 1 to %d", len(c.Topics), wire.MaxTopics-1))
	}
	for i, topic := range c.Topics {
		switch err := wire.CheckName("topic", topic); {
		case err != nil:
			faults = append(faults, err)
		case topic == wire.Members:
			faults = append(faults, fmt.Errorf("topic %q is reserved and always there", topic))
		case slices.Contains(c.Topics[:i], topic):
			faults = append(faults, fmt.Errorf("topic %q is named twice", topic))
		}
	}
	faults = append(faults,
		inRange("anti-entropy interval", c.AntiEntropy, time.Second, 10*time.Minute),
		inRange("neighbours", c.Neighbours, 3, 64),
		inRange("tombstone ttl", c.TombstoneTTL, time.Minute, 365*24*time.Hour),
		inRange("first sync", c.FirstSync, 0, time.Minute),
		inRange("history", c.History, 1, 64),
		c.Description.Validate(),
		c.Liveness.Validate())
	return errors.Join(faults...)
}

func inRange[T cmp.Ordered](what string, v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("%s %v is not between %v and %v", what, v, least, most)
	}
	return nil
}
