package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

const (
	startsAtOnce = 8                     // guess: more only get in each other's way on a few cores
	pollCluster  = 20 * time.Millisecond // times are taken when an event is read, so this delays no figure
)

// member is one running node of a cluster.
type member interface {
	process() *os.Process
	wait()                                      // until the process has ended and its output is read
	ended() error                               // nil while the process lives
	alive(ctx context.Context) (int, error)     // how many members the node sees alive, itself included
	peers(ctx context.Context) (float64, error) // how many connections it keeps; NaN when it keeps none
}

// cluster is the nodes of one contender, n1 to nN, in one network.
type cluster struct {
	c       *contender
	net     network
	dir     string
	members []member // [i] is node i; nil: it was killed
	log     *sightings
}

// names the node with index i.
func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// startCluster starts n nodes and returns when each of them sees all. The caller stops it, also after an error.
func startCluster(ctx context.Context, c *contender, net network, dir string, n int) (*cluster, error) {
	cl := &cluster{c: c, net: net, dir: dir, members: make([]member, n), log: newSightings()}
	if err := cl.start(ctx, 0); err != nil {
		return cl, err
	}
	var g errgroup.Group
	g.SetLimit(startsAtOnce)
	for i := 1; i < n; i++ {
		g.Go(func() error { return cl.start(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		return cl, err
	}
	return cl, cl.whole(ctx)
}

// start starts node i, which joins through another one that runs. Different nodes may be started at once, but n1 first.
func (cl *cluster) start(ctx context.Context, i int) error {
	join := 0
	if i == 0 {
		join = len(cl.members) - 1
	}
	if cl.members[join] == nil || join == i {
		join = -1
	}
	m, err := cl.c.start(ctx, cl, i, join)
	if err != nil {
		return fmt.Errorf("start %s %s: %w", cl.c.name, nodeName(i), err)
	}
	cl.members[i] = m
	return nil
}

// whole returns when every node sees all that run.
func (cl *cluster) whole(ctx context.Context) error {
	tick := time.NewTicker(pollCluster)
	defer tick.Stop()
	for i := 0; i < len(cl.members); {
		if cl.members[i] == nil {
			i++
			continue
		}
		if err := cl.anyEnded(); err != nil {
			return err
		}
		n, err := cl.members[i].alive(ctx)
		if err == nil && n >= cl.c.sees(cl.running()) {
			i++
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %s sees %d of %d alive: %w", cl.c.name, nodeName(i), n, cl.running(), errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
	return nil
}

// anyEnded is an error when a node that was not killed has ended.
func (cl *cluster) anyEnded() error {
	for _, m := range cl.members {
		if m == nil {
			continue
		}
		if err := m.ended(); err != nil {
			return fmt.Errorf("%s: %w", cl.c.name, err)
		}
	}
	return nil
}

func (cl *cluster) running() int {
	n := 0
	for _, m := range cl.members {
		if m != nil {
			n++
		}
	}
	return n
}

// kill ends node i by SIGKILL and returns the time right before.
func (cl *cluster) kill(i int) (time.Time, error) {
	at := time.Now()
	if err := cl.members[i].process().Kill(); err != nil {
		return at, fmt.Errorf("kill %s %s: %w", cl.c.name, nodeName(i), err)
	}
	cl.members[i].wait()
	cl.members[i] = nil
	return at, nil
}

// stop kills whatever runs.
func (cl *cluster) stop() error {
	var errs []error
	for i, m := range cl.members {
		if m == nil {
			continue
		}
		if err := m.process().Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
			continue
		}
		m.wait()
		cl.members[i] = nil
	}
	return errors.Join(errs...)
}

// sighting is one event: observer saw subject so at that time.
type sighting struct {
	at                time.Time
	observer, subject string
	see               event.See
}

// sightings is all that the nodes of a cluster have told, in the order in which it was read. It may be used concurrently.
type sightings struct {
	mu   sync.Mutex
	all  []sighting
	seen map[string]map[string]event.See // observer -> subject -> the newest
}

func newSightings() *sightings { return &sightings{seen: map[string]map[string]event.See{}} }

// add records what observer told now.
func (s *sightings) add(observer string, e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[observer] == nil {
		s.seen[observer] = map[string]event.See{}
	}
	s.seen[observer][e.Node] = e.See
	s.all = append(s.all, sighting{at: time.Now(), observer: observer, subject: e.Node, see: e.See})
}

// forget drops what observer has told, for it starts anew.
func (s *sightings) forget(observer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, observer)
}

// alive is how many subjects observer sees alive, or only suspects.
func (s *sightings) alive(observer string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, see := range s.seen[observer] {
		if see == event.Alive || see == event.Suspect {
			n++
		}
	}
	return n
}

// since gives the sightings of that kind from a time on.
func (s *sightings) since(from time.Time, see event.See) []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []sighting
	for _, g := range s.all {
		if g.see == see && !g.at.Before(from) {
			out = append(out, g)
		}
	}
	return out
}
