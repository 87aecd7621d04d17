package discovery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Profile says what surroundings a node is made for.
type Profile string

const (
	Local Profile = "local" // one machine: only loopback addresses are dialled, never mDNS
	LAN   Profile = "lan"   // one site: every node can be dialled by every other
	WAN   Profile = "wan"   // the Internet: a node found to be unreachable asks the DHT but does not serve it
)

// Config says which network to find and how many neighbours to keep.
type Config struct {
	// Network is the name of the network: 1 to 32 of [a-z0-9-]. Required.
	Network string

	// Profile is the node's surroundings. Default LAN.
	Profile Profile

	// MDNS announces this node on the local links and listens for others. Default false; not with profile Local.
	MDNS bool

	// Low is how few neighbours are too few: below it look-ups follow each other closely. Half as many are too few of this
	// node's own choice: it looks for others then too, less and less often. Default 6, range 1 to Target.
	Low int

	// Target is how many neighbours are enough: below it candidates are dialled. Default 8, range 1 to 64. Raising it makes
	// rumors travel fewer hops and every node carry more links. A network of n nodes has at most n-1.
	Target int

	// Candidates bounds the peers remembered without being connected. Default 512, range 128 to 65,536; about 1 KiB each.
	Candidates int

	// AdvertiseInterval is the pause between two renewals of this node's record, once the network around it is settled; the
	// first ones follow sooner. Default 10 min, range 1 min to 20 min, a third of RecordTTL. One renewal moves about 30 KB.
	AdvertiseInterval time.Duration

	// LookupInterval is the pause between two look-ups while there are enough neighbours. Default 10 min, range 10 s to 24 h.
	// Raising it saves about 30 KB each and leaves fewer candidates for the day neighbours go.
	LookupInterval time.Duration

	// MendInterval is the longest pause between two dials of neighbours that were lost, however many others there are. It is
	// what joins a network again that fell apart. Default 30 s, range 1 s to 1 h. Raising it delays that.
	MendInterval time.Duration

	// ExchangeInterval is the longest pause between two exchanges of peers with a neighbour, while there are enough
	// neighbours. Default 1 min, range 5 s to 1 h. Raising it saves about 1 KB each and lets views follow churn later.
	ExchangeInterval time.Duration

	// Logger gets what an operator may act on. nil: nothing is logged.
	Logger *slog.Logger
}

// RecordTTL is how long a node keeps another's rendezvous record. All nodes of a network must have the same: three
// renewals at the longest AdvertiseInterval, so that two may be lost.
const RecordTTL = time.Hour

// DefaultConfig returns the default of every field; Network is left to fill in.
func DefaultConfig() Config {
	return Config{
		Profile:           LAN,
		Low:               6,
		Target:            8,
		Candidates:        512,
		AdvertiseInterval: 10 * time.Minute,
		LookupInterval:    10 * time.Minute,
		MendInterval:      30 * time.Second,
		ExchangeInterval:  time.Minute,
	}
}

var networkName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Validate reports every faulty field.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("discovery: "+format, args...)) }
	if !networkName.MatchString(c.Network) {
		fault("Network %q is not 1 to 32 of a-z, 0-9 and -", c.Network)
	}
	switch c.Profile {
	case Local, LAN, WAN:
	default:
		fault("Profile %q is none of local, lan, wan", c.Profile)
	}
	if c.MDNS && c.Profile == Local {
		fault("MDNS would leave the machine, profile local must not")
	}
	number := func(field string, value, least, most int) {
		if value < least || value > most {
			fault("%s %d is out of range %d to %d", field, value, least, most)
		}
	}
	number("Target", c.Target, 1, 64)
	number("Low", c.Low, 1, c.Target)
	number("Candidates", c.Candidates, 2*(viewSize+sampleCount), 65536)
	pause := func(field string, value, least, most time.Duration) {
		if value < least || value > most {
			fault("%s %v is out of range %v to %v", field, value, least, most)
		}
	}
	pause("AdvertiseInterval", c.AdvertiseInterval, time.Minute, RecordTTL/3)
	pause("LookupInterval", c.LookupInterval, 10*time.Second, 24*time.Hour)
	pause("MendInterval", c.MendInterval, time.Second, time.Hour)
	pause("ExchangeInterval", c.ExchangeInterval, 5*time.Second, time.Hour)
	return errors.Join(faults...)
}

// Rendezvous is the name under which the nodes of network meet in their DHT; it is the prefix of all its protocols too.
func Rendezvous(network string) string { return "/p2pnode/" + network }

// DHTProtocol is the stream protocol of network's DHT.
func DHTProtocol(network string) protocol.ID { return protocol.ID(Rendezvous(network)) + "/kad/1.0.0" }

// MDNSService is the DNS-SD service that the nodes of network announce.
func MDNSService(network string) string {
	sum := sha256.Sum256([]byte(network))
	return "_p2pnode-" + hex.EncodeToString(sum[:4]) + "._udp"
}
