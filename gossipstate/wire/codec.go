package wire

import (
	"bytes"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire/pb"
)

// MarshalUpdate encodes u. Its Digest field is not read: the signed bytes go out as they are.
func MarshalUpdate(u *Update) []byte { return marshal(updateToPB(u)) }

// UnmarshalUpdate decodes one update and the digest inside it. It checks sizes and counts, not rules or signatures: that is
// Verify's part. The result shares no memory with b. Errors wrap ErrMalformed or ErrTooLarge.
func UnmarshalUpdate(b []byte) (Update, error) {
	if len(b) > MaxFrame {
		return Update{}, fmt.Errorf("%w: update of %d bytes, the limit is %d", ErrTooLarge, len(b), MaxFrame)
	}
	for _, field := range []protowire.Number{updateSigned, updateEntries} {
		if err := limitMessages(b, MaxEntries, field); err != nil {
			return Update{}, err
		}
	}
	var m pb.Update
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return Update{}, fmt.Errorf("%w: update: %w", ErrMalformed, err)
	}
	return updateFromPB(&m)
}

// MarshalDigest encodes d: the bytes to sign.
func MarshalDigest(d *Digest) []byte {
	m := &pb.Digest{
		Owner: d.Owner[:], Generation: uint64(d.Generation), Version: uint64(d.Version), Floor: uint64(d.Floor),
		Root: d.Root[:], Entries: d.Entries, Bytes: d.Bytes, Status: pb.Status(d.Status),
		BeatT0: d.BeatT0, BeatInterval: uint32(d.BeatInterval / time.Millisecond), BeatLength: d.BeatLength,
	}
	if d.BeatAnchor != (Anchor{}) {
		m.BeatAnchor = d.BeatAnchor[:]
	}
	return marshal(m)
}

// UnmarshalDigest decodes the digest inside a SignedDigest. Fields that this version does not know are ignored: they stay in
// the signed bytes. Errors wrap ErrMalformed or ErrTooLarge.
func UnmarshalDigest(b []byte) (Digest, error) {
	if len(b) > MaxDigest {
		return Digest{}, fmt.Errorf("%w: digest of %d bytes, the limit is %d", ErrTooLarge, len(b), MaxDigest)
	}
	if err := wellFormed(b); err != nil {
		return Digest{}, fmt.Errorf("%w: digest: %w", ErrMalformed, err)
	}
	var m pb.Digest
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return Digest{}, fmt.Errorf("%w: digest: %w", ErrMalformed, err)
	}
	d := Digest{
		Generation: Generation(m.Generation), Version: Version(m.Version), Floor: Version(m.Floor),
		Entries: m.Entries, Bytes: m.Bytes, Status: Status(m.Status), BeatT0: m.BeatT0, BeatLength: m.BeatLength,
		BeatInterval: time.Duration(m.BeatInterval) * time.Millisecond,
	}
	if m.Status < 0 || m.Status > pb.Status(Leaving) {
		return Digest{}, fmt.Errorf("%w: status %d", ErrMalformed, m.Status)
	}
	if err := fill(d.Owner[:], m.Owner, "owner"); err != nil {
		return Digest{}, err
	}
	if err := fill(d.Root[:], m.Root, "root"); err != nil {
		return Digest{}, err
	}
	if len(m.BeatAnchor) > 0 {
		if err := fill(d.BeatAnchor[:], m.BeatAnchor, "beat anchor"); err != nil {
			return Digest{}, err
		}
	}
	return d, nil
}

// AppendEntry appends the encoding of e, as it stands inside an Update.
func AppendEntry(b []byte, e *Entry) []byte { return append(b, marshal(entryToPB(e))...) }

// UnmarshalEntry decodes one entry. Rules are not checked: see Entry.Check. Errors wrap ErrMalformed.
func UnmarshalEntry(b []byte) (Entry, error) {
	var m pb.Entry
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return Entry{}, fmt.Errorf("%w: entry: %w", ErrMalformed, err)
	}
	return entryFromPB(&m, &arena{}), nil
}

// EncodedSize is the number of bytes that e takes inside an Update, tag and length included.
func EncodedSize(e *Entry) int {
	n := sizeBytes(len(e.Key)) + sizeBytes(len(e.Value)) + sizeBytes(len(e.ContentType)) + sizeBytes(len(e.Ext)) +
		sizeVarint(uint64(e.Version)) + sizeVarint(uint64(e.Clock)) + sizeVarint(e.Written) + sizeVarint(e.Expires)
	if e.Tombstone {
		n += sizeVarint(1)
	}
	return protowire.SizeTag(updateEntries) + protowire.SizeBytes(n)
}

// sizeBytes is the size of a field of n bytes with its tag, which is one byte below field 16. Empty ones are left out.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func sizeVarint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

// Field numbers at which lists stand.
const (
	updateSigned   protowire.Number = 1 // pb.Update.signed: one, but protobuf allows it in pieces
	updateEntries  protowire.Number = 3 // pb.Update.entries
	frameHello     protowire.Number = 1 // pb.SyncFrame.hello
	frameItems     protowire.Number = 2 // pb.SyncFrame.items
	frameWants     protowire.Number = 3 // pb.SyncFrame.wants
	frameUpdate    protowire.Number = 4 // pb.SyncFrame.update
	frameDone      protowire.Number = 5 // pb.SyncFrame.done
	frameAsk       protowire.Number = 6 // pb.SyncFrame.ask
	frameCells     protowire.Number = 7 // pb.SyncFrame.cells
	frameHashes    protowire.Number = 8 // pb.SyncFrame.hashes
	insideList     protowire.Number = 2 // the second field of each of these, and of pb.BeatHello
	helloForgotten protowire.Number = 3 // pb.SyncHello.forgotten
	wantStaged     protowire.Number = 4 // pb.SyncWant.staged
	updateBeat     protowire.Number = 4 // pb.SyncUpdate.beat
	beatHello      protowire.Number = 1 // pb.BeatFrame.hello
	beatBeats      protowire.Number = 3 // pb.BeatFrame.beats
	beatProbes     protowire.Number = 6 // pb.BeatFrame.probes
	beatAnswers    protowire.Number = 7 // pb.BeatFrame.answers
)

// limitList refuses a message in which the field at the end of path occurs more than limit times, before a decoder allocates
// one value for each: an empty element is 2 bytes on the wire and 100 times that in memory.
func limitList(b []byte, limit int, path ...protowire.Number) error {
	return walkList(b, limit, func([]byte) error { return nil }, path...)
}

// limitMessages is limitList for elements that are messages: it refuses one that is not well-formed, too.
func limitMessages(b []byte, limit int, path ...protowire.Number) error {
	return walkList(b, limit, wellFormed, path...)
}

func walkList(b []byte, limit int, check func([]byte) error, path ...protowire.Number) error {
	n, err := count(b, check, path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if n > limit {
		return fmt.Errorf("%w: %d elements, the limit is %d", ErrTooLarge, n, limit)
	}
	return nil
}

// count is how often the field at the end of path occurs. An element of a wire type that is not the field's is left to the
// decoder, which refuses it.
func count(b []byte, check func([]byte) error, path []protowire.Number) (int, error) {
	total := 0
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return 0, protowire.ParseError(m)
		}
		if num == path[0] && typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b[n:])
			if len(path) > 1 {
				c, err := count(inner, check, path[1:])
				if err != nil {
					return 0, err
				}
				total += c
			} else if err := check(inner); err != nil {
				return 0, err
			} else {
				total++
			}
		}
		b = b[n+m:]
	}
	return total, nil
}

// wellFormed refuses what the generated decoder would read although it is no protobuf: field numbers over 31 bits, of which it
// drops the top, integers over 64 bits, and a group closed by another one's end. A message must mean the same to every
// implementation: a stricter one would hold it against who passed it on.
func wellFormed(b []byte) error {
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
	}
	return nil
}

// marshal encodes a message of our own making: it cannot fail.
func marshal(m interface{ MarshalVT() ([]byte, error) }) []byte {
	b, err := m.MarshalVT()
	if err != nil {
		panic("wire: encoding our own message: " + err.Error())
	}
	return b
}

// fill copies a field of fixed length.
func fill(dst, src []byte, what string) error {
	if len(src) != len(dst) {
		return fmt.Errorf("%w: %s of %d bytes, not %d", ErrMalformed, what, len(src), len(dst))
	}
	copy(dst, src)
	return nil
}

func updateToPB(u *Update) *pb.Update {
	m := &pb.Update{Signed: signedToPB(u.Signed), Previous: uint64(u.Previous), More: u.More}
	m.Entries = make([]*pb.Entry, len(u.Entries))
	for i := range u.Entries {
		m.Entries[i] = entryToPB(&u.Entries[i])
	}
	return m
}

func updateFromPB(m *pb.Update) (Update, error) {
	if m.Signed == nil {
		return Update{}, fmt.Errorf("%w: update without a digest", ErrMalformed)
	}
	u := Update{Signed: signedFromPB(m.Signed), Previous: Version(m.Previous), More: m.More}
	var err error
	if u.Digest, err = UnmarshalDigest(u.Signed.Digest); err != nil {
		return Update{}, err
	}
	u.Entries = make([]Entry, len(m.Entries))
	var copies arena
	for _, e := range m.Entries {
		copies.expect(len(e.Key), len(e.Value))
	}
	for i, e := range m.Entries {
		u.Entries[i] = entryFromPB(e, &copies)
	}
	return u, nil
}

func signedToPB(s SignedDigest) *pb.SignedDigest {
	return &pb.SignedDigest{Digest: s.Digest, Signature: s.Signature}
}

func signedFromPB(m *pb.SignedDigest) SignedDigest {
	return SignedDigest{Digest: own(m.Digest), Signature: own(m.Signature)}
}

func entryToPB(e *Entry) *pb.Entry {
	m := &pb.Entry{
		Key: []byte(e.Key), Value: e.Value, Version: uint64(e.Version), Clock: uint64(e.Clock), Tombstone: e.Tombstone,
		Written: e.Written, Expires: e.Expires, Ext: e.Ext,
	}
	if e.ContentType != "" {
		m.ContentType = []byte(e.ContentType)
	}
	return m
}

func entryFromPB(m *pb.Entry, copies *arena) Entry {
	return Entry{
		Key: copies.string(m.Key), Value: copies.own(m.Value), Version: Version(m.Version), Clock: Clock(m.Clock),
		Tombstone: m.Tombstone, ContentType: copies.contentType(m.ContentType), Written: m.Written, Expires: m.Expires, Ext: own(m.Ext),
	}
}

// own is a copy of b, which belongs to the message it was decoded from; nil for empty, so that "absent" and "empty" are one.
func own(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}
