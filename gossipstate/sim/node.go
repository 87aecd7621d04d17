package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// node is one identity with its disk. It runs as a process, or is down.
type node struct {
	index    int
	follows  bool // it only reads
	id       wire.ID
	key      ed25519.PrivateKey
	edges    []*edge
	proc     *process      // nil: down
	starts   uint64        // processes so far
	ahead    time.Duration // of its wall clock before the true time
	frozen   time.Duration // no event of its process before it
	host     host          // what answers at its address while no process of it runs
	since    time.Duration // when it was last started or thawed
	disk     disk
	said     history // what it signed, by topic
	lost     bool    // it has lost its store once: what it says may fork
	slanders bool    // it accuses everybody
	replays  bool    // it passes old beats on
	Counters
}

func newNode(s *Sim, index int, follows bool) *node {
	var name [16]byte
	binary.BigEndian.PutUint64(name[:], s.cfg.Seed)
	binary.BigEndian.PutUint64(name[8:], uint64(index))
	seed := sha256.Sum256(name[:])
	key := ed25519.NewKeyFromSeed(seed[:])
	return &node{index: index, follows: follows, key: key, id: wire.ID(key.Public().(ed25519.PublicKey)), said: newHistory()}
}

func (n *node) sign(message []byte) []byte { return ed25519.Sign(n.key, message) }

// host is the machine of a node.
type host uint8

const (
	hostUp       host = iota // where no process runs, its port refuses
	hostGone                 // nothing answers
	hostAnothers             // a process under another key answers
)

// wall is what the node's wall clock shows at now. What measures time does not use it: that clock is steady.
func (n *node) wall(now time.Time) time.Time { return now.Add(n.ahead) }

func (n *node) isFrozen() bool { return n.proc != nil && n.frozen > n.proc.s.clock }

// disk is what a node finds again when it starts.
type disk struct {
	generation wire.Generation // the largest taken
	copies     []stored
	quarantine []gossipstate.Forgotten
}

// stored is the copy of one owner on one topic.
type stored struct {
	topic  int
	heard  time.Time
	update wire.Update // a snapshot
}

// The topics of a process, in the order in which they are synced.
const (
	members = iota
	mainTopic
	topics
)

var topicNames = [topics]string{wire.Members, Main}

// process is one run of a node: what package replica calls its table.
type process struct {
	s     *Sim
	node  *node
	rng   *rand.Rand
	topic [topics]*topic
	live  *liveness.Table
	links []*link // by the node's edges; nil: not connected
	pulls []*pull
	me    identity

	sessions     []*session
	syncsStarted int       // of ours that run, pulls not counted
	syncBegan    time.Time // the newest of them
	syncsServed  int       // of others that run
	pullsRunning int

	quarantine gossipstate.Quarantine // owners that were forgotten

	dials        []*dialing // that run or have just ended, in the order in which they began
	dialsRunning int
	dialsAsked   int  // for neighbours
	stirred      bool // the failure detector was told something: see react
	nextAccuse   time.Time
	spareAt      time.Time   // when a beat stream is given up, if there are still too many; zero: there are not
	slandered    int         // members, so far
	old          []wire.Beat // beats that came, to replay

	synced        bool // one sync ended well
	leaving       *leaving
	nextBackstop  time.Time
	nextHousework time.Time
}

// topic is one state topic of a process.
type topic struct {
	index     int
	domain    wire.Domain
	state     *gossipstate.State
	published wire.Version            // newest own version that went out as a rumor
	waking    bool                    // a publication is due
	quiet     time.Time               // none before it
	rates     map[wire.ID]*bucket     // nil: none is short of tokens
	seen      bitset                  // rumors, by their numbers
	newest    map[wire.ID]wire.Digest // of owners with a gap: the newest digest seen
	held      []moment                // by node: what state is known to hold, to check it
	items     *reconcile.Items        // of what state holds: the set that is reconciled
	sum       uint64                  // of what is held, to compare nodes at no cost
}

const houseworkEvery = time.Second

// start starts n. It must be down.
func (s *Sim) start(n *node) {
	n.starts++
	n.since = s.clock
	live, err := liveness.New(s.cfg.Liveness, n.id, s.now())
	if err != nil {
		panic("sim: the configuration was checked: " + err.Error())
	}
	p := &process{
		s: s, node: n, rng: rand.New(rand.NewPCG(s.cfg.Seed, uint64(n.index)<<32|n.starts)), live: live,
		links: make([]*link, len(n.edges)),
	}
	for i, name := range topicNames {
		domain := wire.Domain{Network: Network, Topic: name}
		p.topic[i] = &topic{
			index: i, domain: domain, state: gossipstate.New(gossipstate.DefaultConfig(domain)),
			items: reconcile.NewItems(p.rng), newest: map[wire.ID]wire.Digest{},
		}
	}
	n.proc = p
	p.load()
	for _, e := range n.edges {
		e.dial(0)
	}
	s.after(time.Duration(p.rng.Int64N(int64(s.cfg.Tick))), p, p.tick)
	s.after(s.cfg.FirstSync, p, p.publishSelf)
}

// load takes this process's generation and fills the topics with what is on disk.
func (p *process) load() {
	d := &p.node.disk
	now := p.s.now()
	d.generation = max(d.generation+1, wire.Generation(uint64(p.node.wall(now).Unix())<<16|uint64(p.rng.Uint32N(1<<16))))
	p.me.generation = d.generation
	for _, f := range d.quarantine {
		p.quarantine.Add(f)
	}
	for i := range d.copies {
		c := &d.copies[i]
		t := p.topic[c.topic]
		v, err := p.s.verifyStored(t, &c.update)
		if err != nil {
			p.s.fail("node %d: its own disk does not verify: %v", p.node.index, err)
			return
		}
		result, err := t.state.Apply(v, p.node.id, now)
		p.checkApplied(t, v, &result, err)
		if err != nil || result.Outcome != gossipstate.Applied {
			p.s.fail("node %d: a stored copy of %s was not taken: %s, %v", p.node.index, v.Update().Digest.Owner, result.Outcome, err)
			return
		}
		t.list(&wire.Digest{}, &v.Update().Digest)
		t.heldOf(p.s.byID[v.Update().Digest.Owner]).stored = true
		if c.topic == members {
			p.tellLiveness(&v.Update().Digest, c.heard, now)
		}
	}
	d.copies, d.quarantine = nil, nil
}

// stop ends the process. Killed, it loses what it learnt of others in its last second; in good order it writes that too.
func (p *process) stop(orderly bool) {
	p.store(orderly)
	p.node.proc = nil
	for _, e := range p.node.edges {
		if e.conn != nil && e.conn.procs[e.side(p.node)] == p {
			e.conn.gone(e.side(p.node), orderly)
		}
	}
}

func (p *process) running() bool { return p != nil && p.node.proc == p }

// store makes the disk what the process held. Own copies are written before anybody sees them.
func (p *process) store(all bool) {
	p.node.disk.copies, p.node.disk.quarantine = nil, p.quarantine.All()
	for i, t := range p.topic {
		for _, item := range t.state.Items() {
			held := t.heldOf(p.s.byID[item.Owner])
			recent := !held.stored && p.s.clock-held.since < houseworkEvery
			if item.Owner != p.node.id && recent && !all {
				continue
			}
			updates := t.state.Updates(wire.Want{Owner: item.Owner}, 2*wire.MaxBytes+wire.MaxEntries*wire.MaxMeta)
			heard := p.live.Heard(item.Owner)
			if heard.IsZero() {
				heard = p.s.now().Add(-p.s.cfg.Liveness.ForgetAfter / 2)
			}
			p.node.disk.copies = append(p.node.disk.copies, stored{topic: i, heard: heard, update: updates[0]})
		}
	}
}

// tick is what the process looks after all the time.
func (p *process) tick() {
	now := p.s.now()
	p.s.after(p.s.cfg.Tick, p, p.tick)
	if !p.node.follows {
		p.transitions(p.live.Tick(now))
	}
	p.duePulls(now)
	p.dueSyncs(now)
	p.openBeats(now)
	p.spareBeats(now)
	p.knockLate(now)
	p.overdueDials(now)
	p.timeouts(now)
	if now.After(p.nextHousework) {
		p.nextHousework = now.Add(houseworkEvery)
		p.housework(now)
	}
}

// housework is what may wait a second.
func (p *process) housework(now time.Time) {
	for _, t := range p.topic {
		p.expire(t, now)
		for owner, b := range t.rates {
			if b.full(now) {
				delete(t.rates, owner)
			}
		}
		if len(t.rates) == 0 {
			t.rates = nil // a map keeps the room for all that it ever held
		}
	}
	for _, owner := range p.live.ForgetCandidates(now) {
		p.forget(owner, now)
	}
	p.quarantine.Expire(now)
}

// forget drops an owner from every topic, and remembers at which point: a peer that remembers longer does not bring it back.
func (p *process) forget(owner wire.ID, now time.Time) {
	if d, _, held := p.topic[members].state.Digest(owner); held {
		f := gossipstate.Forgotten{Owner: owner, Generation: d.Generation, Version: d.Version, Since: now}
		if proof, known := p.live.Proof(owner); known && proof.Generation == f.Generation && proof.Version == f.Version {
			f.Beat = proof.Index
		}
		p.quarantine.Add(f)
	}
	for _, t := range p.topic {
		if d, _, held := t.state.Digest(owner); held {
			t.state.Drop(owner)
			*t.heldOf(p.s.byID[owner]) = moment{}
			t.unlist(&d)
		}
	}
	p.live.Forget(owner)
}

// refuses says whether a digest is of an owner that was forgotten and proves no later life than it had then: here, or, by
// its age, everywhere.
func (p *process) refuses(t *topic, d *wire.Digest, age time.Duration) bool {
	_, quarantined := p.quarantine.Get(d.Owner)
	if quarantined && (t.index != members || p.quarantine.Refuses(d)) {
		return true
	}
	_, _, held := t.state.Digest(d.Owner)
	return !held && age > p.s.cfg.Liveness.ForgetAfter
}

// bucket is a token bucket: burst tokens, refilled at rate a second.
type bucket struct {
	tokens, rate, burst float64
	last                time.Time
}

func newBucket(rate, burst float64, now time.Time) *bucket {
	return &bucket{tokens: burst, rate: rate, burst: burst, last: now}
}

func (b *bucket) refill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+b.rate*max(0, now.Sub(b.last).Seconds()))
	b.last = now
}

func (b *bucket) take(now time.Time) bool {
	b.refill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) full(now time.Time) bool {
	b.refill(now)
	return b.tokens >= b.burst
}

// bitset is a set of small numbers.
type bitset []uint64

// add puts i in and says whether it was not there.
func (b *bitset) add(i int) bool {
	for len(*b) <= i/64 {
		*b = append(*b, 0)
	}
	word, bit := &(*b)[i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
