package api

import (
	"encoding/hex"
	"maps"
	"math"
	"os"
	"runtime"
	rtdebug "runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// protocol is the range of wire versions this program speaks: version 1 of every stream and topic.
var protocol = Protocol{Speaks: 1, Min: 1, Max: 1}

// maxPhi caps phi, which grows without end while a member is silent.
const maxPhi = 1e6

// finite is x as JSON can carry it: no infinity, and 0 for what is no number.
func finite(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return min(max(x, -math.MaxFloat64), math.MaxFloat64)
}

// list is s converted by f, never nil: empty lists are [] in JSON.
func list[S, T any](s []S, f func(S) T) []T {
	out := make([]T, len(s))
	for i := range s {
		out[i] = f(s[i])
	}
	return out
}

// text is id in full, "" when there is none.
func text(id peer.ID) string {
	if id == "" {
		return ""
	}
	return id.String()
}

// stamp is t to the millisecond.
func stamp(t time.Time) Time { return Time{t.Truncate(time.Millisecond)} }

func versionOf(i node.Info) Version {
	v := Version{Version: i.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Protocol: protocol}
	if build, ok := rtdebug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

func nodeInfoOf(i node.Info) NodeInfo {
	n := NodeInfo{
		ID: text(i.ID), Name: i.Name, Network: i.Network, Profile: i.Profile, Version: i.Version, Home: i.Home,
		Topics: slices.Clone(i.Topics), Listen: make([]string, len(i.Listen)), Addrs: make([]string, len(i.Addrs)),
		Started: stamp(i.Started), PID: os.Getpid(),
	}
	if n.Topics == nil {
		n.Topics = []string{}
	}
	for k, a := range i.Listen {
		n.Listen[k] = a.String()
	}
	for k, a := range i.Addrs {
		n.Addrs[k] = a.String() + "/p2p/" + n.ID
	}
	return n
}

// statusOfNode converts all of a Status but its running jobs.
func statusOfNode(st node.Status) Status {
	i := st.Info
	out := Status{
		Schema: "p2pnode.status/v1",
		Node: StatusNode{
			ID: text(i.ID), Name: i.Name, Version: i.Version,
			UptimeSeconds: st.Uptime.Round(time.Millisecond).Seconds(),
		},
		Network: StatusNetwork{Name: i.Network, Profile: i.Profile, Authorities: []string{}, Protocol: protocol},
		Joined:  st.Joined,
		Bootstrap: Bootstrap{
			Wanted: st.Bootstrap.Wanted, Connected: st.Bootstrap.Connected, Failures: map[string]string{},
		},
		Peers:   st.Peers,
		Members: MemberCount(st.Members),
		Topics:  list(st.State, topicStatusOf),
		Work:    []JobSummary{},
		Worker: Worker{
			Enabled: st.Work.Enabled, Rate: finite(st.Work.Rate),
			Running: st.Work.Running, Done: st.Work.Done, Canceled: st.Work.Canceled,
		},
		Counters:    list(st.Counters, metricOf),
		ClockOffset: inSeconds(st.ClockOffset),
		Problems:    list(st.Problems, func(p node.Problem) Problem { return Problem(p) }),
	}
	maps.Copy(out.Bootstrap.Failures, st.Bootstrap.Failures)
	for _, t := range out.Topics {
		out.Gossip.Topics++
		out.Gossip.MeshPeers += t.MeshPeers
		if len(i.Topics) > 0 && t.Topic == i.Topics[0] {
			out.State = t
		}
	}
	return out
}

func topicStatusOf(t node.TopicStatus) TopicStatus {
	return TopicStatus{
		Topic: t.Topic, Digest: hex.EncodeToString(t.Fingerprint[:]), Owners: t.Owners, Keys: t.Keys,
		Tombstones: t.Tombstones, Bytes: t.Bytes, Agree: t.Agree, Of: t.Of, MeshPeers: t.MeshPeers,
	}
}

func metricOf(m node.Metric) Metric {
	kind := "gauge"
	if m.Kind == node.Counter {
		kind = "counter"
	}
	return Metric{Name: m.Name, Kind: kind, Labels: m.Labels, Value: finite(m.Value)}
}

func peerOf(p node.Peer) Peer {
	out := Peer{
		ID: text(p.ID), Name: p.Name, Direction: p.Direction, Transport: p.Transport, Path: "direct",
		Mesh: slices.Clone(p.Mesh), Agent: p.Agent, Since: stamp(p.Since),
	}
	if p.Relayed {
		out.Path = "relay"
	}
	if p.Addr != nil {
		out.Addr = p.Addr.String()
	}
	if p.RTT > 0 {
		out.RTTSeconds = inSeconds(&p.RTT)
	}
	if out.Mesh == nil {
		out.Mesh = []string{}
	}
	return out
}

// maxAddrs bounds the addresses of a member that are listed: ordinary nodes have fewer than ten.
const maxAddrs = 16

// memberOf converts a member; skew is the difference of clocks to warn of.
func memberOf(m replica.Member, reach node.Reach, skew time.Duration) Member {
	out := Member{
		ID: text(m.ID), Name: m.Name, Self: m.Self, Status: m.Status, Phi: min(finite(m.Phi), maxPhi), LastHeard: stamp(m.Heard),
		Generation: Uint64(m.Generation), StateVersion: Uint64(m.Version), Agent: m.Agent,
		Neighbour: m.Neighbour, Agrees: m.Agrees, Equivocated: m.Equivocated, Tags: map[string]string{},
		Since: stamp(m.Since), SuspectedBy: list(m.Accusers, text), Refuter: text(m.Refuter), RefutedAt: stamp(m.Refuted),
		Began: began(uint64(m.Generation)), Reachability: reach.Status, Addrs: []string{},
	}
	for _, addr := range reach.Addrs[:min(len(reach.Addrs), maxAddrs)] {
		out.Addrs = append(out.Addrs, addr.String())
	}
	if reach.Protocol > 0 {
		out.Protocol = &reach.Protocol
	}
	if m.Self || m.Neighbour && m.Agrees {
		out.StateLag = new(int)
	}
	out.Version, _ = strings.CutPrefix(m.Agent, "p2pnode/")
	if out.Version == m.Agent {
		out.Version = "" // another program's
	}
	if m.ClockKnown {
		out.ClockOffset = inSeconds(&m.Clock)
		out.ClockSkewed = m.Clock.Abs() >= skew
	}
	maps.Copy(out.Tags, m.Tags)
	return out
}

// began is when a generation was made: nodes put the seconds since 1970 above 16 bits of chance. It is none for a generation
// that says before 2020 or after tomorrow, which was made in another way, or by a clock that is of no use.
func began(generation uint64) Time {
	at := time.Unix(int64(generation>>16), 0)
	if at.Year() < 2020 || time.Until(at) > 24*time.Hour {
		return Time{}
	}
	return Time{at}
}

// inSeconds is d in seconds, nil for nil.
func inSeconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	seconds := d.Seconds()
	return &seconds
}

func transitionOf(t replica.Transition) Transition {
	return Transition{
		ID: text(t.ID), Name: t.Name, From: t.From, To: t.To, Phi: min(finite(t.Phi), maxPhi),
		Accusers: list(t.Accusers, text), Timeout: t.Timeout.Seconds(), Refuter: text(t.Refuter), Reason: t.Reason, At: stamp(t.At),
	}
}

func valueOf(v replica.Value) Value {
	out := Value{
		Key: v.Key, Owner: text(v.Owner), Version: Uint64(v.Clock), OwnerVersion: Uint64(v.Version), Encoding: "base64",
		Size: len(v.Value), ContentType: v.ContentType, Written: stamp(v.Written), Expires: stamp(v.Expires),
		Digest: hex.EncodeToString(v.Root[:]), Deleted: v.Deleted,
	}
	if v.Deleted {
		return out
	}
	out.Value = v.Value
	if out.Value == nil {
		out.Value = []byte{} // an empty value is "", null is none
	}
	out.Text = printed(v.Value)
	return out
}

// printed is b as text when it is printable, else nil.
func printed(b []byte) *string {
	if !printable(b) {
		return nil
	}
	s := string(b)
	return &s
}

// printable reports whether b is UTF-8 that a terminal shows as it is: graphic characters, spaces, line ends, tabs.
func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsGraphic(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
	}
	return true
}

func versionsOf(v replica.Versions) Versions {
	out := Versions{Items: make([]PastValue, len(v.Values)), Cut: v.Cut}
	for i := range v.Values {
		out.Items[i] = PastValue{valueOf(v.Values[i]), i == 0 && v.Current}
	}
	return out
}

// changeOf converts what a Put, Deleted or Lost event says.
func changeOf(e replica.Event) Change {
	c := Change{Value: valueOf(e.New), Remote: e.Remote, Cause: string(e.Cause), Why: e.Why()}
	if e.Old.Key != "" {
		old := valueOf(e.Old)
		c.Old = &old
	}
	return c
}

func digestOf(d replica.Digest) Digest {
	return Digest{
		Topic: d.Topic, Digest: hex.EncodeToString(d.Fingerprint[:]), Owners: d.Owners, Keys: d.Keys,
		Tombstones: d.Tombstones, Bytes: d.Bytes,
	}
}

// agreementsOf compares what the members answered with own. names gives their names.
func agreementsOf(own replica.Digest, answers []replica.Agreement, names map[peer.ID]string) Agreements {
	out := Agreements{Digest: digestOf(own), Members: make([]Agreement, 0, len(answers)), Agree: 1, Of: 1}
	for _, a := range answers {
		m := Agreement{ID: text(a.Peer), Name: names[a.Peer]}
		out.Of++
		if a.Err != nil {
			m.Error = a.Err.Error()
		} else {
			m.Digest = &MemberDigest{Digest: hex.EncodeToString(a.Digest.Fingerprint[:]), Owners: a.Digest.Owners}
			m.Behind = a.Behind
			m.Agrees = a.Digest.Fingerprint == own.Fingerprint
		}
		if m.Agrees {
			out.Agree++
		}
		out.Members = append(out.Members, m)
	}
	slices.SortFunc(out.Members, func(a, b Agreement) int { return strings.Compare(a.ID, b.ID) })
	return out
}
