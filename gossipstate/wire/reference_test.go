package wire_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// This file is the protocol a second time: slow, and written from the prose of doc.go rather than from the code. Golden
// vectors are made with it, and the code is checked against it.

// slowCanonical is the canonical entry, laid out by offset as the picture in doc.go shows it.
func slowCanonical(e *wire.Entry) []byte {
	b := make([]byte, 69+len(e.ContentType)+len(e.Ext))
	binary.BigEndian.PutUint64(b[0:], uint64(e.Version))
	binary.BigEndian.PutUint64(b[8:], uint64(e.Clock))
	binary.BigEndian.PutUint64(b[16:], e.Written)
	binary.BigEndian.PutUint64(b[24:], e.Expires)
	if e.Tombstone {
		b[32] = 1
	}
	value := sha256.Sum256(e.Value)
	copy(b[33:65], value[:])
	binary.BigEndian.PutUint16(b[65:], uint16(len(e.ContentType)))
	copy(b[67:], e.ContentType)
	ext := 67 + len(e.ContentType)
	binary.BigEndian.PutUint16(b[ext:], uint16(len(e.Ext)))
	copy(b[ext+2:], e.Ext)
	return b
}

func slowHash(parts ...[]byte) (h [32]byte) {
	sum := sha256.New()
	for _, p := range parts {
		sum.Write(p)
	}
	copy(h[:], sum.Sum(nil))
	return h
}

func slowLeaf(e *wire.Entry) [32]byte {
	key := slowHash([]byte(e.Key))
	return slowHash([]byte{0}, key[:], slowCanonical(e))
}

// slowRoot is the Merkle root over entries, whose keys differ, in any order: one leaf stands for itself; more are split at
// the first bit of SHA-256(key), the most significant first, in which they differ: 0 goes left, 1 right.
func slowRoot(entries []wire.Entry) wire.Root {
	if len(entries) == 0 {
		return wire.Root{}
	}
	return wire.Root(slowNode(entries, 0))
}

func slowNode(entries []wire.Entry, bit int) [32]byte {
	if len(entries) == 1 {
		return slowLeaf(&entries[0])
	}
	var side [2][]wire.Entry
	for _, e := range entries {
		key := slowHash([]byte(e.Key))
		s := key[bit/8] >> (7 - bit%8) & 1
		side[s] = append(side[s], e)
	}
	if len(side[0]) == 0 || len(side[1]) == 0 {
		return slowNode(entries, bit+1)
	}
	left, right := slowNode(side[0], bit+1), slowNode(side[1], bit+1)
	return slowHash([]byte{1}, left[:], right[:])
}

func slowBytes(entries []wire.Entry) (n uint64) {
	for i := range entries {
		e := &entries[i]
		n += uint64(len(e.Key) + len(e.Value) + len(e.ContentType) + len(e.Ext))
	}
	return n
}

// slowSigningBytes is what an owner signs.
func slowSigningBytes(network, topic string, digest []byte) []byte {
	s := "p2pnode/digest/1" + string(rune(len(network))) + network + string(rune(len(topic))) + topic
	return append([]byte(s), digest...)
}

// slowFaults lists, by error class, every rule that u breaks on topic, signature aside. None means that u is valid.
func slowFaults(topic string, u *wire.Update) map[string]bool {
	faults := slowDigestFaults(topic, &u.Digest)
	if u.Previous > u.Digest.Version || u.More && len(u.Entries) == 0 {
		faults[classMalformed] = true
	}
	if len(u.Entries) > 4096 {
		faults[classTooLarge] = true
	}
	for i, e := range u.Entries {
		for class := range slowEntryFaults(&e) {
			faults[class] = true
		}
		if e.Version <= u.Previous || e.Version > u.Digest.Version || e.Tombstone && e.Version <= u.Digest.Floor {
			faults[classMalformed] = true
		}
		if i == 0 {
			continue
		}
		if p := u.Entries[i-1]; p.Version > e.Version || p.Version == e.Version && p.Key >= e.Key {
			faults[classMalformed] = true
		}
	}
	return faults
}

func slowDigestFaults(topic string, d *wire.Digest) map[string]bool {
	faults := map[string]bool{}
	if d.Generation == 0 || d.Version == 0 || d.Floor > d.Version || d.Status > 1 || (d.Entries == 0) != (d.Root == [32]byte{}) {
		faults[classMalformed] = true
	}
	if d.Entries > 4096 || d.Bytes > 1048576 {
		faults[classTooLarge] = true
	}
	ms, anchored := d.BeatInterval.Milliseconds(), d.BeatAnchor != [16]byte{}
	if topic == "members" {
		if !anchored || ms < 200 || ms > 10_000 || d.BeatLength < 1 || d.BeatLength > 4096 {
			faults[classMalformed] = true
		}
	} else if anchored || d.BeatT0 != 0 || ms != 0 || d.BeatLength != 0 {
		faults[classMalformed] = true
	}
	return faults
}

func slowEntryFaults(e *wire.Entry) map[string]bool {
	faults := map[string]bool{}
	if e.Key == "" || !utf8.ValidString(e.Key) || !utf8.ValidString(e.ContentType) || e.Version == 0 || e.Clock == 0 ||
		e.Tombstone && len(e.Value) > 0 {
		faults[classMalformed] = true
	}
	if len(e.Key) > 256 || len(e.Value) > 65536 || len(e.ContentType)+len(e.Ext) > 1024 {
		faults[classTooLarge] = true
	}
	return faults
}

// message builds protobuf by hand: fields in the order they are added, zero values left out as every proto3 encoder does.
// Every method copies: a message may be extended in several ways.
type message []byte

func (m message) uint(num protowire.Number, v uint64) message {
	if v == 0 {
		return m
	}
	return protowire.AppendVarint(protowire.AppendTag(slices.Clip(m), num, protowire.VarintType), v)
}

func (m message) bool(num protowire.Number, v bool) message {
	return m.uint(num, protowire.EncodeBool(v))
}

func (m message) fixed64(num protowire.Number, v uint64) message {
	if v == 0 {
		return m
	}
	return protowire.AppendFixed64(protowire.AppendTag(slices.Clip(m), num, protowire.Fixed64Type), v)
}

func (m message) fixed32(num protowire.Number, v uint32) message {
	if v == 0 {
		return m
	}
	return protowire.AppendFixed32(protowire.AppendTag(slices.Clip(m), num, protowire.Fixed32Type), v)
}

func (m message) bytes(num protowire.Number, v []byte) message {
	if len(v) == 0 {
		return m
	}
	return m.sub(num, v)
}

// sub adds a message, or an element of a list, which is there even when it is empty.
func (m message) sub(num protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(slices.Clip(m), num, protowire.BytesType), v)
}

func slowDigest(d *wire.Digest) message {
	m := message(nil).bytes(1, d.Owner[:]).fixed64(2, uint64(d.Generation)).uint(3, uint64(d.Version)).uint(4, uint64(d.Floor)).
		bytes(5, d.Root[:]).uint(6, uint64(d.Entries)).uint(7, d.Bytes).uint(8, uint64(d.Status))
	if d.BeatAnchor != (wire.Anchor{}) {
		m = m.bytes(9, d.BeatAnchor[:])
	}
	return m.uint(10, d.BeatT0).uint(11, uint64(d.BeatInterval.Milliseconds())).uint(12, uint64(d.BeatLength))
}

func slowSigned(s *wire.SignedDigest) message {
	return message(nil).bytes(1, s.Digest).bytes(2, s.Signature)
}

func slowEntry(e *wire.Entry) message {
	return message(nil).bytes(1, []byte(e.Key)).bytes(2, e.Value).uint(3, uint64(e.Version)).uint(4, uint64(e.Clock)).
		bool(5, e.Tombstone).bytes(6, []byte(e.ContentType)).uint(7, e.Written).uint(8, e.Expires).bytes(9, e.Ext)
}

func slowUpdate(u *wire.Update) message {
	m := message(nil).sub(1, slowSigned(&u.Signed)).uint(2, uint64(u.Previous))
	for i := range u.Entries {
		m = m.sub(3, slowEntry(&u.Entries[i]))
	}
	return m.bool(4, u.More)
}
