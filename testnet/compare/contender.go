package main

import "context"

// contender is a program that keeps a membership, or for idle one that only keeps connections.
type contender struct {
	name  string
	start starter
	sees  func(n int) int // how many members each of n nodes sees when all is well

	absent   string // why it cannot take part; "": it can
	idleOnly bool   // it detects nothing
}

// starter starts node i of a cluster, to join through another one that runs; join is -1 when there is none.
type starter func(ctx context.Context, cl *cluster, i, join int) (member, error)

// reference is the contender that ratios are against.
const reference = "p2pnode"

func all(n int) int { return n }

// contenders are those of the comparison, in the order of the report. degree is how many connections each node of libp2p
// alone keeps; it is read when such a node starts.
func contenders(bin binaries, degree *int) ([]*contender, error) {
	quiet, err := quietSetting(bin)
	if err != nil {
		return nil, err
	}
	quietly := &contender{name: "p2pnode quiet", start: p2pnode(bin.p2pnode, quiet+"=true"), sees: all}
	if quiet == "" {
		quietly.absent = "this p2pnode has no setting quiet"
	}
	connected := func(n int) int { return 1 + ringDegree(n, *degree) }
	return []*contender{
		{name: reference, start: p2pnode(bin.p2pnode), sees: all},
		quietly,
		{name: "libp2p alone", start: bare(bin.bare, degree), sees: connected, idleOnly: true},
		{name: "memberlist", start: agent(bin.agent, "memberlist"), sees: all},
		{name: "memberlist fast", start: agent(bin.agent, "memberlist-fast"), sees: all},
		{name: "serf", start: agent(bin.agent, "serf"), sees: all},
	}, nil
}
