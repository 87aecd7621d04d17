package replica

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// disk tracks what of other owners' copies is not on disk yet. This node's own copy is written before anybody sees it;
// those of others are signed and can be fetched again, so they follow about every second.
type disk struct {
	changed map[diskKey]*diskChange
	batches chan []store.Write // to the goroutine that writes; holds one
}

type diskKey struct {
	topic string
	owner gossipstate.ID
}

// diskChange is what differs between the stored copy of one owner and the one in the table.
type diskChange struct {
	reset bool
	keys  map[string]bool
}

func newDisk() disk {
	return disk{changed: map[diskKey]*diskChange{}, batches: make(chan []store.Write, 1)}
}

func (d *disk) dirty(topic string, owner gossipstate.ID) *diskChange {
	key := diskKey{topic, owner}
	c := d.changed[key]
	if c == nil {
		c = &diskChange{keys: map[string]bool{}}
		d.changed[key] = c
	}
	return c
}

func (c *diskChange) change(result *gossipstate.Result) {
	c.reset = c.reset || result.Reset
	for _, e := range result.Changed {
		c.keys[e.Key] = true
	}
	for _, key := range result.Removed {
		c.keys[key] = true
	}
}

// all marks the whole copy, or its absence.
func (c *diskChange) all() { c.reset = true }

// load fills the table with what is on disk and takes this process's generation. Copies that do not verify are left out and
// said.
func (t *table) load() error {
	if t.r.cfg.Store == nil {
		t.me.generation = gossipstate.Generation(uint64(time.Now().Unix())<<16 | uint64(rand.Uint32N(1<<16)))
		return nil
	}
	var err error
	if t.me.generation, err = t.r.cfg.Store.NextGeneration(time.Now(), uint16(rand.Uint32N(1<<16))); err != nil {
		return fmt.Errorf("taking a generation: %w", err)
	}
	for _, name := range t.r.topics {
		tt := t.topics[name]
		if err := t.r.cfg.Store.Load(name, func(c store.Copy) error { return t.restore(tt, &c) }); err != nil {
			return fmt.Errorf("loading topic %q: %w", name, err)
		}
	}
	return nil
}

// restore verifies one stored copy as if a peer had sent it, and takes it in.
func (t *table) restore(tt *topicTable, c *store.Copy) error {
	now := time.Now()
	if c.Owner != t.r.self && !c.LastLife.IsZero() && now.Sub(c.LastLife) > t.r.cfg.Liveness.ForgetAfter {
		t.disk.dirty(tt.name, c.Owner).all() // nobody has heard of it for so long: it is forgotten
		return nil
	}
	err := errors.Join(damage(c)...)
	if err == nil {
		err = t.takeStored(tt, c, now)
	}
	if err != nil {
		t.r.log.Warn("a stored copy is damaged and left out; it will be fetched again", "topic", tt.name, "owner", c.Owner, "error", err)
		t.r.counters.one(CountDropped, "stored_damaged")
		t.disk.dirty(tt.name, c.Owner).all() // what is on disk is not what later changes are against
	}
	return nil
}

func damage(c *store.Copy) []error {
	var errs []error
	for _, d := range c.Damaged {
		errs = append(errs, d)
	}
	return errs
}

func (t *table) takeStored(tt *topicTable, c *store.Copy, now time.Time) error {
	digest, err := wire.UnmarshalDigest(c.Signed.Digest)
	if err != nil {
		return err
	}
	entries := c.Entries
	slices.SortFunc(entries, func(a, b wire.Entry) int { return a.Compare(&b) })
	v, err := wire.Verify(tt.domain, wire.Update{Signed: c.Signed, Digest: digest, Entries: entries})
	if err != nil {
		return err
	}
	if _, err := tt.state.Apply(&v, t.r.self, now); err != nil {
		return err
	}
	if tt.name != wire.Members {
		return nil
	}
	heard := c.LastLife
	if heard.IsZero() {
		heard = now.Add(-t.r.cfg.Liveness.ForgetAfter / 2)
	}
	transitions, err := t.live.Digest(digest, heard, now)
	t.transitions(transitions)
	return err
}

// storeOwn puts a prepared change of this node's own namespace on disk.
func (t *table) storeOwn(tt *topicTable, p *gossipstate.Pending, now time.Time) error {
	if t.r.cfg.Store == nil {
		return nil
	}
	w := store.Write{
		Topic: tt.name, Owner: t.r.self, Signed: p.Signed(), LastLife: now, Put: p.Changed(), Delete: p.Removed(),
	}
	key := diskKey{tt.name, t.r.self}
	if t.disk.changed[key] != nil { // own copy adopted from a peer: what is on disk is not what the change is against
		w.Reset, w.Put, w.Delete = true, p.Entries(), nil
	}
	if err := t.r.cfg.Store.Commit([]store.Write{w}); err != nil {
		return err
	}
	delete(t.disk.changed, key)
	return nil
}

// raiseGeneration takes a generation above another's digest of this identity.
func (t *table) raiseGeneration(above gossipstate.Generation) error {
	if above == math.MaxUint64 {
		return store.ErrGenerationExhausted
	}
	if t.r.cfg.Store == nil {
		t.me.generation = max(t.me.generation, above+1)
		return nil
	}
	if above < t.me.generation {
		return nil
	}
	g, err := t.r.cfg.Store.NextGenerationAbove(above)
	if err != nil {
		return fmt.Errorf("taking a generation above %d: %w", above, err)
	}
	t.me.generation = g
	return nil
}

// flush hands what changed of others to the goroutine that writes, unless it is still busy with the last batch.
func (t *table) flush() {
	if t.r.cfg.Store == nil || len(t.disk.changed) == 0 || len(t.disk.batches) > 0 {
		return
	}
	t.disk.batches <- t.batch()
}

// batch takes every change as a write. Own copies stay: storeOwn writes them.
func (t *table) batch() []store.Write {
	heard := t.lastHeard()
	var batch []store.Write
	for key, c := range t.disk.changed {
		if key.owner == t.r.self {
			continue
		}
		delete(t.disk.changed, key)
		batch = append(batch, t.topics[key.topic].write(key.owner, c, heard[key.owner]))
	}
	return batch
}

func (t *table) lastHeard() map[gossipstate.ID]time.Time {
	heard := map[gossipstate.ID]time.Time{}
	for _, m := range t.live.Members(time.Now()) {
		heard[m.Owner] = m.Heard
	}
	return heard
}

func (tt *topicTable) write(owner gossipstate.ID, c *diskChange, heard time.Time) store.Write {
	_, signed, held := tt.state.Digest(owner)
	if !held {
		return store.Write{Topic: tt.name, Owner: owner, Drop: true}
	}
	w := store.Write{Topic: tt.name, Owner: owner, Signed: signed, LastLife: heard, Reset: c.reset}
	if c.reset {
		for _, rec := range tt.state.ListOwned(owner, "") {
			w.Put = append(w.Put, *rec.Entry)
		}
		return w
	}
	for key := range c.keys {
		if rec := tt.state.GetOwned(owner, key); rec.Entry != nil {
			w.Put = append(w.Put, *rec.Entry)
		} else {
			w.Delete = append(w.Delete, key)
		}
	}
	return w
}

// persist writes batches until Run ends. One that fails is marked dirty again.
func (t *table) persist(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-t.disk.batches:
			err := t.r.cfg.Store.Commit(batch)
			if err == nil {
				continue
			}
			t.r.counters.one(CountStoreFailed, "others")
			t.r.log.Warn("cannot write others' state to disk; trying again", "error", err)
			t.r.do(ctx, func(t *table) {
				for _, w := range batch {
					t.disk.dirty(w.Topic, w.Owner).all()
				}
			})
		}
	}
}

// closeDisk writes what is left. Every goroutine of the table must have ended.
func (t *table) closeDisk() {
	if t.r.cfg.Store == nil {
		return
	}
	var batch []store.Write
	select {
	case batch = <-t.disk.batches: // not taken yet
	default:
	}
	if batch = append(batch, t.batch()...); len(batch) == 0 {
		return
	}
	if err := t.r.cfg.Store.Commit(batch); err != nil {
		t.r.log.Warn("others' state is not all on disk; it will be fetched again", "error", err)
	}
}
