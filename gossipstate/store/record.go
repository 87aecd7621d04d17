package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	formatVersion = 1

	sealSize    = 4
	topicPrefix = "topic/"
)

var (
	metaBucket    = []byte("meta")
	formatKey     = []byte("format")
	generationKey = []byte("generation")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// checksum covers a record and its place, so that a record that turns up elsewhere is damage too.
func checksum(bucket, key, payload []byte) uint32 {
	var lengths [4]byte
	binary.BigEndian.PutUint16(lengths[:], uint16(len(bucket)))
	binary.BigEndian.PutUint16(lengths[2:], uint16(len(key)))
	sum := crc32.Checksum(lengths[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, bucket)
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, payload)
}

// seal appends the checksum to payload.
func seal(bucket, key, payload []byte) []byte {
	return binary.BigEndian.AppendUint32(payload, checksum(bucket, key, payload))
}

// unseal returns the payload of a record. It shares memory with record.
func unseal(bucket, key, record []byte) ([]byte, error) {
	n := len(record) - sealSize
	if n < 0 || binary.BigEndian.Uint32(record[n:]) != checksum(bucket, key, record[:n]) {
		return nil, errChecksum
	}
	return record[:n:n], nil
}

// topicBucket is the name of a topic's bucket. It carries a checksum, since a topic under another name is a topic lost.
func topicBucket(topic string) []byte { return seal(nil, nil, []byte(topicPrefix+topic)) }

// checkBucketName refuses a top-level bucket that this version does not make.
func checkBucketName(name []byte) error {
	if bytes.Equal(name, metaBucket) {
		return nil
	}
	plain, err := unseal(nil, nil, name)
	if err != nil || !bytes.HasPrefix(plain, []byte(topicPrefix)) && !noteBucket(plain) {
		return damagef("bucket %q is not one of a state store", name)
	}
	return nil
}

// recordKey is where an entry of owner stands; with key "" the owner's digest, which comes first.
func recordKey(owner wire.ID, key string) []byte {
	b := make([]byte, 0, len(owner)+len(key))
	return append(append(b, owner[:]...), key...)
}

// splitKey is the opposite of recordKey. A key too short to hold an owner, which only damage makes, is padded with zeros.
func splitKey(k []byte) (owner wire.ID, key string) {
	return owner, string(k[copy(owner[:], k):])
}

// appendCopyHead appends the payload of an owner's digest record.
func appendCopyHead(b []byte, signed wire.SignedDigest, lastLife time.Time) []byte {
	var ms int64
	if !lastLife.IsZero() {
		ms = lastLife.UnixMilli()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(ms))
	b = binary.BigEndian.AppendUint16(b, uint16(len(signed.Digest)))
	b = append(b, signed.Digest...)
	return append(b, signed.Signature...)
}

// parseCopyHead reads such a payload. The result shares no memory with b.
func parseCopyHead(b []byte) (signed wire.SignedDigest, lastLife time.Time, err error) {
	const fixed = 8 + 2
	if len(b) < fixed {
		return signed, lastLife, fmt.Errorf("%w: record of %d bytes", wire.ErrMalformed, len(b))
	}
	if ms := int64(binary.BigEndian.Uint64(b)); ms != 0 {
		lastLife = time.UnixMilli(ms)
	}
	n := int(binary.BigEndian.Uint16(b[8:]))
	if b = b[fixed:]; n > len(b) {
		return signed, time.Time{}, fmt.Errorf("%w: digest of %d bytes in a record of %d", wire.ErrMalformed, n, len(b))
	}
	signed.Digest, signed.Signature = bytes.Clone(b[:n]), bytes.Clone(b[n:])
	return signed, lastLife, nil
}

func parseEntry(key string, b []byte) (wire.Entry, error) {
	e, err := wire.UnmarshalEntry(b)
	if err == nil && e.Key != key {
		err = fmt.Errorf("%w: entry for key %q", wire.ErrMalformed, e.Key)
	}
	return e, err
}
