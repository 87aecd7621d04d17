package store

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Copy is one owner's state on one topic as it was stored. Nothing in it is verified, and nothing in it is shared with the
// store.
type Copy struct {
	Owner    wire.ID
	Signed   wire.SignedDigest // empty when it is among Damaged
	LastLife time.Time         // last proof of life, whole milliseconds; zero: none known
	Entries  []wire.Entry      // by key
	Damaged  []*RecordError    // records that are left out, by key; a copy that has some is not what its owner signed
}

// Write changes one owner's copy on one topic. Put and Delete need only what changed; Put wins over Delete, and both come
// after Reset.
type Write struct {
	Topic    string
	Owner    wire.ID
	Signed   wire.SignedDigest // replaces the stored one; always needed, except to Drop
	LastLife time.Time         // replaces the stored one, in whole milliseconds; zero: none known
	Put      []wire.Entry      // each must pass Entry.Check
	Delete   []string          // keys; one that is not there is no error
	Reset    bool              // forget every entry first: Put is the whole copy
	Drop     bool              // forget the owner on this topic altogether; Put, Delete and Reset must be unset
}

// check refuses what could not be stored or read back.
func (w *Write) check() error {
	if err := wire.CheckName("topic", w.Topic); err != nil {
		return err
	}
	switch {
	case w.Owner == wire.ID{}:
		return fmt.Errorf("%w: no owner", wire.ErrMalformed)
	case w.Drop && (w.Reset || len(w.Put) > 0 || len(w.Delete) > 0):
		return fmt.Errorf("%w: dropped and written at once", wire.ErrMalformed)
	case w.Drop:
		return nil
	case len(w.Signed.Digest) == 0 || len(w.Signed.Digest) > wire.MaxDigest:
		return fmt.Errorf("%w: digest of %d bytes", wire.ErrMalformed, len(w.Signed.Digest))
	case len(w.Signed.Signature) != ed25519.SignatureSize:
		return fmt.Errorf("%w: signature of %d bytes", wire.ErrMalformed, len(w.Signed.Signature))
	}
	for i := range w.Put {
		if err := w.Put[i].Check(); err != nil {
			return fmt.Errorf("key %.40q: %w", w.Put[i].Key, err)
		}
	}
	for _, key := range w.Delete {
		if key == "" || len(key) > wire.MaxKey {
			return fmt.Errorf("%w: delete of a key of %d bytes", wire.ErrMalformed, len(key))
		}
	}
	return nil
}

// Commit applies the writes in order, in one transaction: it is on disk when Commit returns nil, and on an error nothing of
// it is. Errors wrap wire.ErrMalformed or wire.ErrTooLarge for a write that can't be stored, else what the file system
// said, such as syscall.ENOSPC; after one of those the store goes on and the commit may be tried again. The batch is not
// changed, nor kept.
func (s *Store) Commit(batch []Write) error {
	for i := range batch {
		if err := batch[i].check(); err != nil {
			return fmt.Errorf("state store: commit for %s on %q: %w", batch[i].Owner, batch[i].Topic, err)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return s.update("commit", func(tx *bbolt.Tx) error {
		for i := range batch {
			if err := batch[i].apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *Write) apply(tx *bbolt.Tx) error {
	name := topicBucket(w.Topic)
	if w.Drop && tx.Bucket(name) == nil {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	if w.Drop || w.Reset {
		if err := forget(b, w.Owner); err != nil {
			return err
		}
	}
	if w.Drop {
		return nil
	}
	for _, key := range w.Delete {
		if err := b.Delete(recordKey(w.Owner, key)); err != nil {
			return err
		}
	}
	for i := range w.Put {
		k := recordKey(w.Owner, w.Put[i].Key)
		if err := b.Put(k, seal(name, k, wire.AppendEntry(nil, &w.Put[i]))); err != nil {
			return err
		}
	}
	k := recordKey(w.Owner, "")
	return b.Put(k, seal(name, k, appendCopyHead(nil, w.Signed, w.LastLife)))
}

// forget deletes all records of owner. The keys are collected first: bbolt's cursor skips some when it deletes.
func forget(b *bbolt.Bucket, owner wire.ID) error {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(owner[:]); bytes.HasPrefix(k, owner[:]); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Load calls each with the copy of every owner on topic, in order of owner, damaged ones included, until each returns an
// error, which Load returns. Each copy is as one commit left it; commits made meanwhile, by each itself too, are seen in
// those owners that have not come yet. A topic that was never written has no owners.
func (s *Store) Load(topic string, each func(Copy) error) error {
	if err := wire.CheckName("topic", topic); err != nil {
		return err
	}
	name := topicBucket(topic)
	var from []byte
	for {
		var c *Copy
		err := s.view("load "+topic, func(tx *bbolt.Tx) error {
			if b := tx.Bucket(name); b != nil {
				c, from = readCopy(b, topic, name, from)
			}
			return nil
		})
		if err != nil || c == nil {
			return err
		}
		if err := each(*c); err != nil || from == nil {
			return err
		}
	}
}

// readCopy reads the first owner at or after from; nil when there is none. next is where the one after it begins; nil when
// it is the last.
func readCopy(b *bbolt.Bucket, topic string, name, from []byte) (c *Copy, next []byte) {
	cursor := b.Cursor()
	k, v := cursor.Seek(from)
	if k == nil {
		return nil, nil
	}
	c = &Copy{}
	c.Owner, _ = splitKey(k)
	if len(k) > len(c.Owner) {
		c.damaged(topic, "", errNoDigest)
	}
	for ; k != nil; k, v = cursor.Next() {
		owner, key := splitKey(k)
		if owner != c.Owner {
			return c, bytes.Clone(k)
		}
		payload, err := unseal(name, k, v)
		switch {
		case err != nil:
		case key == "":
			c.Signed, c.LastLife, err = parseCopyHead(payload)
		default:
			var e wire.Entry
			if e, err = parseEntry(key, payload); err == nil {
				c.Entries = append(c.Entries, e)
			}
		}
		if err != nil {
			c.damaged(topic, key, err)
		}
	}
	return c, nil
}

func (c *Copy) damaged(topic, key string, err error) {
	c.Damaged = append(c.Damaged, &RecordError{Topic: topic, Owner: c.Owner, Key: key, Err: err})
}
