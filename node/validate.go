package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	maxNodeName   = 64  // bytes
	maxTags       = 512 // bytes of all names and values
	maxTopics     = 16
	maxListen     = 16
	maxBootstrap  = 256
	maxSubmitters = 256
	maxSocketPath = 107 // bytes: sun_path of unix(7) without its final zero

	tagWork      = "work"    // told by nodes that scan ranges
	topicMembers = "members" // every node is on it
)

// Fault is one setting whose value is outside its range.
type Fault struct {
	Field string // as in config.toml: section.key
	Value string // as given
	Want  string // the range, or what is wrong with the value
	Err   error  // a closer error, such as *bootstrap.AddrError; may be nil
}

func (f Fault) String() string { return fmt.Sprintf("%s = %s: %s", f.Field, f.Value, f.Want) }

// ConfigError holds every fault of a Config, in the order of its fields.
type ConfigError struct{ Faults []Fault }

func (e *ConfigError) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].String()
	}
	lines := make([]string, 0, len(e.Faults)+1)
	lines = append(lines, fmt.Sprintf("%d settings are wrong", len(e.Faults)))
	for _, f := range e.Faults {
		lines = append(lines, "  "+f.String())
	}
	return strings.Join(lines, "\n")
}

// Validate reports every setting that is out of its range at once: the error is an *Error around a *ConfigError. It
// looks at nothing outside c: no file, no address of this machine.
func (c *Config) Validate() error {
	var v validator
	v.require(slices.Contains([]string{ProfileLocal, ProfileLAN, ProfileWAN}, c.Profile), "profile", strconv.Quote(c.Profile), "must be local, lan or wan")
	v.node(&c.Node)
	v.network(&c.Network, c.Profile)
	v.tuning(c)
	v.work(&c.Work)
	v.api(&c.API)
	v.require(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "log.level", strconv.Quote(c.Log.Level), "must be debug, info, warn or error")
	v.require(slices.Contains([]string{"text", "json"}, c.Log.Format), "log.format", strconv.Quote(c.Log.Format), "must be text or json")
	v.require(c.DataDir == "" || filepath.IsAbs(c.DataDir), "data directory", strconv.Quote(c.DataDir), "must be an absolute path")
	return v.err()
}

type validator struct{ faults []Fault }

func (v *validator) require(ok bool, field, value, want string) {
	if !ok {
		v.faults = append(v.faults, Fault{Field: field, Value: value, Want: want})
	}
}

// err is nil without faults. A single bad address keeps its own slug and hint: they say more than bad-config does.
func (v *validator) err() error {
	if len(v.faults) == 0 {
		return nil
	}
	cause := &ConfigError{Faults: v.faults}
	if addr := (*bootstrap.AddrError)(nil); len(v.faults) == 1 && errors.As(v.faults[0].Err, &addr) {
		return NewError(addr.Slug, errors.Join(cause, addr), addr.Detail, addr.Hint)
	}
	return NewError(CodeBadConfig, cause, cause.Error(), "")
}

func (v *validator) node(c *NodeConfig) {
	v.require(len(c.Name) <= maxNodeName && printable(c.Name), "node.name", strconv.Quote(c.Name),
		fmt.Sprintf("must be at most %d bytes of printable text without spaces", maxNodeName))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(c.Tags)) {
		value := c.Tags[name]
		size += len(name) + len(value)
		shown := strconv.Quote(name + "=" + value)
		v.require(plainName(name, "_"), "node.tags", shown, "a tag's name must be 1 to 32 of a-z, 0-9, - and _")
		v.require(printable(value), "node.tags", shown, "a tag's value must be printable text without spaces")
		v.require(name != tagWork, "node.tags", shown, "the tag work is set by work.enabled")
	}
	v.require(size <= maxTags, "node.tags", fmt.Sprintf("%d bytes", size), fmt.Sprintf("must be at most %d bytes in all", maxTags))
	v.require(c.IdentityFile != "", "node.identity_file", `""`, "must be a path")
}

func (v *validator) network(c *NetworkConfig, profile string) {
	const nameRange = "must be 1 to 32 of a-z, 0-9 and -"
	v.require(plainName(c.Name, ""), "network.name", strconv.Quote(c.Name), nameRange)

	v.count("network.listen", len(c.Listen), 1, maxListen)
	for _, s := range c.Listen {
		if why := listenFault(s, profile); why != "" {
			v.require(false, "network.listen", strconv.Quote(s), why)
		}
	}
	v.count("network.announce", len(c.Announce), 0, maxListen)
	for _, s := range c.Announce {
		if why := announceFault(s); why != "" {
			v.require(false, "network.announce", strconv.Quote(s), why)
		}
	}
	v.count("network.bootstrap", len(c.Bootstrap), 0, maxBootstrap)
	for _, s := range c.Bootstrap {
		if _, err := bootstrap.Parse(s); err != nil {
			v.faults = append(v.faults, Fault{Field: "network.bootstrap", Value: strconv.Quote(s), Want: err.Error(), Err: err})
		}
	}
	v.count("network.topics", len(c.Topics), 1, maxTopics)
	for i, topic := range c.Topics {
		v.require(plainName(topic, ""), "network.topics", strconv.Quote(topic), nameRange)
		v.require(topic != topicMembers, "network.topics", strconv.Quote(topic), "every node is on it already: leave it out")
		v.require(!slices.Contains(c.Topics[:i], topic), "network.topics", strconv.Quote(topic), "is there twice")
	}
	v.require(!c.MDNS || profile != ProfileLocal, "network.mdns", "true", "must be false in profile local: nothing may leave the machine")
	v.require(!c.UPnP || profile != ProfileLocal, "network.upnp", "true", "must be false in profile local: nothing may leave the machine")
	number(v, "network.max_peers", c.MaxPeers, 1, 10_000)
	number(v, "network.low_peers", c.LowPeers, 1, 10_000)
	v.require(c.LowPeers <= c.MaxPeers || c.MaxPeers < 1, "network.low_peers", strconv.Itoa(c.LowPeers), fmt.Sprintf("must not be above network.max_peers (%d)", c.MaxPeers))
}

func (v *validator) tuning(c *Config) {
	number(v, "membership.beat_interval", c.Membership.BeatInterval, wire.MinBeatInterval, wire.MaxBeatInterval)
	whole := c.Membership.BeatInterval%time.Millisecond == 0
	v.require(whole, "membership.beat_interval", c.Membership.BeatInterval.String(), "must be whole milliseconds")
	number(v, "membership.phi_suspect", c.Membership.PhiSuspect, 1, 100)
	number(v, "membership.suspicion_min", c.Membership.SuspicionMin, 2500*time.Millisecond, 10*time.Minute)
	number(v, "membership.forget_after", c.Membership.ForgetAfter, time.Minute, 720*time.Hour)
	number(v, "membership.max_clock_skew", c.Membership.MaxClockSkew, time.Second, 24*time.Hour)
	number(v, "gossip.mesh_size", c.Gossip.MeshSize, 2, 12)
	number(v, "gossip.anti_entropy", c.Gossip.AntiEntropy, time.Second, 10*time.Minute)
	number(v, "state.tombstone_ttl", c.State.TombstoneTTL, time.Minute, 8760*time.Hour)
	number(v, "state.history", c.State.History, 1, 64)
}

func (v *validator) work(c *WorkConfig) {
	number(v, "work.threads", c.Threads, 0, 1024)
	v.count("work.submitters", len(c.Submitters), 0, maxSubmitters)
	for _, s := range c.Submitters {
		id, err := peer.Decode(s)
		if err == nil {
			_, err = id.ExtractPublicKey()
		}
		v.require(err == nil, "work.submitters", strconv.Quote(s), "must be the peer id of a node: 12D3KooW and 44 characters more")
	}
}

func (v *validator) api(c *APIConfig) {
	path, unix := strings.CutPrefix(c.Listen, "unix:")
	v.require(unix || c.Listen == "off", "api.listen", strconv.Quote(c.Listen), "must be unix:, unix:PATH or off")
	v.require(!unix || len(path) <= maxSocketPath, "api.listen", strconv.Quote(c.Listen), fmt.Sprintf("a socket's path has at most %d bytes, this one has %d", maxSocketPath, len(path)))
}

func (v *validator) count(field string, n, low, high int) {
	v.require(low <= n && n <= high, field, fmt.Sprintf("%d values", n), fmt.Sprintf("must be %d to %d of them", low, high))
}

func number[T cmp.Ordered](v *validator, field string, n, low, high T) {
	inside := low <= n && n <= high // false for NaN
	v.require(inside, field, fmt.Sprint(n), fmt.Sprintf("must be from %v to %v", low, high))
}

// listenFault says why s cannot be listened on, or nothing.
func listenFault(s, profile string) string {
	m, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return "must be a multiaddr such as /ip4/0.0.0.0/tcp/4747"
	}
	ip, err := manet.ToIP(m)
	switch {
	case err != nil || !knownTransport(m[1:]):
		return "must be /ip4/IP or /ip6/IP with /tcp/PORT or /udp/PORT/quic-v1"
	case profile == ProfileLocal && !ip.IsLoopback():
		return "must be a loopback address in profile local: nothing may leave the machine"
	}
	return ""
}

// announceFault says why s cannot be told to others as an address, or nothing.
func announceFault(s string) string {
	m, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return "must be a multiaddr such as /ip4/203.0.113.7/udp/4747/quic-v1"
	}
	names := []int{multiaddr.P_IP4, multiaddr.P_IP6, multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6}
	if !slices.Contains(names, m[0].Protocol().Code) || !knownTransport(m[1:]) {
		return "must be an IP or DNS name with /tcp/PORT or /udp/PORT/quic-v1, and without /p2p/"
	}
	if m[1].Value() == "0" {
		return "port 0 can't be dialled"
	}
	return ""
}

// knownTransport reports whether m, what follows the host, is one of the transports that a node has.
func knownTransport(m multiaddr.Multiaddr) bool {
	codes := make([]int, len(m))
	for i, c := range m {
		codes[i] = c.Protocol().Code
	}
	return slices.Equal(codes, []int{multiaddr.P_TCP}) ||
		slices.Equal(codes, []int{multiaddr.P_UDP, multiaddr.P_QUIC_V1})
}

// plainName reports whether s is 1 to wire.MaxName bytes of a-z, 0-9, - and those in extra.
func plainName(s, extra string) bool {
	if s == "" || len(s) > wire.MaxName {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && !strings.ContainsRune(extra, r) {
			return false
		}
	}
	return true
}

// printable reports whether s can stand in a table cell: no space, no control character, no broken UTF-8.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
