package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// narrate tells of the life of a running node: what it is, when it has joined, every change of a member's status, and
// that it leaves. Messages by the packet are the log's.
func (a *app) narrate(ctx context.Context, n *node.Node, apiAddr string, began time.Time) {
	if !a.quiet {
		a.showBanner(n.Info(), apiAddr)
	}
	select {
	case <-ctx.Done():
	case <-n.Ready():
		a.showReady(ctx, n, began)
		a.showTransitions(ctx, n)
	}
	<-ctx.Done()
	if !a.quiet && !a.json {
		a.printf("leaving… (press Ctrl-C again to stop at once)\n")
	}
}

// startedLine is what a node is, as --json writes it.
type startedLine struct {
	Type        string   `json:"type"` // started
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Network     string   `json:"network"`
	Profile     string   `json:"profile"`
	Topics      []string `json:"topics"`
	Listen      []string `json:"listen"`
	Addrs       []string `json:"addrs"` // for others to join through
	Home        string   `json:"home"`
	NewIdentity bool     `json:"new_identity"`
	API         string   `json:"api"`
}

func (a *app) showBanner(info node.Info, apiAddr string) {
	addrs := make([]string, 0, len(info.Addrs))
	for _, m := range info.Addrs {
		addrs = append(addrs, m.String()+"/p2p/"+info.ID.String())
	}
	listen := make([]string, 0, len(info.Listen))
	for _, m := range info.Listen {
		listen = append(listen, m.String())
	}
	if a.json {
		_ = a.writeJSON(startedLine{ // a reader that went away does not stop a node
			Type: "started", ID: info.ID.String(), Name: info.Name, Network: info.Network, Profile: info.Profile,
			Topics: info.Topics, Listen: listen, Addrs: addrs, Home: info.Home, NewIdentity: info.NewKey, API: apiAddr,
		})
		return
	}
	line := func(name, format string, args ...any) { a.printf("  %-10s  %s\n", name, fmt.Sprintf(format, args...)) }
	a.printf("%s\n", readVersion())
	line("node", "%s  %s", plain(info.Name), info.ID)
	line("network", "%s (open)", info.Network)
	line("listening", "%s", strings.Join(listen, "  "))
	if share := shareable(info.Addrs); share != nil {
		line("share this", "%s/p2p/%s", share, info.ID)
	}
	made := ""
	if info.NewKey {
		made = " (new identity made)"
	}
	line("data", "%s%s", info.Home, made)
	line("api", "%s", apiAddr)
}

// shareable is the address to give to others: QUIC before TCP, one that other machines reach before loopback.
func shareable(addrs []multiaddr.Multiaddr) multiaddr.Multiaddr {
	var best multiaddr.Multiaddr
	most := -1
	for _, m := range addrs {
		score := 0
		if !manet.IsIPLoopback(m) {
			score += 2
		}
		if _, err := m.ValueForProtocol(multiaddr.P_QUIC_V1); err == nil {
			score++
		}
		if score > most {
			best, most = m, score
		}
	}
	return best
}

// readyLine says that a node takes part, as --json writes it.
type readyLine struct {
	Type      string  `json:"type"` // ready
	Bootstrap int     `json:"bootstrap_connected"`
	Wanted    int     `json:"bootstrap_wanted"`
	Members   int     `json:"members"`
	Seconds   float64 `json:"seconds"` // since the start
}

func (a *app) showReady(ctx context.Context, n *node.Node, began time.Time) {
	s, err := n.Status(ctx)
	if err != nil || a.quiet {
		return
	}
	took := time.Since(began)
	if a.json {
		_ = a.writeJSON(readyLine{"ready", s.Bootstrap.Connected, s.Bootstrap.Wanted, s.Members.Alive, took.Seconds()})
		return
	}
	switch {
	case s.Bootstrap.Wanted == 0:
	case s.Bootstrap.Connected == 0:
		a.printf("not joined yet: no bootstrap peer answers, trying on\n")
	default:
		a.printf("joined: %d of %s, %s seen (%s)\n", s.Bootstrap.Connected, count(s.Bootstrap.Wanted, "bootstrap peer"), count(s.Members.Alive, "member"), span(took))
	}
	a.printf("ready\n")
}

// memberLine is a change of a member's status, as --json writes it.
type memberLine struct {
	Type   string    `json:"type"` // member
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Phi    float64   `json:"phi"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`

	Accusers []string `json:"accusers"` // at a suspicion or death: whose accusations stand
	Timeout  float64  `json:"timeout_seconds"`
	Refuter  string   `json:"refuter"` // at the end of one: who brought the larger proof of life
}

func (a *app) showTransitions(ctx context.Context, n *node.Node) {
	self := n.Info().ID
	for t, err := range n.Replica().WatchMembers(ctx) {
		if err != nil {
			return // the node ends, or says why in its log
		}
		switch {
		case a.quiet || t.ID == self:
		case a.json:
			_ = a.writeJSON(newMemberLine(t))
		default:
			l := newMemberLine(t)
			a.printf("%s%s\n", a.transition(t.At, t.Name, l.ID, t.From, t.To, t.Phi, t.Reason), a.grounds(l.Accusers, l.Timeout, l.Refuter))
		}
	}
}

func newMemberLine(t replica.Transition) memberLine {
	l := memberLine{
		Type: "member", ID: t.ID.String(), Name: t.Name, From: t.From, To: t.To, Phi: min(t.Phi, math.MaxFloat64), Reason: t.Reason,
		At: t.At.UTC(), Accusers: []string{}, Timeout: t.Timeout.Seconds(),
	}
	for _, id := range t.Accusers {
		l.Accusers = append(l.Accusers, id.String())
	}
	if t.Refuter != "" {
		l.Refuter = t.Refuter.String()
	}
	return l
}
