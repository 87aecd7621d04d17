package liveness

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Config holds what one node may decide for itself. Nodes that disagree about it still agree about proof of life, only
// not about how soon its absence counts.
type Config struct {
	// BeatInterval is the time between this node's own beats, as signed in its digest.
	// Default 700 ms: three missing beats are noticed in 2.1 s. Range 200 ms .. 10 s (wire.MinBeatInterval,
	// wire.MaxBeatInterval). Raising it costs fewer bytes and makes others notice a failure of this node later. A pause of
	// this process that exceeds it, within 300 .. 700 ms, counts as its own sleep: see Table.
	BeatInterval time.Duration

	// PhiSuspect is the phi above which a member is suspect. Dimensionless; see the package comment.
	// Default 8 (Cassandra's): with regular beats exactly three intervals, because phi is 0 during the first interval of
	// silence and grows by 4 in each further one. Range 1 .. 100. 12 means four intervals. Below 8 only jittery members are
	// suspected sooner than the default would: three intervals are always granted.
	PhiSuspect float64

	// SuspicionMin is the shortest time between suspecting a member and calling it dead.
	// Default 2.5 s, the least allowed: after 2.1 s of silence and with the interval that is added when no beat came, a
	// freeze of 4 s is survived. Range 2.5 s .. 10 min. Raising it delays every verdict of death and forgives longer freezes.
	SuspicionMin time.Duration

	// ForgetAfter is how long a member stays in the table without proof of life: see ForgetCandidates.
	// Default 24 h: a machine that is repaired within a day keeps its state. Range 1 min .. 365 days.
	ForgetAfter time.Duration

	// BeatBudget is what this node spends on relaying the beats of others, in bytes per second, to all neighbours together.
	// Default 256: a beat of each of 17 members, to three neighbours, in 5 s. Range 32 .. 1 MiB. Raising it shortens the
	// background period, BackgroundMin or members x 75 B / BeatBudget, in whose units members that are not watched are judged:
	// the whole network should use about the same value.
	BeatBudget int

	// Trusting says that other members tell the truth about their addresses: the network has authorities, or the profile
	// is local or lan. Default false. When set, a member whose connection broke and whose port refuses, as a whole quorum
	// says, is dead after RefusedTimeout instead of SuspicionMin. Nodes that its own beats reach in time wait as otherwise.
	Trusting bool
}

// DefaultConfig returns the defaults given at each field.
func DefaultConfig() Config {
	return Config{
		BeatInterval: 700 * time.Millisecond,
		PhiSuspect:   8,
		SuspicionMin: 2500 * time.Millisecond,
		ForgetAfter:  24 * time.Hour,
		BeatBudget:   256,
	}
}

// What all nodes share, and the limits on what peers can make a table hold.
const (
	// MaxMembers bounds the table, as wire bounds the owners of a topic; a further owner is refused with ErrFull.
	MaxMembers = 16_384
	// MaxSources bounds the peers whose hash budget or connection is remembered at one time.
	MaxSources = 1024
	// MaxSharing bounds the members whose anchors may have the same name. Names are 4 bytes, so among 16,384 honest members
	// any two share one with 3 % probability, three practically never; more is an attack.
	MaxSharing = 4
	// HashRate is how many hashes per second, and at one time, the beats from one source may cost: at 0.1 us each
	// 0.04 % of a core. One chain is wire.MaxBeats long, so every single beat can be afforded.
	HashRate = 4096
	// ReanchorLeft is when an owner makes a new chain: 64 beats, 45 s at the default interval, are time to spread its digest.
	ReanchorLeft = 64
	// MissedBeats is the silence, in intervals, that every member is granted.
	MissedBeats = 3
	// RefusedTimeout replaces SuspicionMin when Trusting and a redial was refused: no process holds the port. It leaves time
	// for the newest beats under way.
	RefusedTimeout = 200 * time.Millisecond
	// MaxQuorum is how many accusers make a member dead, where there are so many: one may be wrong, two may be one person's.
	MaxQuorum = 3
	// MaxVia is how many neighbours a probe asks.
	MaxVia = 3
	// MaxProbes bounds the probes that wait to be asked. Others are put off.
	MaxProbes = 64
	// MaxNamed bounds the accusers that a Member or a Transition names.
	MaxNamed = 8
	// ProbeTimeout is how long a probe waits for answers: two thirds of what lies between two and three missing beats, in
	// which neighbours answer with a frame at once (guess).
	ProbeTimeout = 500 * time.Millisecond
	// Probation is how long a newcomer's accusations do not count towards death, and those of who was refuted too often not
	// at all. Who makes identities to kill a member has to keep them connected for so long, each time.
	Probation = time.Minute
	// RelayFanout is how many neighbours get a beat of one member from this node in a background period (when
	// everybody who hears passes on, 94 % of a random graph hear: the share r is the root of r = 1 - exp(-3 r)).
	RelayFanout = 3
	// BackgroundMin is the shortest background period.
	BackgroundMin = 5 * time.Second
	// BeatBytes is what one relayed beat costs: 24 B and its framing.
	BeatBytes = 25

	maxStrikes = 8           // early accusations within Probation for which an accuser is ignored
	seldom     = time.Second // how often it is looked after the dead, whom enough should accuse, and after those whom others look after
	relayEvery = 200 * time.Millisecond

	minSleep = 300 * time.Millisecond
	maxSleep = 700 * time.Millisecond

	forgetIntervals = 6 // of silence at least, before who is not known to be dead is forgotten
)

// Validate returns nil, or one error that joins a line per fault: field, value and range.
func (c *Config) Validate() error {
	return errors.Join(
		inRange("BeatInterval", c.BeatInterval, wire.MinBeatInterval, wire.MaxBeatInterval),
		inRange("PhiSuspect", c.PhiSuspect, 1, 100),
		inRange("SuspicionMin", c.SuspicionMin, 2500*time.Millisecond, 10*time.Minute),
		inRange("ForgetAfter", c.ForgetAfter, time.Minute, 365*24*time.Hour),
		inRange("BeatBudget", c.BeatBudget, 32, 1<<20),
	)
}

func inRange[T cmp.Ordered](field string, value, low, high T) error {
	if value >= low && value <= high { // false for NaN as well
		return nil
	}
	return fmt.Errorf("liveness: %s is %v: want %v to %v", field, value, low, high)
}

// sleepGap is the pause between two inputs above which this process has slept. Below it a neighbour that beats as
// often as this node is not yet suspect, even if its last beat came one interval before the pause.
func (c *Config) sleepGap() time.Duration { return min(max(c.BeatInterval, minSleep), maxSleep) }

// backgroundPeriod is the time in which the budget holds what relaying asks for: a beat of each of that many members, to RelayFanout
// neighbours. With less time than that most beats would go on once, and one of a far member come to less than half of the others.
func (c *Config) backgroundPeriod(members int) time.Duration {
	return max(BackgroundMin, time.Duration(members)*RelayFanout*BeatBytes*time.Second/time.Duration(c.BeatBudget))
}
