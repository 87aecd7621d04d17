package liveness

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// crowd is a table of n members, eight of them watched, all heard of just now.
func crowd(b *testing.B, n int) (*Table, []*actor) {
	table := newTable(b)
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
