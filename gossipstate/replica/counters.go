package replica

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Count is one counter of a replica: how often Name happened with Label.
type Count struct {
	Name  string // one of the Count* names
	Label string // the reason or result; a fixed set
	N     uint64
}

// Names of counters, with the labels they take.
const (
	CountWrites      = "writes"       // own writes: applied, refused
	CountApplied     = "applied"      // updates of peers: rumor, sync, beat, import
	CountDropped     = "dropped"      // updates of peers not applied: stale, gap, malformed, too_large, bad_signature, ...
	CountSync        = "sync"         // sync sessions: equal, repaired, failed, faulty, refused, served
	CountSyncBytes   = "sync_bytes"   // bytes on sync streams: in, out
	CountPull        = "pull"         // pulls after a gap: ok, failed; not begun: refused, flagged
	CountBeat        = "beat"         // beats received: fresh, stale, unknown_anchor, over_budget, forged; streams: refused, malformed
	CountBeatBytes   = "beat_bytes"   // bytes on beat streams: in, out
	CountAccusation  = "accusation"   // own: published lists, digests that refuted, failed writes; of others: malformed, early, ...
	CountProbe       = "probe"        // members looked after: dials reached, port_refused, ...; neighbours asked; refused: over_rate, ...
	CountPublish     = "publish"      // rumors published: ok, failed
	CountLagged      = "lagged"       // events not delivered to slow watchers: state, members
	CountTransition  = "transition"   // members that became alive, suspect, dead, left
	CountStoreFailed = "store_failed" // writes to disk that failed: own, others

	CountEquivocation = "equivocation"      // owners that signed two histories: proved; evicted, of which the proof had to go
	CountForget       = "forget"            // owners: forgotten, evicted, expired, returned, dormant, woken; this node: told, ...
	CountIdentity     = "identity_conflict" // this identity signed elsewhere: moved above it, stopped, refused to start
)

// counters is safe for concurrent use. Names and labels are constants of this package, so it is bounded.
type counters struct {
	mu sync.Mutex
	n  map[countKey]uint64
}

type countKey struct{ name, label string }

func (c *counters) add(name, label string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[countKey]uint64{}
	}
	c.n[countKey{name, label}] += n
}

// set is for what is counted elsewhere. 0 leaves no counter behind.
func (c *counters) set(name, label string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 && c.n != nil {
		c.n[countKey{name, label}] = n
	}
}

func (c *counters) one(name, label string) { c.add(name, label, 1) }

// snapshot is sorted by name, then label.
func (c *counters) snapshot() []Count {
	c.mu.Lock()
	n := maps.Clone(c.n)
	c.mu.Unlock()
	counts := make([]Count, 0, len(n))
	for k, v := range n {
		counts = append(counts, Count{Name: k.name, Label: k.label, N: v})
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Label, b.Label))
	})
	return counts
}
