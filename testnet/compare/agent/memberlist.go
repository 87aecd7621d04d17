package main

import (
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// memberlistConfig is DefaultLANConfig or, if fast, that with the clocks of a cluster that wants to know of a crash within
// 1.1 to 1.6 s, the range published for such a profile.
func memberlistConfig(o options, fast bool) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = o.name
	c.BindAddr, c.BindPort = o.bind.Addr().String(), int(o.bind.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.LogOutput = o.log
	if fast {
		// A probe in 200 ms reaches each member about once in an interval, whatever the size; with 32 members a suspicion
		// then lasts 3 x log10(32) x 200 ms = 0.9 s once one other member has confirmed it.
		c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
		c.SuspicionMult = 3
		c.GossipInterval = 100 * time.Millisecond
	}
	return c
}

func runMemberlist(o options, fast bool) error {
	c := memberlistConfig(o, fast)
	c.Events = memberlistEvents{o.tell}
	m, err := memberlist.Create(c)
	if err != nil {
		return err
	}
	o.joined(func(addrs []string) error {
		_, err := m.Join(addrs)
		return err
	})
	return nil
}

// memberlistEvents reports deaths. memberlist calls NotifyLeave for a node that left too, but no node of the comparison ever
// leaves.
type memberlistEvents struct{ tell *event.Writer }

func (e memberlistEvents) NotifyJoin(n *memberlist.Node)   { must(e.tell.Tell(event.Alive, n.Name)) }
func (e memberlistEvents) NotifyLeave(n *memberlist.Node)  { must(e.tell.Tell(event.Dead, n.Name)) }
func (e memberlistEvents) NotifyUpdate(n *memberlist.Node) {}
