package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) peersCommand() *cobra.Command {
	var sort string
	var full bool
	run := func(c *cobra.Command, _ []string) error {
		less, ok := peerOrders[sort]
		if !ok {
			return usageError("--sort %q: must be id, rtt or age", sort)
		}
		return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
			peers, err := node.Peers(ctx)
			if err != nil {
				return err
			}
			slices.SortStableFunc(peers, less)
			return a.showPeers(peers, full, time.Now())
		})
	}
	flags := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&sort, "sort", "id", "order: id, rtt or age")
		c.Flags().BoolVar(&full, "full", false, "show whole peer ids")
		return c
	}
	ls := flags(&cobra.Command{Use: "ls", Short: "List the connected peers", Args: exactArgs(), RunE: run})
	peers := parent("peers", "List the connected peers", ls)
	peers.RunE = run
	return flags(peers)
}

var peerOrders = map[string]func(x, y api.Peer) int{
	"id":  func(x, y api.Peer) int { return strings.Compare(x.ID, y.ID) },
	"age": func(x, y api.Peer) int { return x.Since.Compare(y.Since.Time) },
	"rtt": func(x, y api.Peer) int {
		switch {
		case x.RTTSeconds == nil && y.RTTSeconds == nil:
			return 0
		case x.RTTSeconds == nil:
			return 1
		case y.RTTSeconds == nil || *x.RTTSeconds < *y.RTTSeconds:
			return -1
		default:
			return 1
		}
	},
}

func (a *app) showPeers(peers []api.Peer, full bool, now time.Time) error {
	switch {
	case a.json:
		return a.writeJSON(struct {
			Schema string     `json:"schema"`
			Peers  []api.Peer `json:"peers"`
		}{"p2pnode.peers/v1", orEmpty(peers)})
	case a.quiet:
		for _, p := range peers {
			a.printf("%s\n", p.ID)
		}
		return nil
	}
	t := a.table("PEER", "NAME", "DIR", "TRANSPORT", "PATH", "RTT", "MESH", "AGENT", "AGE")
	relayed := 0
	for _, p := range peers {
		if p.Path == "relay" {
			relayed++
		}
		rtt := none
		if p.RTTSeconds != nil {
			rtt = span(seconds(*p.RTTSeconds))
		}
		t.row(a.id(p.ID, full), cell(p.Name, 20), p.Direction, p.Transport, p.Path, rtt,
			cell(strings.Join(p.Mesh, ","), 30), cell(p.Agent, 24), age(p.Since.Time, now))
	}
	if len(peers) > 0 {
		if err := t.write(); err != nil {
			return err
		}
	}
	a.printf("%s (%d direct, %d relayed)\n", count(len(peers), "peer"), len(peers)-relayed, relayed)
	return nil
}

// id is a peer id for a table.
func (a *app) id(id string, full bool) string {
	if full {
		return plain(id)
	}
	return shortID(id)
}

// count is a number of things with their name, whose plural takes an s.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// orEmpty makes a nil slice an empty one, which is [] in JSON, not null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
