package discovery

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// world is a network of tables alone, in steps of one second: no host, no stream, no goroutine. One seed decides it.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	cfg   Config
	nodes []*actor
	byID  map[peer.ID]*actor
}

// actor is one node of a world.
type actor struct {
	world *world
	id    peer.ID
	addr  ma.Multiaddr
	claim ma.Multiaddr // an address that is not its own, named before addr; nil: none
	table *candidates
	links map[peer.ID]link
	since map[peer.ID]time.Time // of links
	next  time.Time             // exchange
	dead  bool
	evil  *ring // nil: it is honest
}

// ring is what attackers work together for.
type ring struct {
	members []*actor
	victims []*actor
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Logf("seed %d", seed)
	cfg := DefaultConfig()
	cfg.Network = "test"
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: epoch, cfg: cfg, byID: map[peer.ID]*actor{}}
}

// add makes a node at an IPv4 address.
func (w *world) add(ip string) *actor {
	a := &actor{
		world: w, id: peer.ID(fmt.Sprintf("%016x", w.rng.Uint64())), addr: ma.StringCast("/ip4/" + ip + "/udp/1/quic-v1"),
		links: map[peer.ID]link{}, since: map[peer.ID]time.Time{}, next: w.now.Add(w.span(10 * time.Second)),
	}
	a.table = newCandidates(a.id, w.cfg, rand.New(rand.NewPCG(w.rng.Uint64(), 2)))
	w.nodes = append(w.nodes, a)
	w.byID[a.id] = a
	return a
}

// spread makes n nodes, each in a prefix of its own.
func (w *world) spread(n int) []*actor {
	var all []*actor
	for range n {
		i := len(w.nodes)
		all = append(all, w.add(fmt.Sprintf("%d.%d.0.1", 11+i/200, i%200)))
	}
	return all
}

func (w *world) span(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (a *actor) addrs() []ma.Multiaddr {
	if a.claim != nil {
		return []ma.Multiaddr{a.claim, a.addr}
	}
	return []ma.Multiaddr{a.addr}
}

func (a *actor) info() peer.AddrInfo { return peer.AddrInfo{ID: a.id, Addrs: a.addrs()} }

func (a *actor) link(id peer.ID) link { return a.links[id] }

func (a *actor) record() signedRecord {
	return signedRecord{bytes: []byte(a.id), id: a.id, seq: 1, addrs: a.addrs()}
}

// connect has a dial b, and reports whether that worked.
func (w *world) connect(a, b *actor) bool {
	if b.dead || a.dead || a == b {
		return false
	}
	if a.links[b.id] == apart {
		a.links[b.id], b.links[a.id] = outbound, inbound
		a.since[b.id], b.since[a.id] = w.now, w.now
	}
	a.meet(b)
	b.meet(a)
	b.trim()
	a.trim()
	return a.links[b.id] != apart
}

// meet is identify: it brings the signed record.
func (a *actor) meet(b *actor) {
	a.table.met(b.id, groupOf(b.addr), a.world.now)
	a.table.sign(b.record(), a.world.now)
}

// trim is the connection manager: over 64 connections only 16 stay, with those of this node's own choice and those that are
// younger than its period of grace.
func (a *actor) trim() {
	if len(a.links) <= 64 {
		return
	}
	var ids []peer.ID
	for id := range a.links {
		if c := a.table.byPeer[id]; (c == nil || !c.chosen) && a.world.now.Sub(a.since[id]) > time.Minute {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	a.world.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids {
		if len(a.links) > 16 {
			a.world.cut(a, a.world.byID[id])
		}
	}
}

func (w *world) cut(a, b *actor) {
	delete(a.links, b.id)
	delete(b.links, a.id)
	if !a.dead {
		a.table.lost(b.info(), w.now)
	}
	if !b.dead {
		b.table.lost(a.info(), w.now)
	}
}

// kill ends a.
func (w *world) kill(a *actor) {
	a.dead = true
	for _, b := range w.nodes {
		if a.links[b.id] != apart {
			w.cut(a, b)
		}
	}
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		for _, i := range w.rng.Perm(len(w.nodes)) {
			switch a := w.nodes[i]; {
			case a.dead:
			case a.evil != nil:
				a.attack()
			default:
				a.act()
			}
		}
	}
}

// act is what the connector does.
func (a *actor) act() {
	w := a.world
	if w.rng.IntN(10) == 0 {
		a.trim()
	}
	a.dial(a.table.choose(w.cfg.Target-len(a.links), w.now, a.link))
	if w.rng.IntN(22) == 0 {
		a.dial(a.table.mend(w.now, a.link))
	}
	if w.now.Before(a.next) {
		return
	}
	pause := w.cfg.ExchangeInterval
	if len(a.links) < w.cfg.Low {
		pause = 5 * time.Second
	}
	a.next = w.now.Add(pause/2 + w.span(pause/2))
	if partner := a.table.partner(a.link, func(peer.ID) bool { return true }); partner != "" {
		a.exchange(w.byID[partner])
	}
}

func (a *actor) dial(infos []peer.AddrInfo) {
	for _, info := range infos {
		b := a.world.byID[info.ID]
		ok := b != nil && ma.Contains(info.Addrs, b.addr) && a.world.connect(a, b)
		a.table.dialed(info.ID, ok, ok, a.world.now)
	}
}

// exchange is what ask and answer do, without the stream between them.
func (a *actor) exchange(b *actor) {
	offered := b.answer(a)
	entries := make([]entry, len(offered))
	for i, o := range offered {
		entries[i] = entry{key: keyOf(o.id), seq: o.seq, age: a.world.now.Sub(o.heard)}
	}
	wanted := a.table.wanted(entries)
	for i, o := range offered {
		if wanted.has(i) {
			a.table.sign(signedRecord{bytes: o.record, id: o.id, seq: o.seq, addrs: o.signed}, a.world.now)
		}
	}
	a.table.answered(entries, a.world.now)
	a.table.view.turn()
}

func (a *actor) answer(asker *actor) []*candidate {
	now := a.world.now
	if a.evil != nil {
		var lies []*candidate
		for _, i := range a.world.rng.Perm(len(a.evil.members))[:min(offerSize, len(a.evil.members))] {
			m := a.evil.members[i]
			lies = append(lies, &candidate{id: m.id, seq: 1, record: []byte(m.id), signed: m.info().Addrs, heard: now})
		}
		return lies
	}
	a.table.near(now, a.link)
	c := a.table.met(asker.id, groupOf(asker.addr), now)
	if !c.serve(now) {
		return nil
	}
	a.table.pushed(c)
	return a.table.offers(asker.id, offerSize, now, a.link)
}

// attack pushes itself to all victims as often as they let it, and keeps a connection to each.
func (a *actor) attack() {
	if a.world.rng.IntN(40) > 0 {
		return
	}
	for _, v := range a.evil.victims {
		if a.links[v.id] == apart && !a.world.connect(a, v) {
			continue
		}
		v.answer(a)
		v.table.offer(a.evil.members[a.world.rng.IntN(len(a.evil.members))].info(), a.world.now) // as a DHT would
	}
}

// graph is who has whom, by index of the nodes that live.
func (w *world) graph(nodes []*actor, has func(a *actor) []peer.ID) [][]int {
	index := map[peer.ID]int{}
	for i, a := range nodes {
		index[a.id] = i
	}
	out := make([][]int, len(nodes))
	for i, a := range nodes {
		for _, id := range has(a) {
			if j, ok := index[id]; ok {
				out[i] = append(out[i], j)
			}
		}
	}
	return out
}

func linked(a *actor) []peer.ID {
	var ids []peer.ID
	for id := range a.links {
		ids = append(ids, id)
	}
	return ids
}

func viewed(a *actor) []peer.ID {
	var ids []peer.ID
	for _, s := range a.table.view.members {
		ids = append(ids, s.id)
	}
	return ids
}

// shape sums a graph up: the spread of in-degrees, the largest, the clustering coefficient and the size of the largest
// component, the latter two of the graph without directions.
type shape struct {
	mean, deviation, clustering float64
	least, most, component      int
}

func shapeOf(out [][]int) shape {
	n := len(out)
	in := make([]int, n)
	either := make([]map[int]bool, n)
	for i := range either {
		either[i] = map[int]bool{}
	}
	for i, js := range out {
		for _, j := range js {
			in[j]++
			either[i][j], either[j][i] = true, true
		}
	}
	s := shape{least: slices.Min(in), most: slices.Max(in)}
	for _, d := range in {
		s.mean += float64(d) / float64(n)
	}
	for _, d := range in {
		s.deviation += (float64(d) - s.mean) * (float64(d) - s.mean) / float64(n)
	}
	s.deviation = math.Sqrt(s.deviation)
	closed, triples := 0, 0
	for i := range n {
		for j := range either[i] {
			for k := range either[i] {
				if j < k {
					triples++
					if either[j][k] {
						closed++
					}
				}
			}
		}
	}
	s.clustering = float64(closed) / float64(max(1, triples))
	seen := make([]bool, n)
	for start := range n {
		size := 0
		for queue := []int{start}; len(queue) > 0; queue = queue[1:] {
			if seen[queue[0]] {
				continue
			}
			seen[queue[0]] = true
			size++
			for j := range either[queue[0]] {
				queue = append(queue, j)
			}
		}
		s.component = max(s.component, size)
	}
	return s
}

// uniform is the shape of a graph in which each of n nodes has k others, each as likely.
func (w *world) uniform(n, k int) shape {
	out := make([][]int, n)
	for i := range out {
		for _, j := range w.rng.Perm(n) {
			if j != i && len(out[i]) < k {
				out[i] = append(out[i], j)
			}
		}
	}
	return shapeOf(out)
}
