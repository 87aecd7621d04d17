package node

import (
	"path/filepath"
	"time"
)

// Profiles are sets of defaults for where a node runs. DefaultConfig says what each changes.
const (
	ProfileLocal = "local" // loopback only: tests and testnets; nothing leaves the machine
	ProfileLAN   = "lan"   // the default: finds peers on the local link by itself
	ProfileWAN   = "wan"   // a server: no mDNS
)

// Config is everything a node can be told. Its shape is that of config.toml: a section is a table, and the toml tag
// is the key, also in the environment (P2PNODE_SECTION_KEY). Start from DefaultConfig: the zero Config is not valid.
type Config struct {
	// Profile chooses the defaults of all other fields. local, lan or wan; default lan. Beside them it has two effects
	// of its own: a local node works for any submitter, and nodes of local and lan believe a refused connection
	// sooner (see MembershipConfig).
	Profile string `toml:"profile"`

	Node       NodeConfig       `toml:"node"`
	Network    NetworkConfig    `toml:"network"`
	Membership MembershipConfig `toml:"membership"`
	Gossip     GossipConfig     `toml:"gossip"`
	State      StateConfig      `toml:"state"`
	Work       WorkConfig       `toml:"work"`
	API        APIConfig        `toml:"api"`
	Log        LogConfig        `toml:"log"`

	// DataDir is the absolute path of the data directory: identity, state, lock. It is no key of config.toml, since
	// it says where to look first: --home or P2PNODE_HOME set it. Made with mode 0700 when it is missing.
	DataDir string `toml:"-"`
}

// NodeConfig is the section [node].
type NodeConfig struct {
	// Name is what others see in their tables. At most 64 bytes of printable text without spaces; empty, the default,
	// means the host name. It names nothing: two nodes may have the same, only peer ids are unique.
	Name string `toml:"name"`

	// Tags are told to all members, as labels to choose nodes by. Default none; names are 1 to 32 of [a-z0-9_-], all
	// names and values together at most 512 bytes (guess: a tag set is sent whole when one changes). The tag work is
	// not for setting: it follows work.enabled.
	Tags map[string]string `toml:"tags"`

	// IdentityFile holds the Ed25519 key. A path, relative to the data directory; default identity.key.
	IdentityFile string `toml:"identity_file"`
}

// NetworkConfig is the section [network].
type NetworkConfig struct {
	// Name separates networks: it is part of every protocol, topic and signature, and nodes of different networks
	// ignore each other. 1 to 32 of [a-z0-9-]; default main.
	Name string `toml:"name"`

	// Listen are the multiaddrs to listen on: /ip4 or /ip6 with /tcp/PORT or /udp/PORT/quic-v1, port 0 for a free one.
	// 1 to 16 of them. Default: port 4747 of all interfaces over TCP and QUIC; profile local: free ports of loopback.
	Listen []string `toml:"listen"`

	// ListenStrict makes an address that cannot be listened on an error; otherwise it is a warning. Default true:
	// libp2p itself drops such an address silently when another one works.
	ListenStrict bool `toml:"listen_strict"`

	// Announce are multiaddrs to tell others beside those found by itself, without /p2p/. At most 16; default none.
	Announce []string `toml:"announce"`

	// Bootstrap are the multiaddrs, with /p2p/, of the nodes to join through. At most 256; default none: the node is
	// the first of its network, or finds it by mDNS. They are tried again for ever.
	Bootstrap []string `toml:"bootstrap"`

	// Topics are the state topics to take part in, 1 to 16 names of 1 to 32 of [a-z0-9-]; default main. The first one
	// is meant where none is named. Every node is on members beside them. A topic costs memory for all its state.
	Topics []string `toml:"topics"`

	// MDNS finds nodes on the local link by multicast. Default true in profile lan, else false; profile local never
	// does it, since nothing may leave the machine.
	MDNS bool `toml:"mdns"`

	// UPnP asks the router to forward the ports, by UPnP or NAT-PMP. Default true; false in profile local.
	UPnP bool `toml:"upnp"`

	// MaxPeers is the number of connections above which the least useful are closed; beyond twice as many from others, further
	// ones are refused. LowPeers to 10,000; default 64 (guess). Each idle one costs some 5 B/s (libp2p's keep-alives,
	// measured), and 16 more cost 2 to 3 MiB of memory (measured: idle hosts with the DHT).
	MaxPeers int `toml:"max_peers"`

	// LowPeers is how many connections are left after closing. 1 to MaxPeers; default 16, twice the overlay's degree.
	LowPeers int `toml:"low_peers"`
}

// MembershipConfig is the section [membership]: how quickly a silent member is noticed.
type MembershipConfig struct {
	// BeatInterval is the pause between two proofs of life to each neighbour. 200ms to 10s; default 700ms: detection
	// in about 2 s at 0.7 KB/s (measured in simulation). Raising it saves traffic and delays detection in proportion.
	BeatInterval time.Duration `toml:"beat_interval"`

	// Quiet saves traffic and wake-ups of an idle node at the cost of slow detection, where data is paid for or a battery
	// empties. Default false. Then beats go every 3s, unless BeatInterval is longer, to 3 to 6 neighbours instead of 4 to 8;
	// state is compared every minute, unless Gossip.AntiEntropy is longer; gossipsub's heartbeat, the relaying of far beats and
	// the DHT slow down; and connections are trimmed above 16, unless MaxPeers is less. Rumors go on at once. A process that
	// crashed is dead in 1 to 5 s instead of 1 s, as its machine refuses connections; a machine that falls silent is suspect
	// after 9 s and dead after 16 s instead of 2 and 5 s (in virtual time). Nodes of one network need not agree about it:
	// each is judged by its own interval, which it signs.
	Quiet bool `toml:"quiet"`

	// PhiSuspect is the suspicion level above which a silent member is accused; no unit. 1 to 100; default 8, which is
	// Cassandra's and, with regular beats, exactly three intervals. Phi grows by 4 with each further interval, so raising
	// it by 4 waits one interval longer; below 8 only members with jittery beats are suspected sooner.
	PhiSuspect float64 `toml:"phi_suspect"`

	// SuspicionMin is the shortest time that an accused member has to refute before it is dead. 2.5s to 10m; default
	// 2.5s. Profiles local and lan take 200ms instead when its machine refuses connections on its port. Raising it
	// spares slow members and keeps dead ones longer.
	SuspicionMin time.Duration `toml:"suspicion_min"`

	// ForgetAfter is the time after which the state of a dead or left member is dropped. 1m to 720h, the length of
	// the quarantine that follows; default 24h. A value lives as long as its owner, plus this.
	ForgetAfter time.Duration `toml:"forget_after"`

	// MaxClockSkew is the difference of wall clocks from which people are warned. 1s to 24h; default 60s. No write is lost or
	// refused for it. Raising it keeps quiet about times that are shown wrong, and about keys that expire early or late.
	MaxClockSkew time.Duration `toml:"max_clock_skew"`
}

// GossipConfig is the section [gossip].
type GossipConfig struct {
	// MeshSize is gossipsub's D, the peers that each topic's rumors are pushed to. 2 to 12; default 6 (gossipsub
	// v1.1). Raising it costs one more copy of every rumor and buys robustness, not speed, on small networks.
	MeshSize int `toml:"mesh_size"`

	// AntiEntropy is the longest pause between two comparisons of state with some peer. 1s to 10m; default 10s
	// (guess: a backstop, since a neighbour whose beat shows other state is asked at once). Raising it saves 100 bytes
	// for each comparison left out.
	AntiEntropy time.Duration `toml:"anti_entropy"`
}

// StateConfig is the section [state].
type StateConfig struct {
	// TombstoneTTL is how long this node remembers its own deletions. 1m to 8760h; default 168h. Raising it spares
	// replicas that were away for longer a full copy, and costs the key's bytes until then.
	TombstoneTTL time.Duration `toml:"tombstone_ttl"`

	// History is how many superseded values of each key this node remembers, in memory, for state history and revert. 1 to
	// 64; default 8 (guess). Raising it costs their bytes, on each topic at most 4 MiB in all.
	History int `toml:"history"`
}

// WorkConfig is the section [work].
type WorkConfig struct {
	// Enabled makes this node scan ranges of jobs. Default false; true in profile local. Jobs can be submitted on any
	// node.
	Enabled bool `toml:"enabled"`

	// Threads is the number of ranges scanned at once. 0 to 1,024; default 0: one less than there are cores, at least
	// one.
	Threads int `toml:"threads"`

	// Submitters are the peer ids whose jobs this node works on beside its own. At most 256; default none. In profile
	// local it works for anyone.
	Submitters []string `toml:"submitters"`
}

// APIConfig is the section [api].
type APIConfig struct {
	// Listen is where the local HTTP API answers: "unix:" is a socket of mode 0600 at the place given by Paths,
	// "unix:PATH" one elsewhere, "off" none. Default "unix:". A socket path has at most 107 bytes.
	Listen string `toml:"listen"`
}

// LogConfig is the section [log]. Logs go to stderr.
type LogConfig struct {
	// Level is the least important level written: debug, info, warn or error; default info.
	Level string `toml:"level"`

	// Format is text or json; default text.
	Format string `toml:"format"`
}

// DefaultConfig is the configuration of a node that was told nothing but its profile. An unknown profile gets the
// defaults of lan; Validate reports it.
func DefaultConfig(profile string) Config {
	c := Config{
		Profile: profile,
		Node:    NodeConfig{Tags: map[string]string{}, IdentityFile: "identity.key"},
		Network: NetworkConfig{
			Name: "main",
			Listen: []string{
				"/ip4/0.0.0.0/tcp/4747", "/ip4/0.0.0.0/udp/4747/quic-v1",
				"/ip6/::/tcp/4747", "/ip6/::/udp/4747/quic-v1",
			},
			ListenStrict: true,
			Announce:     []string{},
			Bootstrap:    []string{},
			Topics:       []string{"main"},
			MDNS:         true,
			UPnP:         true,
			MaxPeers:     64,
			LowPeers:     16,
		},
		Membership: MembershipConfig{
			BeatInterval: 700 * time.Millisecond,
			PhiSuspect:   8,
			SuspicionMin: 2500 * time.Millisecond,
			ForgetAfter:  24 * time.Hour,
			MaxClockSkew: time.Minute,
		},
		Gossip: GossipConfig{MeshSize: 6, AntiEntropy: 10 * time.Second},
		State:  StateConfig{TombstoneTTL: 168 * time.Hour, History: 8},
		Work:   WorkConfig{Submitters: []string{}},
		API:    APIConfig{Listen: "unix:"},
		Log:    LogConfig{Level: "info", Format: "text"},
	}
	switch profile {
	case ProfileLocal:
		c.Network.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
		c.Network.MDNS, c.Network.UPnP = false, false
		c.Work.Enabled = true
	case ProfileWAN:
		c.Network.MDNS = false
	}
	return c
}

// IdentityPath is where the identity is: IdentityFile, relative to the data directory.
func (c *Config) IdentityPath() string {
	if filepath.IsAbs(c.Node.IdentityFile) {
		return c.Node.IdentityFile
	}
	return filepath.Join(c.DataDir, c.Node.IdentityFile)
}
