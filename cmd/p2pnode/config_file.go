package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/node"
)

// settingNotes are what a fresh config.toml says of each key. node.Config says more.
var settingNotes = map[string]string{
	"profile":                   "local | lan | wan: chooses the defaults below",
	"node.name":                 "shown to others; empty: the host name",
	"node.tags":                 "told to all members, at most 512 bytes in all",
	"node.identity_file":        "relative to the data directory",
	"network.name":              "nodes of other networks are ignored",
	"network.listen":            "",
	"network.listen_strict":     "an address that can't be listened on is an error",
	"network.announce":          "addresses to tell others beside those found",
	"network.bootstrap":         "addresses, with /p2p/, of nodes to join through",
	"network.topics":            "the first is meant where none is named",
	"network.mdns":              "find nodes on the local link",
	"network.upnp":              "ask the router to forward the ports",
	"network.max_peers":         "connections above which some are closed",
	"network.low_peers":         "connections left after that",
	"membership.beat_interval":  "200ms to 10s",
	"membership.quiet":          "fewer watchers and beats: idle cost over detection time",
	"membership.phi_suspect":    "suspicion level of a silent member, 1 to 100",
	"membership.suspicion_min":  "time to refute, 2.5s to 10m",
	"membership.forget_after":   "then a dead member's state is dropped, 1m to 720h",
	"membership.max_clock_skew": "difference of clocks to warn of, 1s to 24h",
	"gossip.mesh_size":          "peers that rumors are pushed to, 2 to 12",
	"gossip.anti_entropy":       "longest pause between comparisons, 1s to 10m",
	"state.tombstone_ttl":       "how long deletions are remembered, 1m to 8760h",
	"state.history":             "earlier values of each key that are remembered, 1 to 64",
	"work.enabled":              "search nonces of jobs",
	"work.threads":              "0: one less than there are cores",
	"work.submitters":           "peer ids whose jobs are worked on beside one's own",
	"api.listen":                "unix: | unix:PATH | off",
	"log.level":                 "debug | info | warn | error",
	"log.format":                "text | json",
}

// freshConfig is the config.toml that init writes: the profile, and every key with its default, commented out, so that
// later defaults are not frozen.
func freshConfig(profile string) string {
	var b strings.Builder
	b.WriteString("# Every key is shown with its default. What is commented out follows the defaults of the profile.\n")
	values := reflect.ValueOf(node.DefaultConfig(profile))
	section := ""
	for _, s := range settings() {
		in, name, nested := strings.Cut(s.key, ".")
		if !nested {
			in, name = "", s.key
		}
		if in != section {
			section = in
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		line := name + " = " + tomlValue(valueOf(values, s.key))
		if nested {
			line = "# " + line
		}
		if note := settingNotes[s.key]; note != "" {
			line = fmt.Sprintf("%-36s # %s", line, note)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// valueOf finds the field of a configuration by its key.
func valueOf(v reflect.Value, key string) reflect.Value {
	for part := range strings.SplitSeq(key, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get(tomlTag) == part {
				v = v.Field(i)
				break
			}
		}
	}
	return v
}

// tomlValue writes a setting's value as TOML.
func tomlValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return strconv.Quote(shortDuration(x))
	case string:
		return strconv.Quote(x)
	case float64:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case []string:
		quoted := make([]string, len(x))
		for i, s := range x {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case map[string]string:
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(x)) {
			pairs = append(pairs, name+" = "+strconv.Quote(x[name]))
		}
		return "{" + strings.Join(pairs, ", ") + "}"
	default:
		return fmt.Sprint(x)
	}
}

// shortDuration is d without the zero units that time.Duration writes: 168h, not 168h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
