package liveness

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// crowd is a table of n members, eight of them watched, all heard of just now.
func crowd(b *testing.B, n int, change ...func(*Config)) (*Table, []*actor) {
	table := newTable(b, change...)
	var watched []*actor
	for i := range n {
		var owner wire.ID
		binary.BigEndian.PutUint32(owner[:], uint32(i)*2654435761)
		a := newActorOf(owner, 1, wire.MaxBeats>>min(i/8, 8))
		if i < 8 {
			watched = append(watched, a)
			table.NeighbourUp(owner, epoch)
		}
		if _, err := table.Digest(a.digest, epoch, epoch); err != nil {
			b.Fatal(err)
		}
		from := owner
		if i >= 8 {
			from = id(byte(i % 64))
		}
		if outcome, _, err := table.Beat(from, a.beat(), epoch); outcome != Fresh {
			b.Fatal(outcome, err)
		}
	}
	return table, watched
}

// One Tick in which nothing happens, the usual one.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, _ := crowd(b, n)
			now := epoch.Add(100 * time.Millisecond)
			b.ReportAllocs()
			for b.Loop() {
				table.Tick(now)
			}
		})
	}
}

// A Tick that looks at every member: the next silence is due, or somebody is accused.
func BenchmarkTickLooking(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, _ := crowd(b, n)
			now := epoch.Add(100 * time.Millisecond)
			b.ReportAllocs()
			for b.Loop() {
				table.judgeAt = time.Time{}
				table.Tick(now)
			}
		})
	}
}

// A Tick among members of whom nothing was heard for long, whom others look after: the worst time after half the network
// was cut off.
func BenchmarkTickStale(b *testing.B) {
	table, _ := crowd(b, 10_000)
	self := newActor('m', 1)
	if _, err := table.Digest(self.digest, epoch, epoch); err != nil {
		b.Fatal(err)
	}
	now := epoch.Add(100 * time.Millisecond)
	for _, m := range table.order {
		m.quiet = now.Add(-4 * table.period)
		m.arrivals = nil
	}
	b.ReportAllocs()
	for b.Loop() {
		table.judgeAt = time.Time{}
		table.Tick(now)
	}
}

// A list of 64 that names the newest beats, and its withdrawal.
func BenchmarkAccuses(b *testing.B) {
	table, _ := crowd(b, 1000)
	var list []Accusation
	for _, m := range table.order[100 : 100+MaxAccusations] {
		list = append(list, Accusation{Owner: m.owner, Last: m.proof(), Preimage: m.newest()})
	}
	by := table.order[0].owner
	b.ReportAllocs()
	for b.Loop() {
		table.Accuses(by, list, epoch)
		table.Accuses(by, nil, epoch)
	}
}

func BenchmarkRelayTo(b *testing.B) {
	table, watched := crowd(b, 10_000)
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(interval)
		for _, a := range watched {
			table.RelayTo(a.id(), now)
		}
	}
}

// One beat from a neighbour: found by its name, checked, noted.
func BenchmarkBeat(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, watched := crowd(b, n)
			a, now := watched[0], epoch
			b.ReportAllocs()
			for b.Loop() {
				if a.next > a.chain.Length() {
					b.StopTimer()
					a.anchor(wire.MaxBeats)
					if _, err := table.Digest(a.digest, now, now); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				now = now.Add(10 * time.Millisecond)
				if outcome, _, _ := table.Beat(a.id(), a.beat(), now); outcome != Fresh {
					b.Fatal(outcome)
				}
			}
		})
	}
}

func BenchmarkMembers(b *testing.B) {
	table, _ := crowd(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		table.Members(epoch)
	}
}
