package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Note is what is remembered of an owner beside its copies. Exactly one of Forgotten and Proof is set, unless it is dropped.
type Note struct {
	Owner wire.ID
	Topic string // of the proof; "" for a note of the quarantine
	Drop  bool   // forget the note: of the quarantine with Topic "", else the proof on Topic

	Forgotten *Forgotten
	Proof     *Proof
}

// Forgotten says at which point of its life an owner was forgotten.
type Forgotten struct {
	Generation wire.Generation
	Version    wire.Version
	Beat       uint32
	Since      time.Time // whole milliseconds
}

// Proof is two digests that one owner signed and that contradict each other, in the order in which they are to be kept.
type Proof [2]wire.SignedDigest

const (
	quarantineName = "quarantine"
	proofPrefix    = "proof/"

	forgottenSize = 8 + 8 + 4 + 8 // bytes of a note of the quarantine, without its checksum
)

var quarantineBucket = seal(nil, nil, []byte(quarantineName))

// proofBucket is the name of the bucket of a topic's proofs.
func proofBucket(topic string) []byte { return seal(nil, nil, []byte(proofPrefix+topic)) }

// noteBucket says whether name, without its checksum, is that of a bucket of notes.
func noteBucket(name []byte) bool {
	return string(name) == quarantineName || bytes.HasPrefix(name, []byte(proofPrefix))
}

func (n *Note) bucket() []byte {
	if n.Topic == "" {
		return quarantineBucket
	}
	return proofBucket(n.Topic)
}

// check refuses what could not be stored or read back.
func (n *Note) check() error {
	if n.Topic != "" {
		if err := wire.CheckName("topic", n.Topic); err != nil {
			return err
		}
	}
	switch {
	case n.Owner == wire.ID{}:
		return fmt.Errorf("%w: no owner", wire.ErrMalformed)
	case n.Drop && (n.Forgotten != nil || n.Proof != nil):
		return fmt.Errorf("%w: dropped and written at once", wire.ErrMalformed)
	case n.Drop:
		return nil
	case (n.Topic == "") != (n.Forgotten != nil) || (n.Topic == "") == (n.Proof != nil):
		return fmt.Errorf("%w: a note of neither kind", wire.ErrMalformed)
	case n.Forgotten != nil:
		return nil
	}
	for _, signed := range n.Proof {
		if len(signed.Digest) == 0 || len(signed.Digest) > wire.MaxDigest || len(signed.Signature) != ed25519.SignatureSize {
			return fmt.Errorf("%w: digest of %d bytes, signature of %d", wire.ErrMalformed, len(signed.Digest), len(signed.Signature))
		}
	}
	return nil
}

func (n *Note) payload() []byte {
	if f := n.Forgotten; f != nil {
		b := binary.BigEndian.AppendUint64(nil, uint64(f.Generation))
		b = binary.BigEndian.AppendUint64(b, uint64(f.Version))
		b = binary.BigEndian.AppendUint32(b, f.Beat)
		return binary.BigEndian.AppendUint64(b, uint64(f.Since.UnixMilli()))
	}
	var b []byte
	for _, signed := range n.Proof {
		b = binary.BigEndian.AppendUint16(b, uint16(len(signed.Digest)))
		b = append(b, signed.Digest...)
		b = append(b, signed.Signature...)
	}
	return b
}

// CommitNotes applies the notes in order, in one transaction, as Commit does with copies. A note replaces the one of the same
// kind, owner and topic. Errors as Commit.
func (s *Store) CommitNotes(batch []Note) error {
	for i := range batch {
		if err := batch[i].check(); err != nil {
			return fmt.Errorf("state store: note on %s: %w", batch[i].Owner, err)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return s.update("commit notes", func(tx *bbolt.Tx) error {
		for i := range batch {
			if err := batch[i].apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *Note) apply(tx *bbolt.Tx) error {
	name := n.bucket()
	if n.Drop {
		if b := tx.Bucket(name); b != nil {
			return b.Delete(n.Owner[:])
		}
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	return b.Put(n.Owner[:], seal(name, n.Owner[:], n.payload()))
}

// Notes returns the notes on topic, or with topic "" those of the quarantine, in order of owner. Proofs in them are not
// verified. What its checksum or its form refuses is left out and named in damaged; nothing in either is shared with the
// store.
func (s *Store) Notes(topic string) (notes []Note, damaged []*RecordError, err error) {
	where := Note{Topic: topic}
	if topic != "" {
		if err := wire.CheckName("topic", topic); err != nil {
			return nil, nil, err
		}
	}
	name := where.bucket()
	err = s.view("load notes", func(tx *bbolt.Tx) error {
		b := tx.Bucket(name)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			n := Note{Topic: topic}
			rest := copy(n.Owner[:], k)
			payload, err := unseal(name, k, v)
			if err == nil && (rest != len(n.Owner) || len(k) != len(n.Owner)) {
				err = fmt.Errorf("%w: owner of %d bytes", wire.ErrMalformed, len(k))
			}
			if err == nil {
				err = n.parse(payload)
			}
			if err != nil {
				damaged = append(damaged, &RecordError{Topic: topic, Owner: n.Owner, Err: fmt.Errorf("note: %w", err)})
				return nil
			}
			notes = append(notes, n)
			return nil
		})
	})
	return notes, damaged, err
}

// parse reads a payload into n, whose owner and topic are set.
func (n *Note) parse(b []byte) error {
	if n.Topic == "" {
		if len(b) != forgottenSize {
			return fmt.Errorf("%w: record of %d bytes", wire.ErrMalformed, len(b))
		}
		n.Forgotten = &Forgotten{
			Generation: wire.Generation(binary.BigEndian.Uint64(b)), Version: wire.Version(binary.BigEndian.Uint64(b[8:])),
			Beat: binary.BigEndian.Uint32(b[16:]), Since: time.UnixMilli(int64(binary.BigEndian.Uint64(b[20:]))),
		}
		return nil
	}
	n.Proof = &Proof{}
	for i := range n.Proof {
		if len(b) < 2 {
			return fmt.Errorf("%w: proof of one digest", wire.ErrMalformed)
		}
		end := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; len(b) < end+ed25519.SignatureSize {
			return fmt.Errorf("%w: digest of %d bytes in a record of %d", wire.ErrMalformed, end, len(b))
		}
		n.Proof[i].Digest = bytes.Clone(b[:end])
		n.Proof[i].Signature = bytes.Clone(b[end : end+ed25519.SignatureSize])
		b = b[end+ed25519.SignatureSize:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes after the proof", wire.ErrMalformed, len(b))
	}
	return n.check()
}
