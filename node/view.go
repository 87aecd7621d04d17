package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Info says what this node is. It does not change while the node runs, but for Addrs.
type Info struct {
	ID      peer.ID
	Name    string
	Network string
	Profile string
	Topics  []string
	Version string
	Home    string                // data directory
	NewKey  bool                  // the identity was made by this start
	Listen  []multiaddr.Multiaddr // what the host listens on, ports filled in
	Addrs   []multiaddr.Multiaddr // what it tells others, without /p2p/
	Started time.Time

	MaxClockSkew time.Duration // difference of wall clocks to warn of
}

// Peer is one libp2p peer that this node has a connection to.
type Peer struct {
	ID        peer.ID
	Name      string
	Direction string // in, out
	Transport string // tcp, quic-v1
	Addr      multiaddr.Multiaddr
	Relayed   bool
	RTT       time.Duration // 0: not measured
	Mesh      []string      // topics in whose gossipsub mesh it is
	Agent     string
	Since     time.Time
}

// Status sums the node up.
type Status struct {
	Info      Info
	Uptime    time.Duration
	Joined    bool // some peer is connected, or this node is the first of its network (no bootstrap given)
	Bootstrap Bootstrap
	Peers     int
	Members   MemberCount
	State     []TopicStatus // one a topic, members first
	Work      WorkStatus
	// ClockOffset is how far this node's wall clock is ahead of the median of its neighbours'; nil: no neighbour's is known.
	ClockOffset *time.Duration
	Counters    []Metric
	Problems    []Problem
}

// Bootstrap says how the bootstrap peers are.
type Bootstrap struct {
	Wanted, Connected int
	Failures          map[string]string // multiaddr -> why, in plain words, of the last try
}

// MemberCount counts members by status.
type MemberCount struct{ Alive, Suspect, Dead, Left int }

// TopicStatus sums up one topic.
type TopicStatus struct {
	Topic       string
	Fingerprint [32]byte
	Owners      int
	Keys        int
	Tombstones  int
	Bytes       int
	Agree, Of   int // neighbours whose last beat showed our fingerprint, of all neighbours
	MeshPeers   int
}

// WorkStatus sums up the jobs of all topics.
type WorkStatus struct {
	Enabled                 bool
	Running, Done, Canceled int
	Rate                    float64 // nonces/s scanned here over the last 10 s
}

// Problem is something an operator may want to act on.
type Problem struct {
	Level  string // warn, error
	Code   string // a slug of `p2pnode errors`
	Detail string
	Hint   string
}

// MetricKind tells a counter from a gauge.
type MetricKind uint8

const (
	// Counter only grows while the process lives.
	Counter MetricKind = iota
	// Gauge goes up and down.
	Gauge
)

// Metric is one number of this node. Names follow Prometheus: prefix p2pnode_, base units, _total for counters.
type Metric struct {
	Name   string
	Help   string
	Kind   MetricKind
	Labels map[string]string // few and bounded: no peer, key or job
	Value  float64
}
