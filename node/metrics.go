package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/nonce"
)

// metricsTimeout bounds what Metrics waits for the replica.
const metricsTimeout = time.Second

// Metrics are all numbers of this node. Those of the replicated state are left out while it does not answer.
func (n *Node) Metrics() []Metric {
	m := metrics{
		{Name: "p2pnode_build_info", Help: "Always 1; the version is a label.", Kind: Gauge, Labels: map[string]string{"version": n.info.Version}, Value: 1},
		{Name: "p2pnode_start_time_seconds", Help: "Start of the process, unix seconds.", Kind: Gauge, Value: float64(n.info.Started.UnixMilli()) / 1000},
		{Name: "p2pnode_peers", Help: "Connected libp2p peers.", Kind: Gauge, Value: float64(len(n.host.Network().Peers()))},
	}
	ready := 0.0
	select {
	case <-n.ready:
		ready = 1
	default:
	}
	m.gauge("p2pnode_ready", "1 once the node has published itself.", ready, "", "")
	m.replica(n.replica.Counts())
	m.discovery(n)
	m.refused(&n.refused)
	m.gossip(n.tracer.counted())
	m.work(n)
	if ready == 1 {
		m.state(n)
	}
	return m
}

type metrics []Metric

func (m *metrics) gauge(name, help string, v float64, label, value string) {
	m.add(Gauge, name, help, v, label, value)
}

func (m *metrics) counter(name, help string, v uint64, label, value string) {
	m.add(Counter, name, help, float64(v), label, value)
}

// labelled is one of several counters of a name, and what its label says.
type labelled struct {
	label string
	n     uint64
}

// counters adds one counter of a name for each value of its label.
func (m *metrics) counters(name, help, label string, all []labelled) {
	for _, c := range all {
		m.counter(name, help, c.n, label, c.label)
	}
}

func (m *metrics) add(kind MetricKind, name, help string, v float64, label, value string) {
	metric := Metric{Name: name, Help: help, Kind: kind, Value: v}
	if label != "" {
		metric.Labels = map[string]string{label: value}
	}
	*m = append(*m, metric)
}

// replicaMetrics names each counter of the replica: metric, label and help.
var replicaMetrics = map[string][3]string{
	replica.CountWrites:      {"p2pnode_state_writes_total", "result", "Changes of this node's own state."},
	replica.CountApplied:     {"p2pnode_state_applied_total", "path", "Updates of others applied, by how they came."},
	replica.CountDropped:     {"p2pnode_state_dropped_total", "reason", "Updates of others not applied."},
	replica.CountSync:        {"p2pnode_sync_sessions_total", "result", "Sync sessions."},
	replica.CountSyncBytes:   {"p2pnode_sync_bytes_total", "direction", "Bytes on sync streams."},
	replica.CountPull:        {"p2pnode_state_pulls_total", "result", "Pulls of an owner's state after a gap."},
	replica.CountBeat:        {"p2pnode_beats_total", "result", "Beats received, and beat streams refused."},
	replica.CountBeatBytes:   {"p2pnode_beat_bytes_total", "direction", "Bytes on beat streams."},
	replica.CountAccusation:  {"p2pnode_accusations_total", "result", "Accusations: own lists published, digests signed to refute, lists of others that were malformed."},
	replica.CountProbe:       {"p2pnode_probes_total", "result", "Silent members looked after: dials, questions to neighbours and theirs."},
	replica.CountPublish:     {"p2pnode_rumors_published_total", "result", "Rumors published."},
	replica.CountLagged:      {"p2pnode_events_dropped_total", "stream", "Events that slow watchers missed."},
	replica.CountTransition:  {"p2pnode_member_transitions_total", "to", "Changes of a member's status."},
	replica.CountStoreFailed: {"p2pnode_storage_errors_total", "state", "Writes to the state store that failed."},

	replica.CountEquivocation: {"p2pnode_equivocations_total", "result", "Members that are proved to have signed two histories."},
	replica.CountForget:       {"p2pnode_members_forgotten_total", "event", "What became of members, or of this node, that were silent for long."},
}

func (m *metrics) replica(counts []replica.Count) {
	conflict := 0.0
	for _, c := range counts {
		if c.Name == replica.CountIdentity {
			conflict = 1
			continue
		}
		as := replicaMetrics[c.Name]
		m.counter(as[0], as[2], c.N, as[1], c.Label)
		if c.Name == replica.CountLagged {
			(*m)[len(*m)-1].Labels["reason"] = "slow_reader"
		}
	}
	m.gauge("p2pnode_identity_conflict", "1 once another process was seen to sign with this node's identity.", conflict, "", "")
}

func (m *metrics) discovery(n *Node) {
	b := n.bootstrap.Counters()
	m.counters("p2pnode_bootstrap_dials_total", "Dials of bootstrap peers.", "result", []labelled{
		{"ok", b.OK}, {"refused", b.Refused}, {"timeout", b.Timeout}, {"id_mismatch", b.IDMismatch},
		{"security", b.Security}, {"dns", b.DNS}, {"other", b.Other},
	})
	d := n.discovery.Counters()
	m.counter("p2pnode_discovery_advertisements_total", "Records put into the DHT.", d.Advertisements, "", "")
	m.counter("p2pnode_discovery_lookups_total", "Look-ups of the network's nodes in the DHT.", d.Lookups, "", "")
	m.counter("p2pnode_discovery_found_total", "Peers offered with an address to dial.", d.Found, "", "")
	m.gauge("p2pnode_discovery_candidates", "Peers remembered.", float64(d.Candidates), "", "")
	m.gauge("p2pnode_discovery_view", "Peers in the random sample of the network.", float64(d.View), "", "")
	m.gauge("p2pnode_discovery_neighbours", "Connected peers of this network.", float64(d.Neighbours), "", "")
	m.gauge("p2pnode_discovery_chosen", "Neighbours of this node's own choice.", float64(d.Chosen), "", "")
	if !d.LastAdvertise.IsZero() {
		m.gauge("p2pnode_discovery_last_advertise_age_seconds", "Time since this node's record was last put into the DHT.",
			time.Since(d.LastAdvertise).Seconds(), "", "")
	}
	m.counters("p2pnode_discovery_exchanges_total", "Neighbours asked for peers.", "result", []labelled{
		{"ok", d.Exchanges}, {"failed", d.ExchangesFailed}, {"malformed", d.ExchangesMalformed},
	})
	m.counters("p2pnode_discovery_served_total", "Exchanges of peers that others asked for.", "result", []labelled{
		{"ok", d.Served}, {"refused", d.ServeRefused}, {"failed", d.ServeFailed},
	})
	m.counter("p2pnode_discovery_records_total", "Signed records of peers that exchanges brought.", d.RecordsTaken, "", "")
	m.counters("p2pnode_discovery_dropped_total", "What was heard of peers and not kept.", "reason", []labelled{
		{"queue", d.Dropped.Queue}, {"address", d.Dropped.Address}, {"record", d.Dropped.Record}, {"room", d.Dropped.Room},
		{"pushes", d.Dropped.Pushes},
	})
	m.counters("p2pnode_discovery_dials_total", "Dials of peers that were found.", "result", []labelled{
		{"ok", d.DialsOK}, {"refused", d.DialsRefused}, {"timeout", d.DialsTimeout}, {"other", d.DialsOther},
	})
	m.gauge("p2pnode_dht_routing_table", "Peers in the DHT's table.", float64(d.RoutingTable), "", "")
	m.counter("p2pnode_peers_refused_total", "Connections closed by this node.", n.stray.dropped.Load(), "reason", "network_mismatch")
}

func (m *metrics) refused(r *refusals) {
	m.counters("p2pnode_resources_refused_total", "Refused to peers since a limit was reached.", "reason", []labelled{
		{"connections", r.connections.Load()}, {"streams", r.streams.Load()}, {"peer", r.peers.Load()},
		{"protocol", r.protocols.Load()}, {"service", r.services.Load()}, {"memory", r.memory.Load()},
	})
}

func (m *metrics) gossip(c gossipCounts) {
	m.counter("gossipsub_messages_delivered_total", "Messages accepted.", c.Delivered, "", "")
	m.counter("gossipsub_messages_duplicate_total", "Messages received again.", c.Duplicate, "", "")
	for _, why := range slices.Sorted(maps.Keys(c.Rejected)) {
		m.counter("gossipsub_messages_rejected_total", "Messages rejected or ignored.", c.Rejected[why], "reason", strings.ReplaceAll(why, " ", "_"))
	}
	m.counter("gossipsub_messages_undeliverable_total", "Messages the subscription had no room for.", c.Undeliverable, "reason", "queue_full")
	m.counter("gossipsub_rpc_dropped_total", "RPCs that a peer's queue had no room for.", c.DroppedRPC, "reason", "queue_full")
	m.counter("gossipsub_graft_total", "Peers taken into a mesh.", c.Graft, "", "")
	m.counter("gossipsub_prune_total", "Peers put out of a mesh.", c.Prune, "", "")
}

func (m *metrics) work(n *Node) {
	var tried, found, taken, surrendered, failures uint64
	refused := map[nonce.Reason]uint64{}
	rate := 0.0
	for _, pool := range n.pools {
		c := pool.Counters()
		tried, found, taken = tried+c.Tried, found+c.Found, taken+c.TakenOver
		surrendered, failures = surrendered+c.Surrendered, failures+c.PutFailures
		for reason, count := range c.Refused {
			refused[reason] += count
		}
		rate += pool.Rate()
	}
	m.counter("p2pnode_work_nonces_total", "Nonces tried here.", tried, "", "")
	m.counter("p2pnode_work_results_total", "Results found here.", found, "", "")
	m.counter("p2pnode_work_cells_taken_over_total", "Cells taken over from workers that died over them.", taken, "", "")
	m.counter("p2pnode_work_cells_surrendered_total", "Cells given up to a worker with the better claim.", surrendered, "", "")
	m.counter("p2pnode_work_put_failures_total", "Writes of work state that failed and were tried again.", failures, "", "")
	m.gauge("p2pnode_work_rate", "Nonces a second tried here over the last 10 s.", rate, "", "")
	for _, reason := range slices.Sorted(maps.Keys(refused)) {
		m.counter("p2pnode_work_refused_total", "Keys of work that others wrote and that break a rule.", refused[reason], "reason", string(reason))
	}
}

func (m *metrics) state(n *Node) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	members, err := n.replica.Members(ctx)
	if err != nil {
		return
	}
	if offset := clockOffset(members); offset != nil {
		m.gauge("p2pnode_clock_offset_seconds", "How far this node's wall clock is ahead of the median of its neighbours'.", offset.Seconds(), "", "")
	}
	for _, member := range members { // neighbours alone
		if member.ClockKnown && member.Status == "alive" {
			m.gauge("p2pnode_member_clock_offset_seconds", "How far a neighbour's wall clock is ahead of this node's.", member.Clock.Seconds(),
				"member", member.ID.String())
		}
	}
	c := count(members)
	for _, s := range []struct {
		status string
		n      int
	}{{"alive", c.Alive}, {"suspect", c.Suspect}, {"dead", c.Dead}, {"left", c.Left}} {
		m.gauge("p2pnode_members", "Members by status.", float64(s.n), "status", s.status)
	}
	for _, name := range append([]string{wire.Members}, n.cfg.Network.Topics...) {
		topic, err := n.replica.Topic(name)
		if err != nil {
			continue
		}
		d, err := topic.Digest(ctx)
		if err != nil {
			return
		}
		m.gauge("p2pnode_state_owners", "Owners held.", float64(d.Owners), "topic", name)
		m.gauge("p2pnode_state_keys", "Live entries of all owners.", float64(d.Keys), "topic", name)
		m.gauge("p2pnode_state_tombstones", "Deleted entries that are remembered.", float64(d.Tombstones), "topic", name)
		m.gauge("p2pnode_state_bytes", "Bytes of keys and values.", float64(d.Bytes), "topic", name)
		m.gauge("gossipsub_mesh_peers", "Peers in the mesh.", float64(n.tracer.peers(replica.GossipTopic(n.cfg.Network.Name, name))), "topic", name)
	}
}
