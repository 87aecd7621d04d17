// Package sim runs whole networks of the pure core in virtual time: the rules of package replica with messages as values,
// without libp2p, goroutines or clocks. One seed decides everything, bit for bit: the overlay, latencies, what is lost,
// repeated and broken off. The first invariant that does not hold ends the run with a [Violation], which names the seed.
//
// After every event that changes, or should not change, a copy of an owner, that copy is checked against everything its owner
// ever signed, and that it did not go back; after every write, the namespace against the operations that made it; after every
// change of a member's status, that nobody is called dead who runs and is connected. Other copies cannot have changed: a check
// of all of them after every event would say nothing more. What concerns whole states, that equal nodes count the same and
// have nothing to say to each other, is checked by CheckConverged.
//
//	Sim --- queue of events in virtual time, ordered by (time, sequence)
//	 ├── overlay: a random D-regular graph; each edge has its own latency
//	 │    └── connection ── streams (ordered, what is lost is sent again): syncs and beats
//	 │                  └─ rumors (each on its own: lost, repeated, reordered)
//	 └── node: identity, disk, counters
//	      └── process, while it runs: gossipstate.State per topic, liveness.Table, links, pulls
//
// What is as in package replica: flood of rumors, gap and pull, reconciliation by sketches, parts with cursors, forgetting with
// quarantine, syncs on connect, by fingerprint, as backstop and, of followers, by polling, which wait for one another; beats
// between neighbours with relayed ones, accusations, probes, dials and knocks, refutations, first sync at start, restart with
// kept or lost store, leaving. What is simpler: every node can be dialled by every other, and where no process runs the port
// refuses, unless the whole machine is gone; every link is in the gossip mesh and there is no lazy IHAVE; the network is the
// overlay, and a lost link is dialled again;
// sizes are those of the wire's own encoding, without the headers of pubsub, streams and transports; bandwidth is endless
// and handling a message takes no time. There are no byte budgets of syncs, no dormant copies, and no beats that lift a
// quarantine; followers forget nobody.
//
// Signatures are made and checked for real. With Config.VerifyOnce each distinct message is decoded and verified once for
// all nodes, which changes nothing but the time it takes.
package sim
