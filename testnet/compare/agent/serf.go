package main

import (
	"github.com/hashicorp/serf/serf"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// runSerf runs serf as DefaultConfig has it, which is memberlist's DefaultLANConfig below serf's own gossip.
func runSerf(o options) error {
	c := serf.DefaultConfig()
	c.NodeName = o.name
	c.LogOutput = o.log
	m := memberlistConfig(o, false)
	c.MemberlistConfig = m
	events := make(chan serf.Event, 64) // guess: serf waits for the reader, which is quick
	c.EventCh = events
	go tellSerf(o.tell, events)
	s, err := serf.Create(c)
	if err != nil {
		return err
	}
	o.joined(func(addrs []string) error {
		_, err := s.Join(addrs, true)
		return err
	})
	return nil
}

// serfSees is what serf's events mean; a member that is reaped was dead or left before.
var serfSees = map[serf.EventType]event.See{
	serf.EventMemberJoin:   event.Alive,
	serf.EventMemberFailed: event.Dead,
	serf.EventMemberLeave:  event.Left,
}

func tellSerf(tell *event.Writer, events <-chan serf.Event) {
	for e := range events {
		see, ok := serfSees[e.EventType()]
		if !ok {
			continue
		}
		for _, m := range e.(serf.MemberEvent).Members {
			must(tell.Tell(see, m.Name))
		}
	}
}
