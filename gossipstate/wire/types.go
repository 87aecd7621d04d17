package wire

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"time"
)

// ID names an owner: its Ed25519 public key. Owners are ordered by these bytes. The zero ID is no owner.
type ID [32]byte

// Compare orders IDs by their bytes: negative when id comes before other.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// String is the first 8 hex digits: enough to tell owners apart in a log line, not to name one.
func (id ID) String() string { return hex.EncodeToString(id[:4]) }

// Generation is fixed when an owner's process starts and larger than every generation it had before.
// A larger generation beats any version of a smaller one. 0 means nothing is known.
type Generation uint64

// Version counts an owner's changes: the first change is 1, 0 means nothing is known. All entries that one
// commit changed carry the same version. It goes on through restarts while the owner's store survives.
type Version uint64

// Clock orders the entries that several owners wrote under one shared key: the largest wins. A writer takes the
// winner's clock plus one. 0 is no entry.
type Clock uint64

// Root is the Merkle root over all entries of one owner, tombstones included. 32 zero bytes: no entries.
type Root [32]byte

// Anchor is the public end of an owner's beat chain. The zero Anchor: the owner does not beat.
type Anchor [16]byte

// Name is the short form under which beats refer to an anchor: its first 4 bytes, big-endian.
func (a Anchor) Name() uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}

// Status is what an owner says about itself.
type Status uint8

const (
	// Running is the ordinary state.
	Running Status = iota
	// Leaving says that the owner stops on purpose: it has left, it has not failed.
	Leaving
)

func (s Status) String() string {
	if s == Leaving {
		return "leaving"
	}
	return "running"
}

// Digest is what an owner signs about the whole of its state on one topic.
type Digest struct {
	Owner      ID
	Generation Generation
	Version    Version
	Floor      Version // newest version whose tombstones are dropped; a delta from below it is impossible
	Root       Root
	Entries    uint32 // live entries and kept tombstones
	Bytes      uint64 // sum of Entry.Size over them
	Status     Status

	// The owner's beat chain. Set on the topic "members" alone, all four zero elsewhere.
	BeatAnchor   Anchor
	BeatT0       uint64        // unix ms at which beat 0 was due; advisory, never compared with a clock here
	BeatInterval time.Duration // whole ms, MinBeatInterval..MaxBeatInterval
	BeatLength   uint32        // beats in the chain, at most MaxBeats
}

// Compare orders digests of one owner by (generation, version, root): negative when d is older than other.
func (d *Digest) Compare(other *Digest) int {
	return cmp.Or(
		cmp.Compare(d.Generation, other.Generation),
		cmp.Compare(d.Version, other.Version),
		bytes.Compare(d.Root[:], other.Root[:]),
	)
}

// SignedDigest is a digest exactly as its owner signed it. It is kept and passed on untouched, never re-encoded:
// protobuf has no canonical form.
type SignedDigest struct {
	Digest    []byte // protobuf Digest
	Signature []byte // 64 bytes, over Domain.SigningBytes(Digest)
}

// Entry is one key of one owner.
type Entry struct {
	Key         string // 1..MaxKey bytes of UTF-8
	Value       []byte // at most MaxValue bytes; empty in a tombstone
	Version     Version
	Clock       Clock
	Tombstone   bool
	ContentType string // with Ext at most MaxMeta bytes
	Written     uint64 // unix ms, the owner's claim: shown, never compared
	Expires     uint64 // unix ms, 0 never; the owner's own node writes the tombstone
	Ext         []byte // fields of later versions; signed and passed on, not read
}

// Size is what e counts for in Digest.Bytes and in every limit: the bytes of key, value, content type and ext.
func (e *Entry) Size() int {
	return len(e.Key) + len(e.Value) + len(e.ContentType) + len(e.Ext)
}

// Compare orders entries as an Update carries them: by (version, key).
func (e *Entry) Compare(other *Entry) int {
	return cmp.Or(cmp.Compare(e.Version, other.Version), cmp.Compare(e.Key, other.Key))
}

// Update is the one message that carries state: rumor, delta and snapshot alike. It holds the entries e of one owner
// with Previous < e.Version <= the digest's version, in (version, key) order. Previous 0 is a snapshot. Previous equal
// to the digest's version carries nothing: it says that the owner's heartbeat part changed, or announces a change that
// is too large for a rumor.
type Update struct {
	Signed   SignedDigest
	Digest   Digest // what Signed.Digest holds; filled by UnmarshalUpdate, ignored by MarshalUpdate
	Previous Version
	Entries  []Entry
	More     bool // further parts follow; only the last part is checked against the root
}

// Beat is one proof of life: the Index-th preimage of the chain whose anchor has the name Anchor.
type Beat struct {
	Anchor   uint32 // Anchor.Name()
	Index    uint32 // 1..BeatLength
	Preimage [16]byte
}

// Limits that every node shares. A message over one of them is refused before memory is spent on it.
const (
	MaxKey     = 256       // bytes of a key
	MaxValue   = 64 << 10  // bytes of a value
	MaxMeta    = 1 << 10   // bytes of content type and ext together
	MaxEntries = 4096      // entries of one owner on one topic, tombstones included
	MaxBytes   = 1 << 20   // sum of Entry.Size of one owner on one topic
	MaxOwners  = 16384     // owners on one topic
	MaxRumor   = 64 << 10  // bytes of an Update on the gossipsub topic
	MaxFrame   = 256 << 10 // bytes of one frame on a sync or beat stream
	MaxDigest  = 512       // bytes of an encoded Digest
	MaxName    = 32        // bytes of a network or topic name, of [a-z0-9-]

	MaxBeats        = 4096 // beats of one chain
	MinBeatInterval = 200 * time.Millisecond
	MaxBeatInterval = 10 * time.Second
)
