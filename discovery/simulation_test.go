package discovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

func TestAStarBecomesARandomGraph(t *testing.T) {
	for _, size := range []int{40, 80} {
		for seed := range uint64(1) {
			t.Run(fmt.Sprintf("%d nodes, seed %d", size, seed), func(t *testing.T) {
				w := newWorld(t, seed)
				nodes := w.spread(size)
				for _, a := range nodes[1:] {
					w.connect(a, nodes[0])
				}
				w.run(10 * time.Minute)
				links, views, random := shapeOf(w.graph(nodes, linked)), shapeOf(w.graph(nodes, viewed)), w.uniform(size, viewSize)
				t.Logf("links %+v\nviews %+v\nrandom %+v", links, views, random)
				require.InDelta(t, random.clustering, views.clustering, 0.05*random.clustering)
				require.Less(t, views.deviation, 2*random.deviation)
				require.Greater(t, views.least, random.least/3, "nobody is hardly known")
				require.Equal(t, size, views.component)
				require.GreaterOrEqual(t, links.least, w.cfg.Target)
				require.LessOrEqual(t, links.mean, 2*float64(w.cfg.Target))
				w.kill(nodes[0])
				require.Equal(t, size-1, shapeOf(w.graph(nodes[1:], linked)).component)
				require.Less(t, shapeOf(w.graph(nodes[1:], linked)).clustering, 3*links.mean/float64(size), "a few times that of chance")
			})
		}
	}
}

func TestViewsFollowChurn(t *testing.T) {
	w := newWorld(t, 1)
	live := w.spread(50)
	for _, a := range live[1:] {
		w.connect(a, live[0])
	}
	w.run(5 * time.Minute)
	for range 30 { // every minute 3 of 50 go and 3 come: twice the network in all, the first node with the first
		for range 3 {
			w.kill(live[0])
			a := w.spread(1)[0]
			live = append(live[1:], a)
			w.connect(a, live[10+w.rng.IntN(30)])
		}
		w.run(time.Minute)
		require.Equal(t, len(live), shapeOf(w.graph(live, linked)).component)
	}
	w.run(2 * time.Minute)
	require.GreaterOrEqual(t, shapeOf(w.graph(live, linked)).least, w.cfg.Low)
	random := w.uniform(len(live), viewSize)
	views := shapeOf(w.graph(live, viewed))
	t.Logf("of %d seats the living have %.1f; %+v, random %+v", viewSize, views.mean, views, random)
	require.Greater(t, views.mean, viewSize/2.0)
	require.Less(t, views.deviation, 2*random.deviation)

	for range 13 { // in strides: nothing else happens
		w.run(time.Minute)
		w.now = w.now.Add(staleAfter / 12)
	}
	for _, a := range live {
		for _, c := range a.table.offers("", offerSize, w.now, a.link) {
			require.False(t, w.byID[c.id].dead, "nobody is told of the dead any more")
		}
	}
}

// eclipse is a network of 25, and a node that remembers one of it, while ten times as many attackers from two prefixes fill
// whatever of it they can reach: its table, its connections, its pushes, and each answer when it asks one of them. With claims
// each attacker first names an address that it does not have, in a prefix that no other names.
func eclipse(t *testing.T, seed uint64, claims bool) (w *world, victim *actor, remembered *actor) {
	w = newWorld(t, seed)
	honest := w.spread(25)
	for _, a := range honest[1:] {
		w.connect(a, honest[0])
	}
	w.run(3 * time.Minute)
	victim = w.add("99.1.0.1")
	r := &ring{victims: []*actor{victim}}
	for i := range 10 * len(honest) {
		a := w.add(fmt.Sprintf("203.%d.%d.%d", i%2, i/250, 1+i%250))
		a.evil = r
		if claims {
			a.claim = ma.StringCast(fmt.Sprintf("/ip4/%d.%d.0.1/udp/1/quic-v1", 30+i/200, i%200))
		}
		r.members = append(r.members, a)
	}
	for _, a := range r.members {
		victim.table.offer(a.info(), w.now)
	}
	remembered = honest[7]
	victim.table.restore(Remembered{Info: remembered.info(), Alive: w.now.Add(-time.Hour), Chosen: true}, w.now)
	return w, victim, remembered
}

// friends counts the honest among ids.
func (w *world) friends(a *actor, has func(*actor) []peer.ID) (honest, all int) {
	for _, id := range has(a) {
		all++
		if w.byID[id].evil == nil {
			honest++
		}
	}
	return honest, all
}

func TestAttackersFromTwoPrefixesCannotIsolateANodeThatRemembersOneHonestPeer(t *testing.T) {
	for seed := range uint64(2) {
		w, victim, _ := eclipse(t, seed, seed == 1)
		w.run(30 * time.Second)
		for minute := range 6 {
			w.run(time.Minute)
			links, of := w.friends(victim, linked)
			seats, _ := w.friends(victim, viewed)
			if minute%2 == 0 {
				t.Logf("%d min: honest are %d of %d links and %d of %d seats", minute, links, of, seats, len(victim.table.view.members))
			}
			require.NotZero(t, links, "it is isolated")
		}
		links, _ := w.friends(victim, linked)
		seats, _ := w.friends(victim, viewed)
		require.GreaterOrEqual(t, links, reserved)
		require.GreaterOrEqual(t, seats, viewSize/2)
	}
}

func TestANodeUnderAttackFindsItsHonestPeerWhenThatComesBack(t *testing.T) {
	w, victim, remembered := eclipse(t, 9, false)
	w.kill(remembered)
	w.run(3 * time.Minute)
	links, _ := w.friends(victim, linked)
	require.Zero(t, links, "there was nobody to know")
	remembered.dead = false
	w.run(8 * time.Minute)
	links, _ = w.friends(victim, linked)
	require.GreaterOrEqual(t, links, reserved)
}
