package testnet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/node/api"
)

// lookTimeout bounds one look at one node. A busy one on a full machine answers in well under a second.
const lookTimeout = 5 * time.Second

// looksAtOnce bounds how many nodes are asked together.
const looksAtOnce = 8

// look fills in what only the node itself knows: identity, members, fingerprints. An error means that it does not answer yet,
// or any more.
func (l layout) look(ctx context.Context, n *Node) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	c, err := api.NewClient("unix:" + n.API)
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	n.ID = status.Node.ID
	n.MembersAlive = status.Members.Alive
	n.Fingerprints = make(map[string]string, len(status.Topics))
	for _, t := range status.Topics {
		n.Fingerprints[t.Topic] = t.Digest
	}
	return nil
}

// ready returns nil when the node takes part in its network.
func (l layout) ready(ctx context.Context, n Node) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	c, err := api.NewClient("unix:" + n.API)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Readyz(ctx)
	return err
}

// survey looks at all nodes of the plan.
func (l layout) survey(ctx context.Context, p plan) ([]Node, error) {
	nodes := make([]Node, len(p.Nodes))
	var g errgroup.Group
	g.SetLimit(looksAtOnce)
	for i, pn := range p.Nodes {
		g.Go(func() error {
			nodes[i] = l.node(pn)
			if nodes[i].State == StateKilled {
				return nil
			}
			nodes[i].State = StateUp
			if err := l.look(ctx, &nodes[i]); err != nil {
				nodes[i].State = StateSilent
			}
			return nil
		})
	}
	_ = g.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	count(nodes)
	return nodes, nil
}

// node is what is known of a node without asking it. State is StateSilent when its process lives.
func (l layout) node(pn planned) Node {
	n := Node{Name: pn.Name, ID: pn.ID, State: StateKilled, Address: pn.address(), Home: l.home(pn.Name),
		Fingerprints: map[string]string{}}
	if p, err := readPID(l.pid(pn.Name)); err == nil && p.alive() {
		n.State, n.PID, n.API = StateSilent, p.pid, l.socket(pn.Name)
	}
	return n
}

// count sets Agrees: for each node that is up, how many hold the same on every topic.
func count(nodes []Node) {
	for i := range nodes {
		nodes[i].Agrees = 0
		if nodes[i].State != StateUp {
			continue
		}
		for _, other := range nodes {
			if other.State == StateUp && maps.Equal(nodes[i].Fingerprints, other.Fingerprints) {
				nodes[i].Agrees++
			}
		}
	}
}

// odd says what keeps the nodes from being one network of len(nodes), by name of the nodes to blame; nothing when all agree.
// Who holds what most hold is not to blame.
func odd(nodes []Node) map[string]string {
	most := slices.MaxFunc(nodes, func(a, b Node) int { return a.Agrees - b.Agrees })
	blame := map[string]string{}
	for _, n := range nodes {
		switch {
		case n.State != StateUp:
			blame[n.Name] = "does not answer"
		case n.MembersAlive != len(nodes):
			blame[n.Name] = fmt.Sprintf("sees %d of %d members alive", n.MembersAlive, len(nodes))
		case !maps.Equal(n.Fingerprints, most.Fingerprints):
			blame[n.Name] = "holds another state than " + most.Name
		}
	}
	return blame
}
