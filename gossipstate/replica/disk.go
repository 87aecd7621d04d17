package replica

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// disk tracks what of other owners' copies is not on disk yet. This node's own copy is written before anybody sees it;
// those of others are signed and can be fetched again, so they follow about every second.
type disk struct {
	changed map[diskKey]*diskChange
	notes   map[noteKey]store.Note       // not on disk yet
	stamps  map[gossipstate.ID]time.Time // last life of each owner as it is on disk, with its copy of members
	batches chan diskBatch               // to the goroutine that writes; holds one
	writing bool                         // it has one, or one waits for it

	fault   error     // of the newest write of this node's own state; nil: it is on disk
	faultAt time.Time // when it failed, or was tried again
}

// diskBatch is what is written at one time: the notes first, so that a forgotten owner is in quarantine before it is dropped.
type diskBatch struct {
	notes  []store.Note
	writes []store.Write
}

func (b diskBatch) commit(st *store.Store) error {
	if err := st.CommitNotes(b.notes); err != nil {
		return err
	}
	return st.Commit(b.writes)
}

type diskKey struct {
	topic string
	owner gossipstate.ID
}

// noteKey is what a note is about; with topic "" it is of the quarantine.
type noteKey diskKey

// diskChange is what differs between the stored copy of one owner and the one in the table.
type diskChange struct {
	reset bool
	keys  map[string]bool
}

func newDisk() disk {
	return disk{
		changed: map[diskKey]*diskChange{}, notes: map[noteKey]store.Note{}, stamps: map[gossipstate.ID]time.Time{},
		batches: make(chan diskBatch, 1),
	}
}

// note has n written with the next batch.
func (d *disk) note(n store.Note) { d.notes[noteKey{n.Topic, n.Owner}] = n }

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
	return t.commitOwn(w, now)
}

// commitOwn writes to disk what is all that differs there of this node's own copy.
func (t *table) commitOwn(w store.Write, now time.Time) error {
	t.disk.fault, t.disk.faultAt = t.r.cfg.Store.Commit([]store.Write{w}), now
	if t.disk.fault == nil {
		delete(t.disk.changed, diskKey{w.Topic, w.Owner})
	}
	return t.disk.fault
}

// retryAfter is how long a node that could not store a change of its own says so, before it looks whether the disk takes
// writes again: it may be told to write nothing until then. A guess.
const retryAfter = time.Minute

// retryStore writes this node's copy of members once more, a while after a change of its own could not be stored.
func (t *table) retryStore(now time.Time) {
	if t.disk.fault == nil || now.Sub(t.disk.faultAt) < retryAfter {
		return
	}
	c := &diskChange{}
	c.all()
	if err := t.commitOwn(t.members().write(t.r.self, c, now), now); err != nil {
		t.r.counters.one(CountStoreFailed, "own")
	}
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

// flush hands what changed of others to the goroutine that writes, unless it is still busy with the last batch: should that
// fail, what comes after it must not be there before it.
func (t *table) flush() {
	if t.r.cfg.Store == nil || len(t.disk.changed)+len(t.disk.notes) == 0 || t.disk.writing {
		return
	}
	t.disk.writing = true
	t.disk.batches <- t.batch()
}

// batch takes every change as a write. Own copies stay: storeOwn writes them.
func (t *table) batch() diskBatch {
	heard := t.lastHeard()
	var batch diskBatch
	for _, n := range t.disk.notes {
		batch.notes = append(batch.notes, n)
	}
	clear(t.disk.notes)
	for key, c := range t.disk.changed {
		if key.owner == t.r.self {
			continue
		}
		delete(t.disk.changed, key)
		if key.topic == wire.Members {
			t.disk.stamps[key.owner] = heard[key.owner]
		}
		batch.writes = append(batch.writes, t.topics[key.topic].write(key.owner, c, heard[key.owner]))
	}
	return batch
}

// stampsPerForget is how often in the time until an owner is forgotten its last life is brought up to date on disk. A crash
// makes owners look older by that much; half the time is what makes them dormant. A guess.
const stampsPerForget = 16

// stampLives has the last life of owners written that has moved on by more than age since it was.
func (t *table) stampLives(now time.Time, age time.Duration) {
	if t.r.cfg.Store == nil {
		return
	}
	for _, m := range t.live.Members(now) {
		if m.Owner == t.r.self || m.Heard.Sub(t.disk.stamps[m.Owner]) <= age {
			continue
		}
		if _, _, held := t.members().state.Digest(m.Owner); held {
			t.disk.dirty(wire.Members, m.Owner)
		}
	}
	for owner := range t.disk.stamps {
		if _, _, held := t.members().state.Digest(owner); !held {
			delete(t.disk.stamps, owner)
		}
	}
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

// persist writes batches until Run ends.
func (t *table) persist(ctx context.Context) {
	failing := false // it is said once
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-t.disk.batches:
			err := batch.commit(t.r.cfg.Store)
			if err != nil {
				t.r.counters.one(CountStoreFailed, "others")
			}
			if err != nil && !failing {
				t.r.log.Warn("cannot write others' state to disk; trying again", "error", err)
			}
			failing = err != nil
			if t.r.do(ctx, func(t *table) { t.written(batch, err) }) != nil {
				<-t.r.idle // then nobody else uses the table, and closeDisk tries again
				t.written(batch, err)
			}
		}
	}
}

// written follows a try to write a batch. What failed is dirty again.
func (t *table) written(batch diskBatch, err error) {
	t.disk.writing = false
	if err == nil {
		return
	}
	for _, n := range batch.notes {
		if _, newer := t.disk.notes[noteKey{n.Topic, n.Owner}]; !newer {
			t.disk.note(n)
		}
	}
	for _, w := range batch.writes {
		t.disk.dirty(w.Topic, w.Owner).all()
	}
}

// closeDisk writes what is left. Every goroutine of the table must have ended.
func (t *table) closeDisk() {
	if t.r.cfg.Store == nil {
		return
	}
	t.stampLives(time.Now(), time.Minute)
	var batches []diskBatch
	select {
	case batch := <-t.disk.batches: // not taken yet
		batches = append(batches, batch)
	default:
	}
	for _, batch := range append(batches, t.batch()) {
		if err := batch.commit(t.r.cfg.Store); err != nil {
			t.r.counters.one(CountStoreFailed, "others")
			t.r.log.Warn("others' state is not all on disk; it will be fetched again", "error", err)
		}
	}
}

// Storage says how this node stands with its disk.
type Storage struct {
	// Fault is why the newest change of this node's own state could not be stored: it wraps what the file system said, such as
	// syscall.ENOSPC. Nil when it is on disk, or without a Store. A minute later the disk is tried again.
	Fault error
}

// Storage says how this node stands with its disk.
func (r *Replica) Storage(ctx context.Context) (s Storage, err error) {
	err = r.do(ctx, func(t *table) { s.Fault = t.disk.fault })
	return s, err
}
