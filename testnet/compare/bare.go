package main

import (
	"context"
	"os/exec"
	"sync"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// ringDegree is the even number of connections that each of n nodes has when it is connected to the nearest ones of a ring.
func ringDegree(n, degree int) int { return max(0, min(degree, n-1)/2*2) }

// bareNode is a node of libp2p alone.
type bareNode struct{ *child }

// peers are all that the node told of but itself.
func (b bareNode) peers(context.Context) (float64, error) {
	return float64(b.log.alive(b.name) - 1), nil
}

// bare starts nodes of libp2p alone in a ring in which each is connected to the nearest ones on both sides.
func bare(binary string, degree *int) starter {
	var mu sync.Mutex
	rings := map[*cluster]*ring{}
	return func(ctx context.Context, cl *cluster, i, _ int) (member, error) {
		at := cl.net.place(i)
		listen := tcpAddress(at) + "," + quicAddress(at)
		id := make(chan string, 1)
		told := false
		c, write, err := tellingChild(cl, i, exec.Command(binary, "-listen", listen), func(e event.Event) {
			if !told {
				id <- e.Node
				told = true
			}
		})
		if err != nil {
			return nil, err
		}
		mu.Lock()
		r := rings[cl]
		if r == nil {
			r = newRing(len(cl.members), *degree)
			rings[cl] = r
		}
		mu.Unlock()
		select {
		case self := <-id:
			return bareNode{c}, r.add(i, quicAddress(at)+"/p2p/"+self, write)
		case <-c.read:
			return nil, c.ended()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ring connects nodes as they come.
type ring struct {
	mu     sync.Mutex
	degree int
	addrs  []string
	dial   []func(string) error
}

func newRing(n, degree int) *ring {
	return &ring{degree: ringDegree(n, degree), addrs: make([]string, n), dial: make([]func(string) error, n)}
}

// add enters node i and connects it to those of its neighbours that are there; the others connect when they come.
func (r *ring) add(i int, addr string, dial func(string) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs[i], r.dial[i] = addr, dial
	n := len(r.addrs)
	for step := 1; step <= r.degree/2; step++ {
		for _, j := range []int{(i + step) % n, (i - step + n) % n} {
			if r.addrs[j] == "" {
				continue
			}
			if err := dial(r.addrs[j]); err != nil {
				return err
			}
		}
	}
	return nil
}
