package node

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	for _, profile := range []string{ProfileLocal, ProfileLAN, ProfileWAN} {
		c := DefaultConfig(profile)
		require.NoError(t, c.Validate(), profile)
		require.Equal(t, profile, c.Profile)
	}
}

func TestLocalProfileStaysOnTheMachine(t *testing.T) {
	c := DefaultConfig(ProfileLocal)
	for _, addr := range c.Network.Listen {
		require.True(t, strings.HasPrefix(addr, "/ip4/127.0.0.1/"), addr)
	}
	require.False(t, c.Network.MDNS)
	require.False(t, c.Network.UPnP)
	require.True(t, c.Work.Enabled)

	c.Network.Listen = append(c.Network.Listen, "/ip4/0.0.0.0/tcp/0")
	c.Network.MDNS, c.Network.UPnP = true, true
	require.Equal(t, []string{"network.listen", "network.mdns", "network.upnp"}, faultFields(t, c.Validate()))
}

func TestUnknownProfileIsAFault(t *testing.T) {
	c := DefaultConfig("moon")
	err := c.Validate()
	require.Equal(t, []string{"profile"}, faultFields(t, err))
	require.EqualError(t, err, `profile = "moon": must be local, lan or wan`)
}

func TestValidateNamesEachFault(t *testing.T) {
	const id = "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C"
	many := func(n int, s string) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf(s, i+1)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		set   func(*Config)
		fault string // field; "": valid
	}{
		{"a name of 64 bytes", func(c *Config) { c.Node.Name = strings.Repeat("n", 64) }, ""},
		{"a name of 65 bytes", func(c *Config) { c.Node.Name = strings.Repeat("n", 65) }, "node.name"},
		{"a name with a space", func(c *Config) { c.Node.Name = "my node" }, "node.name"},
		{"a name that moves the cursor", func(c *Config) { c.Node.Name = "\x1b[2J" }, "node.name"},
		{"a name that is not UTF-8", func(c *Config) { c.Node.Name = "\xff" }, "node.name"},
		{"a tag", func(c *Config) { c.Node.Tags = map[string]string{"zone": "eu"} }, ""},
		{"a tag with a bad name", func(c *Config) { c.Node.Tags = map[string]string{"Zone": "eu"} }, "node.tags"},
		{"a tag with a line break", func(c *Config) { c.Node.Tags = map[string]string{"zone": "eu\n"} }, "node.tags"},
		{"tags too long", func(c *Config) { c.Node.Tags = map[string]string{"zone": strings.Repeat("x", 509)} }, "node.tags"},
		{"the tag work", func(c *Config) { c.Node.Tags = map[string]string{"work": "1"} }, "node.tags"},
		{"no identity file", func(c *Config) { c.Node.IdentityFile = "" }, "node.identity_file"},
		{"no network name", func(c *Config) { c.Network.Name = "" }, "network.name"},
		{"a network name of 33 bytes", func(c *Config) { c.Network.Name = strings.Repeat("n", 33) }, "network.name"},
		{"a network name in capitals", func(c *Config) { c.Network.Name = "Lab" }, "network.name"},
		{"nothing to listen on", func(c *Config) { c.Network.Listen = nil }, "network.listen"},
		{"17 addresses to listen on", func(c *Config) { c.Network.Listen = many(17, "/ip4/0.0.0.0/tcp/%d") }, "network.listen"},
		{"listen on host:port", func(c *Config) { c.Network.Listen = []string{"0.0.0.0:4747"} }, "network.listen"},
		{"listen on old QUIC", func(c *Config) { c.Network.Listen = []string{"/ip4/0.0.0.0/udp/4747/quic"} }, "network.listen"},
		{"listen without a transport", func(c *Config) { c.Network.Listen = []string{"/ip4/0.0.0.0"} }, "network.listen"},
		{"listen on a name", func(c *Config) { c.Network.Listen = []string{"/dns4/example.org/tcp/4747"} }, "network.listen"},
		{"listen with a peer id", func(c *Config) { c.Network.Listen = []string{"/ip4/0.0.0.0/tcp/4747/p2p/" + id} }, "network.listen"},
		{"announce a name", func(c *Config) { c.Network.Announce = []string{"/dns/example.org/tcp/4747"} }, ""},
		{"announce a peer id", func(c *Config) { c.Network.Announce = []string{"/ip4/1.2.3.4/tcp/4747/p2p/" + id} }, "network.announce"},
		{"announce port 0", func(c *Config) { c.Network.Announce = []string{"/ip4/1.2.3.4/tcp/0"} }, "network.announce"},
		{"announce nothing useful", func(c *Config) { c.Network.Announce = []string{""} }, "network.announce"},
		{"a bootstrap address", func(c *Config) { c.Network.Bootstrap = []string{"/ip4/1.2.3.4/tcp/4747/p2p/" + id} }, ""},
		{"no topic", func(c *Config) { c.Network.Topics = nil }, "network.topics"},
		{"17 topics", func(c *Config) { c.Network.Topics = many(17, "t%d") }, "network.topics"},
		{"the topic members", func(c *Config) { c.Network.Topics = []string{"members"} }, "network.topics"},
		{"a topic twice", func(c *Config) { c.Network.Topics = []string{"main", "main"} }, "network.topics"},
		{"no peers", func(c *Config) { c.Network.LowPeers = 0 }, "network.low_peers"},
		{"fewer peers at most than at least", func(c *Config) { c.Network.MaxPeers = 8 }, "network.low_peers"},
		{"too many peers", func(c *Config) { c.Network.MaxPeers = 10_001 }, "network.max_peers"},
		{"beats too quick", func(c *Config) { c.Membership.BeatInterval = 199 * time.Millisecond }, "membership.beat_interval"},
		{"beats too slow", func(c *Config) { c.Membership.BeatInterval = 11 * time.Second }, "membership.beat_interval"},
		{"beats of broken milliseconds", func(c *Config) { c.Membership.BeatInterval = 700500 * time.Microsecond }, "membership.beat_interval"},
		{"phi is not a number", func(c *Config) { c.Membership.PhiSuspect = math.NaN() }, "membership.phi_suspect"},
		{"phi too low", func(c *Config) { c.Membership.PhiSuspect = 0.5 }, "membership.phi_suspect"},
		{"suspicion too short", func(c *Config) { c.Membership.SuspicionMin = time.Second }, "membership.suspicion_min"},
		{"clocks that always differ", func(c *Config) { c.Membership.MaxClockSkew = 999 * time.Millisecond }, "membership.max_clock_skew"},
		{"clocks that never differ", func(c *Config) { c.Membership.MaxClockSkew = 25 * time.Hour }, "membership.max_clock_skew"},
		{"forgetting too soon", func(c *Config) { c.Membership.ForgetAfter = time.Second }, "membership.forget_after"},
		{"mesh too small", func(c *Config) { c.Gossip.MeshSize = 1 }, "gossip.mesh_size"},
		{"anti-entropy too rare", func(c *Config) { c.Gossip.AntiEntropy = time.Hour }, "gossip.anti_entropy"},
		{"tombstones too short", func(c *Config) { c.State.TombstoneTTL = 0 }, "state.tombstone_ttl"},
		{"no history", func(c *Config) { c.State.History = 0 }, "state.history"},
		{"too long a history", func(c *Config) { c.State.History = 65 }, "state.history"},
		{"threads below zero", func(c *Config) { c.Work.Threads = -1 }, "work.threads"},
		{"a submitter", func(c *Config) { c.Work.Submitters = []string{id} }, ""},
		{"a submitter that is no peer", func(c *Config) { c.Work.Submitters = []string{"n1"} }, "work.submitters"},
		{"a submitter without a key in its id", func(c *Config) { c.Work.Submitters = []string{"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} }, "work.submitters"},
		{"no API", func(c *Config) { c.API.Listen = "off" }, ""},
		{"an API socket elsewhere", func(c *Config) { c.API.Listen = "unix:/run/x.sock" }, ""},
		{"an API on TCP", func(c *Config) { c.API.Listen = "tcp://127.0.0.1:4748" }, "api.listen"},
		{"an API socket with a long path", func(c *Config) { c.API.Listen = "unix:/" + strings.Repeat("x", 107) }, "api.listen"},
		{"an unknown level", func(c *Config) { c.Log.Level = "loud" }, "log.level"},
		{"an unknown format", func(c *Config) { c.Log.Format = "xml" }, "log.format"},
		{"a relative data directory", func(c *Config) { c.DataDir = "data" }, "data directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := DefaultConfig(ProfileLAN)
			c.set(&config)
			err := config.Validate()
			if c.fault == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, []string{c.fault}, faultFields(t, err))
			require.Equal(t, ExitUsage, ExitCode(err))
		})
	}
}

func TestValidateReportsAllFaultsAtOnce(t *testing.T) {
	c := DefaultConfig(ProfileLAN)
	c.Network.MaxPeers = 0
	c.Gossip.AntiEntropy = 0
	c.Log.Level = ""
	err := c.Validate()
	require.Equal(t, []string{"network.max_peers", "gossip.anti_entropy", "log.level"}, faultFields(t, err))
	require.EqualError(t, err, "3 settings are wrong\n"+
		"  network.max_peers = 0: must be from 1 to 10000\n"+
		"  gossip.anti_entropy = 0s: must be from 1s to 10m0s\n"+
		`  log.level = "": must be debug, info, warn or error`)
}

// A single bad bootstrap address is told by its own slug; among other faults it is one of the list.
func TestBadBootstrapKeepsItsSlug(t *testing.T) {
	c := DefaultConfig(ProfileLAN)
	c.Network.Bootstrap = []string{"127.0.0.1:4747"}
	err := c.Validate()
	require.Equal(t, []string{"network.bootstrap"}, faultFields(t, err))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CodeBadMultiaddr, e.Code)
	require.NotEmpty(t, e.Hint)

	c.Log.Level = "loud"
	require.ErrorAs(t, c.Validate(), &e)
	require.Equal(t, CodeBadConfig, e.Code)
}

// The keys of config.toml and of the environment come from the tags, so each field needs one.
func TestEveryFieldHasAKey(t *testing.T) {
	c := reflect.TypeFor[Config]()
	for i := range c.NumField() {
		section := c.Field(i)
		require.NotEmpty(t, section.Tag.Get("toml"), section.Name)
		if section.Type.Kind() != reflect.Struct {
			continue
		}
		for j := range section.Type.NumField() {
			field := section.Type.Field(j)
			require.Regexp(t, `^[a-z][a-z0-9_]*$`, field.Tag.Get("toml"), field.Name)
		}
	}
}

func faultFields(t *testing.T, err error) []string {
	t.Helper()
	var all *ConfigError
	require.ErrorAs(t, err, &all)
	fields := make([]string, 0, len(all.Faults))
	for _, f := range all.Faults {
		fields = append(fields, f.Field)
	}
	return fields
}
