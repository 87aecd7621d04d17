package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/nonce"
)

// Status sums the node up, as of now.
func (n *Node) Status(ctx context.Context) (Status, error) {
	s := Status{Info: n.Info(), Uptime: time.Since(n.info.Started), Peers: len(n.host.Network().Peers()), Counters: n.Metrics()}
	b := n.bootstrap.State()
	s.Bootstrap = Bootstrap{Wanted: b.Wanted, Connected: b.Connected, Failures: b.Failures}
	s.Joined = s.Peers > 0 || b.Wanted == 0
	members, err := n.replica.Members(ctx)
	if err != nil {
		return Status{}, err
	}
	s.Members = count(members)
	if s.State, err = n.topicStatus(ctx); err != nil {
		return Status{}, err
	}
	if s.Work, err = n.workStatus(ctx); err != nil {
		return Status{}, err
	}
	identity, err := n.replica.Identity(ctx)
	if err != nil {
		return Status{}, err
	}
	storage, err := n.replica.Storage(ctx)
	if err != nil {
		return Status{}, err
	}
	s.ClockOffset = clockOffset(members)
	s.Problems = slices.Concat(identityProblems(identity), storageProblems(storage),
		n.problems(members, b), clockProblems(members, n.cfg.Membership.MaxClockSkew))
	return s, nil
}

func count(members []replica.Member) MemberCount {
	var c MemberCount
	for _, m := range members {
		switch m.Status {
		case "alive":
			c.Alive++
		case "suspect":
			c.Suspect++
		case "dead":
			c.Dead++
		case "left":
			c.Left++
		}
	}
	return c
}

func (n *Node) topicStatus(ctx context.Context) ([]TopicStatus, error) {
	agree, of, err := n.replica.Neighbours(ctx)
	if err != nil {
		return nil, err
	}
	var all []TopicStatus
	for _, name := range append([]string{wire.Members}, n.cfg.Network.Topics...) {
		topic, err := n.replica.Topic(name)
		if err != nil {
			return nil, err
		}
		d, err := topic.Digest(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, TopicStatus{
			Topic: name, Fingerprint: d.Fingerprint, Owners: d.Owners, Keys: d.Keys, Tombstones: d.Tombstones, Bytes: d.Bytes,
			Agree: agree, Of: of, MeshPeers: n.tracer.peers(replica.GossipTopic(n.cfg.Network.Name, name)),
		})
	}
	return all, nil
}

func (n *Node) workStatus(ctx context.Context) (WorkStatus, error) {
	w := WorkStatus{Enabled: n.cfg.Work.Enabled}
	for _, pool := range n.pools {
		jobs, err := pool.Jobs(ctx)
		if err != nil {
			return WorkStatus{}, err
		}
		for _, j := range jobs {
			switch j.State {
			case nonce.Running:
				w.Running++
			case nonce.Canceled:
				w.Canceled++
			default:
				w.Done++
			}
		}
		w.Rate += pool.Rate()
	}
	return w, nil
}

// problems are what an operator may want to act on, worst first.
func (n *Node) problems(members []replica.Member, b bootstrap.State) []Problem {
	var all []Problem
	if n.damaged != nil {
		all = append(all, Problem{
			Level: "error", Code: CodeStoreCorrupt, Detail: n.damaged.Error(), Hint: "p2pnode errors " + CodeStoreCorrupt,
		})
	}
	if b.Wanted > 0 && b.Connected+b.Spared == 0 {
		all = append(all, Problem{
			Level: "warn", Code: CodeBootstrapUnreachable,
			Detail: fmt.Sprintf("none of %d bootstrap peers answers", b.Wanted), Hint: "p2pnode status --json",
		})
	}
	for _, m := range members {
		if m.Equivocated {
			all = append(all, Problem{
				Level: "warn", Code: CodeEquivocation,
				Detail: fmt.Sprintf("member %s has signed two histories", label(m)), Hint: "p2pnode errors " + CodeEquivocation,
			})
		}
		if m.Status == "suspect" {
			all = append(all, suspected(m, members, time.Now()))
		}
	}
	return all
}

// suspected says of a member that is suspect for how long, and how many of the others that could say so do.
func suspected(m replica.Member, members []replica.Member, now time.Time) Problem {
	witnesses := 0
	for _, other := range members {
		if other.ID != m.ID && (other.Status == "alive" || slices.Contains(m.Accusers, other.ID)) {
			witnesses++
		}
	}
	least := ""
	if len(m.Accusers) >= liveness.MaxNamed {
		least = "at least " // no more are named
	}
	return Problem{
		Level: "warn", Code: CodeMemberSuspected, Hint: "p2pnode members " + suffix(m.ID, members),
		Detail: fmt.Sprintf("member %s suspected for %s (phi %.1f) by %s%d of %d", label(m), roughly(now.Sub(m.Since)), m.Phi,
			least, len(m.Accusers), witnesses),
	}
}

// suffix is the end of a member's id that no other member's id has, at least 4 characters.
func suffix(id peer.ID, members []replica.Member) string {
	text := id.String()
	for n := min(4, len(text)); n < len(text); n++ {
		end := text[len(text)-n:]
		if !slices.ContainsFunc(members, func(m replica.Member) bool {
			return m.ID != id && (m.Name == end || strings.HasSuffix(m.ID.String(), end))
		}) {
			return end
		}
	}
	return text
}

// identityProblems are those of this node's own key, worst first.
func identityProblems(i replica.Identity) []Problem {
	var all []Problem
	switch {
	case i.Stopped:
		all = append(all, Problem{
			Level: "error", Code: CodeIdentityConflict, Detail: "another node runs with this node's key; this one does not write any more",
			Hint: "stop one of the two; make a new key for it with 'p2pnode init --force'",
		})
	case i.Moved:
		all = append(all, Problem{
			Level: "error", Code: CodeIdentityConflict, Detail: "something newer was signed with this node's key elsewhere, or before it lost its state",
			Hint: "if the key was copied, stop the other node and make a new key for it with 'p2pnode init --force'",
		})
	}
	if i.Withdrawn > 0 {
		all = append(all, Problem{
			Level: "warn", Code: CodeKeysWithdrawn,
			Detail: fmt.Sprintf("peers had forgotten this node; it withdrew %d shared keys", i.Withdrawn), Hint: "p2pnode errors " + CodeKeysWithdrawn,
		})
	}
	return all
}

// storageProblems are those of writing this node's own state to disk.
func storageProblems(s replica.Storage) []Problem {
	if !errors.Is(s.Fault, syscall.ENOSPC) {
		return nil
	}
	return []Problem{{
		Level: "error", Code: CodeDiskFull, Detail: "no space left for the data directory; the last write was refused", Hint: "free some space",
	}}
}

// label is what people call a member: its name, or else the ends of its id.
func label(m replica.Member) string {
	if m.Name != "" {
		return m.Name
	}
	id := m.ID.String()
	if len(id) <= 12 {
		return id
	}
	return id[:4] + "…" + id[len(id)-4:]
}

// Peers are the connected peers, one row each, sorted by id.
func (n *Node) Peers() []Peer {
	names := n.names()
	var all []Peer
	for _, id := range n.host.Network().Peers() {
		conns := n.host.Network().ConnsToPeer(id)
		if len(conns) == 0 {
			continue
		}
		all = append(all, n.peer(id, best(conns), names[id]))
	}
	slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// names are the names that members give themselves; none while the replica does not run.
func (n *Node) names() map[peer.ID]string {
	names := map[peer.ID]string{}
	select {
	case <-n.ready:
	default:
		return names
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	members, err := n.replica.Members(ctx)
	if err != nil {
		return names
	}
	for _, m := range members {
		names[m.ID] = m.Name
	}
	return names
}

// best is the connection that is used first: a direct one, the oldest.
func best(conns []network.Conn) network.Conn {
	return slices.MinFunc(conns, func(a, b network.Conn) int {
		if a.Stat().Limited != b.Stat().Limited {
			if a.Stat().Limited {
				return 1
			}
			return -1
		}
		return a.Stat().Opened.Compare(b.Stat().Opened)
	})
}

func (n *Node) peer(id peer.ID, c network.Conn, name string) Peer {
	p := Peer{
		ID: id, Name: name, Direction: "out", Transport: transport(c.RemoteMultiaddr()), Addr: c.RemoteMultiaddr(),
		RTT: n.host.Peerstore().LatencyEWMA(id), Since: c.Stat().Opened,
	}
	if c.Stat().Direction == network.DirInbound {
		p.Direction = "in"
	}
	if _, err := c.RemoteMultiaddr().ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
		p.Relayed = true
	}
	if agent, err := n.host.Peerstore().Get(id, "AgentVersion"); err == nil {
		p.Agent, _ = agent.(string)
	}
	for _, topic := range n.tracer.topics(id) {
		name := strings.TrimPrefix(topic, prefix+n.cfg.Network.Name+"/state/")
		p.Mesh = append(p.Mesh, strings.TrimSuffix(name, "/1"))
	}
	return p
}

func transport(addr multiaddr.Multiaddr) string {
	if _, err := addr.ValueForProtocol(multiaddr.P_QUIC_V1); err == nil {
		return "quic-v1"
	}
	return "tcp"
}
