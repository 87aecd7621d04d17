package sim

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Config says which network is simulated. Make one with DefaultConfig and change what differs.
type Config struct {
	// Seed decides everything that is random. The same Config and the same operations at the same times give the same run.
	Seed uint64
	// Nodes of the network, all started within StartSpread. 1 to 16,384.
	Nodes int
	// Followers is how many of the nodes, the last ones, only read: they hold everything, pass rumors on and sync, but sign
	// nothing, do not beat, judge nobody and are no members. Default 0, range 0 to Nodes-1. What a member holds of each other
	// member is about 2.5 KB here, most of it as in a real node: 1,000 members take 5 GB, and networks that are larger than
	// that have to be followers, whose cost depends on the members alone.
	Followers int
	// Degree is the number of overlay links of each node; all others, when there are no more. Default 8, what discovery
	// aims for. Range 2 to 64. Raising it costs bytes for rumors and beats and shortens paths.
	Degree int

	// Latency is the mean one-way latency: that of each link is fixed, uniform in Latency/2 to 3 Latency/2. Default 50 ms.
	// Range 0 to 10 s.
	Latency time.Duration
	// Jitter is the most that is added to the latency of a single frame. Default 10 ms, range 0 to 10 s. Above the time
	// between two rumors it reorders them; frames of one stream stay in order.
	Jitter time.Duration
	// Loss is the probability that one transmission is lost, 0 to 0.9. A rumor is then gone, as when a pubsub queue is
	// full; a frame of a stream is sent again, twice, after a time-out that doubles, and those behind it wait. Default 0.
	Loss float64
	// Duplicate is the probability that a rumor comes twice, the second time past the memory of what was seen. Default 0.
	Duplicate float64
	// Break is the probability that a stream breaks instead of carrying a frame, 0 to 0.9. Default 0.
	Break float64
	// NoRumors says that nothing is published on pubsub: anti-entropy alone moves state. Default false.
	NoRumors bool
	// Resets says that a connection ends at once when the process at its other end is killed, as with TCP. Default false,
	// as with QUIC: it ends after IdleTimeout.
	Resets bool
	// IdleTimeout is when a connection without an answer ends. Default 30 s (QUIC in libp2p), range 1 s to 10 min.
	IdleTimeout time.Duration
	// Redial is the mean pause between two tries to restore a link. Default 2 s (guess), range 10 ms to 10 min.
	Redial time.Duration
	// StartSpread is the time over which the nodes start. Default 1 s, range 0 to 1 h.
	StartSpread time.Duration

	// AntiEntropy, FirstSync and TombstoneTTL are as in replica.Config, with the same defaults.
	AntiEntropy  time.Duration
	FirstSync    time.Duration
	TombstoneTTL time.Duration
	// Tick is how often a node looks after what is due: verdicts, syncs, pulls. Default 100 ms, as in package replica. Range 10 ms to
	// 250 ms, the most that package liveness allows. Raising it makes large networks cheaper to simulate, and every verdict later
	// by as much.
	Tick time.Duration
	// BeatLength is the length of a beat chain. Default and most wire.MaxBeats; a short one renews often. At least 66: one
	// with 64 left is renewed.
	BeatLength uint32
	// Liveness is that of every node.
	Liveness liveness.Config

	// VerifyOnce verifies each distinct message once per simulation instead of once per node that gets it. Default true:
	// 200 nodes hear of each other in 0.1 s of verifying instead of 1.3 s.
	VerifyOnce bool
}

// DefaultConfig is a sound network of that many nodes with the defaults that the fields name.
func DefaultConfig(seed uint64, nodes int) Config {
	return Config{
		Seed: seed, Nodes: nodes, Degree: 8,
		Latency: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, IdleTimeout: 30 * time.Second,
		Redial: 2 * time.Second, StartSpread: time.Second,
		AntiEntropy: 10 * time.Second, FirstSync: 5 * time.Second, TombstoneTTL: 168 * time.Hour, Tick: 100 * time.Millisecond,
		BeatLength: wire.MaxBeats, Liveness: liveness.DefaultConfig(), VerifyOnce: true,
	}
}

// Validate returns nil, or one error that joins a line per fault: field, value and range.
func (c *Config) Validate() error {
	return errors.Join(
		inRange("Nodes", c.Nodes, 1, wire.MaxOwners),
		inRange("Followers", c.Followers, 0, max(0, c.Nodes-1)),
		inRange("Degree", c.Degree, 2, 64),
		inRange("Latency", c.Latency, 0, 10*time.Second),
		inRange("Jitter", c.Jitter, 0, 10*time.Second),
		inRange("Loss", c.Loss, 0, 0.9),
		inRange("Duplicate", c.Duplicate, 0, 1),
		inRange("Break", c.Break, 0, 0.9),
		inRange("IdleTimeout", c.IdleTimeout, time.Second, 10*time.Minute),
		inRange("Redial", c.Redial, 10*time.Millisecond, 10*time.Minute),
		inRange("StartSpread", c.StartSpread, 0, time.Hour),
		inRange("AntiEntropy", c.AntiEntropy, time.Second, 10*time.Minute),
		inRange("FirstSync", c.FirstSync, 0, time.Minute),
		inRange("TombstoneTTL", c.TombstoneTTL, 0, 365*24*time.Hour),
		inRange("Tick", c.Tick, 10*time.Millisecond, 250*time.Millisecond),
		inRange("BeatLength", c.BeatLength, liveness.ReanchorLeft+2, wire.MaxBeats),
		c.Liveness.Validate(),
	)
}

func inRange[T cmp.Ordered](field string, value, low, high T) error {
	if value >= low && value <= high { // false for NaN as well
		return nil
	}
	return fmt.Errorf("sim: %s is %v: want %v to %v", field, value, low, high)
}
