package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
)

// load reads a configuration as run would, with only the environment given.
func load(t *testing.T, file string, env map[string]string, args ...string) (node.Config, string, error) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, "")
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "config.toml"), []byte(file), 0o644))
	var errs bytes.Buffer
	a := &app{err: &errs, home: home}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	addConfigFlags(flags)
	require.NoError(t, flags.Parse(args))
	cfg, err := a.loadConfig("", flags)
	return cfg, errs.String(), err
}

func TestFlagBeatsEnvironmentBeatsFileBeatsProfile(t *testing.T) {
	file := "profile = \"wan\"\n[network]\nname = \"file\"\nlow_peers = 3\ntopics = [\"file\"]\n[membership]\nbeat_interval = \"1s\"\n"
	cfg, said, err := load(t, file, map[string]string{
		"P2PNODE_NETWORK_NAME": "env", "P2PNODE_NETWORK_TOPICS": "one,two", "P2PNODE_NODE_TAGS": "zone=eu,rack=7",
		"P2PNODE_GOSSIP_ANTI_ENTROPY": "30s", "P2PNODE_MEMBERSHIP_PHI_SUSPECT": "9", "P2PNODE_WORK_ENABLED": "true",
	}, "--network", "flag", "--listen", "/ip4/127.0.0.1/tcp/1", "--listen", "/ip4/127.0.0.1/tcp/2")
	require.NoError(t, err)
	require.Empty(t, said)
	require.Equal(t, "flag", cfg.Network.Name)
	require.Equal(t, []string{"one", "two"}, cfg.Network.Topics)
	require.Equal(t, map[string]string{"zone": "eu", "rack": "7"}, cfg.Node.Tags)
	require.Equal(t, 30*time.Second, cfg.Gossip.AntiEntropy)
	require.Equal(t, 9.0, cfg.Membership.PhiSuspect)
	require.True(t, cfg.Work.Enabled)
	require.Equal(t, time.Second, cfg.Membership.BeatInterval)
	require.Equal(t, 3, cfg.Network.LowPeers)
	require.Equal(t, []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"}, cfg.Network.Listen, "repeated flags add up")
	require.False(t, cfg.Network.MDNS, "profile wan, named in the file")
}

func TestANodeIsMadeQuietByFlagEnvironmentOrFile(t *testing.T) {
	for _, c := range []struct {
		file string
		env  map[string]string
		args []string
		want bool
	}{
		{},
		{file: "[membership]\nquiet = true\n", want: true},
		{env: map[string]string{"P2PNODE_MEMBERSHIP_QUIET": "true"}, want: true},
		{args: []string{"--quiet-node"}, want: true},
		{env: map[string]string{"P2PNODE_MEMBERSHIP_QUIET": "true"}, args: []string{"--quiet-node=false"}},
	} {
		cfg, said, err := load(t, c.file, c.env, c.args...)
		require.NoError(t, err)
		require.Empty(t, said)
		require.Equal(t, c.want, cfg.Membership.Quiet)
	}
}

func TestAListByFlagReplacesThatOfTheEnvironment(t *testing.T) {
	cfg, _, err := load(t, "", map[string]string{"P2PNODE_NETWORK_TOPICS": "one,two"}, "--topic", "three")
	require.NoError(t, err)
	require.Equal(t, []string{"three"}, cfg.Network.Topics)
}

func TestTheProfileIsTakenFromWhereverItIsSaid(t *testing.T) {
	for _, c := range []struct {
		file string
		env  map[string]string
		args []string
	}{
		{"profile = \"local\"", nil, nil},
		{"profile = \"wan\"", map[string]string{"P2PNODE_PROFILE": "local"}, nil},
		{"profile = \"wan\"", map[string]string{"P2PNODE_PROFILE": "lan"}, []string{"--profile", "local"}},
	} {
		cfg, _, err := load(t, c.file, c.env, c.args...)
		require.NoError(t, err)
		require.Equal(t, node.ProfileLocal, cfg.Profile)
		require.True(t, cfg.Work.Enabled)
	}
}

func TestNothingSaidIsTheDefault(t *testing.T) {
	cfg, said, err := load(t, "", map[string]string{"P2PNODE_NETWORK_NAME": ""})
	require.NoError(t, err)
	require.Empty(t, said)
	want := node.DefaultConfig(node.ProfileLAN)
	want.DataDir, want.API.Listen = cfg.DataDir, "unix:"+filepath.Join(cfg.DataDir, "api.sock")
	require.Equal(t, want, cfg)
}

// The file that init writes says the defaults: with every line active it means the same as without it.
func TestFreshConfigIsTheDefaults(t *testing.T) {
	for _, profile := range []string{node.ProfileLocal, node.ProfileLAN, node.ProfileWAN} {
		text := freshConfig(profile)
		all := strings.ReplaceAll(text[strings.IndexByte(text, '\n')+1:], "\n# ", "\n")
		for _, file := range []string{text, all} {
			cfg, _, err := load(t, file, nil)
			require.NoError(t, err, file)
			want := node.DefaultConfig(profile)
			want.DataDir, want.API.Listen = cfg.DataDir, cfg.API.Listen
			require.Equal(t, want, cfg)
		}
		for _, s := range settings() {
			name := s.key[strings.LastIndexByte(s.key, '.')+1:]
			require.Contains(t, "\n"+all, "\n"+name+" = ", s.key)
			require.Contains(t, settingNotes, s.key)
		}
	}
}

func TestLikelyKey(t *testing.T) {
	for wrong, want := range map[string]string{
		"network.bootsrap": "network.bootstrap",
		"bootstrap":        "network.bootstrap",
		"bootsrap":         "network.bootstrap",
		"netwrok.name":     "network.name",
		"gossip.max_peers": "network.max_peers",
		"colour":           "",
	} {
		require.Equal(t, want, likelyKey(wrong), wrong)
	}
}
