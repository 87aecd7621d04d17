package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

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
	if err := t.loadNotes(); err != nil {
		return err
	}
	for _, name := range t.r.topics {
		tt := t.topics[name]
		if err := t.r.cfg.Store.Load(name, func(c store.Copy) error { return t.restore(tt, &c) }); err != nil {
			return fmt.Errorf("loading topic %q: %w", name, err)
		}
	}
	return nil
}

// loadNotes restores who is in quarantine and the proofs of equivocation. Damaged notes are said and left out.
func (t *table) loadNotes() error {
	for _, topic := range append([]string{""}, t.r.topics...) {
		notes, damaged, err := t.r.cfg.Store.Notes(topic)
		if err != nil {
			return fmt.Errorf("loading notes: %w", err)
		}
		slices.SortStableFunc(notes, func(a, b store.Note) int { // as they were put there
			if a.Forgotten == nil || b.Forgotten == nil {
				return 0
			}
			return a.Forgotten.Since.Compare(b.Forgotten.Since)
		})
		for i := range notes {
			n := &notes[i]
			if f := n.Forgotten; f != nil {
				t.quarantine.Add(gossipstate.Forgotten{
					Owner: n.Owner, Generation: f.Generation, Version: f.Version, Beat: f.Beat, Since: f.Since,
				})
			} else if err := t.restoreEvidence(t.topics[topic], n); err != nil {
				damaged = append(damaged, &store.RecordError{Topic: topic, Owner: n.Owner, Err: err})
			}
		}
		for _, d := range damaged {
			t.r.log.Warn("a stored note is damaged and left out", "error", d)
			t.r.counters.one(CountDropped, "stored_damaged")
			t.disk.note(store.Note{Owner: d.Owner, Topic: topic, Drop: true})
		}
	}
	return nil
}

// restore verifies one stored copy as if a peer had sent it, and takes it in, or lays it aside when its owner was silent for
// long.
func (t *table) restore(tt *topicTable, c *store.Copy) error {
	now := time.Now()
	// The stamp beside a copy of members is kept up to date, that of others is from their last change.
	_, _, known := t.members().state.Digest(c.Owner)
	known = known || t.sleepers.digest(c.Owner) != nil
	if c.Owner != t.r.self && !known && !c.LastLife.IsZero() && now.Sub(c.LastLife) > t.r.cfg.Liveness.ForgetAfter {
		t.forgetStored(tt, c, now) // nobody has heard of it for so long
		return nil
	}
	err := errors.Join(damage(c)...)
	if err == nil {
		err = t.takeStored(tt, c, now)
	}
	if err != nil {
		t.r.log.Warn("a stored copy is damaged and left out; it will be fetched again",
			"topic", tt.name, "owner", c.Owner, "error", err)
		t.r.counters.one(CountDropped, "stored_damaged")
		t.disk.dirty(tt.name, c.Owner).all() // what is on disk is not what later changes are against
	}
	return nil
}

// forgetStored drops a stored copy of an owner that is forgotten by now.
func (t *table) forgetStored(tt *topicTable, c *store.Copy, now time.Time) {
	t.disk.dirty(tt.name, c.Owner).all()
	digest, err := wire.UnmarshalDigest(c.Signed.Digest)
	if tt.name != wire.Members || err != nil || wire.VerifyDigest(tt.domain, &digest, c.Signed) != nil || digest.Owner != c.Owner {
		return
	}
	t.quarantineOwner(gossipstate.Forgotten{Owner: c.Owner, Generation: digest.Generation, Version: digest.Version, Since: now})
	t.r.counters.one(CountForget, "forgotten")
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
	if digest.Owner != c.Owner {
		return fmt.Errorf("%w: copy of %s", wire.ErrMalformed, digest.Owner)
	}
	if c.Owner == t.r.self {
		if c.LastLife.After(t.me.lastLife) {
			t.me.lastLife = c.LastLife
		}
	} else if put, err := t.layAside(tt, c.LastLife, v, now); put || err != nil {
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
	t.disk.stamps[c.Owner] = c.LastLife
	transitions, err := t.live.Digest(digest, heard, now)
	t.transitions(transitions)
	return err
}

// layAside keeps a stored copy out of sight when its owner was silent for long. An owner's copies stay together: what members
// holds of it decides.
func (t *table) layAside(tt *topicTable, stamp time.Time, v wire.Verified, now time.Time) (put bool, err error) {
	owner := v.Update().Digest.Owner
	until, sleeps := t.sleepsUntil(stamp, now)
	if tt.name == wire.Members {
		if t.quarantine.Refuses(&v.Update().Digest) {
			return false, errors.New("its owner is in quarantine")
		}
	} else {
		_, _, held := t.members().state.Digest(owner)
		sleeps = !held
	}
	if sleeps {
		t.r.counters.one(CountForget, "dormant")
		t.sleepers.add(tt.name, v, until)
	}
	return sleeps, nil
}
