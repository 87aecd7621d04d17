package discovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	envelopes "github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// offerSize is how many peers one answer names at most; the bits of its want word say which records are wanted.
	offerSize = 16

	// maxRecord bounds one signed record in bytes: 8 addresses of 60 bytes fit twice.
	maxRecord = 1024

	entrySize   = 8 + 8 + 2
	maxOffer    = 1 + offerSize*entrySize
	maxExchange = maxOffer + offerSize*(2+maxRecord) // bytes of one exchange each way, roughly
)

// PeersProtocol is the stream protocol by which the nodes of network tell each other of peers.
func PeersProtocol(network string) protocol.ID {
	return protocol.ID(Rendezvous(network)) + "/peers/1.0.0"
}

// errExchange is wrapped by every error about what a peer sent.
var errExchange = errors.New("malformed exchange")

// entry names a peer's record without carrying it.
type entry struct {
	key [8]byte // first bytes of SHA-256(peer id)
	seq uint64  // of its record
	age time.Duration
}

func keyOf(id peer.ID) (key [8]byte) {
	sum := sha256.Sum256([]byte(id))
	copy(key[:], sum[:])
	return key
}

// appendOffer appends what an answer names; entries are at most offerSize.
func appendOffer(b []byte, entries []entry) []byte {
	b = append(b, byte(len(entries)))
	for _, e := range entries {
		b = append(b, e.key[:]...)
		b = binary.BigEndian.AppendUint64(b, e.seq)
		b = binary.BigEndian.AppendUint16(b, uint16(min(e.age/time.Second, 1<<16-1)))
	}
	return b
}

// readOffer reads what appendOffer made.
func readOffer(r io.Reader) ([]entry, error) {
	var b [maxOffer]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return nil, fmt.Errorf("reading an offer: %w", err)
	}
	n := int(b[0])
	if n > offerSize {
		return nil, fmt.Errorf("%w: it offers %d peers, the limit is %d", errExchange, n, offerSize)
	}
	if _, err := io.ReadFull(r, b[1:1+n*entrySize]); err != nil {
		return nil, fmt.Errorf("reading an offer: %w", err)
	}
	entries := make([]entry, n)
	for i := range entries {
		p := b[1+i*entrySize:]
		entries[i] = entry{
			key: [8]byte(p), seq: binary.BigEndian.Uint64(p[8:]),
			age: time.Duration(binary.BigEndian.Uint16(p[16:])) * time.Second,
		}
	}
	return entries, nil
}

// want is a set of entries of one offer: bit i stands for the i-th.
type want uint16

func (w want) has(i int) bool { return w>>i&1 == 1 }

func appendWant(b []byte, w want) []byte { return binary.BigEndian.AppendUint16(b, uint16(w)) }

// readWant reads what appendWant made; it may name only the first offered.
func readWant(r io.Reader, offered int) (want, error) {
	var b [2]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("reading what is wanted: %w", err)
	}
	w := want(binary.BigEndian.Uint16(b[:]))
	if bits.Len16(uint16(w)) > offered {
		return 0, fmt.Errorf("%w: it wants what was not offered", errExchange)
	}
	return w, nil
}

// appendRecords appends records, each at most maxRecord long.
func appendRecords(b []byte, records [][]byte) []byte {
	for _, r := range records {
		b = binary.BigEndian.AppendUint16(b, uint16(len(r)))
		b = append(b, r...)
	}
	return b
}

// readRecords reads the records that w names, verifies each, and sees that it is the one that was offered. What came before
// an error is returned with it.
func readRecords(r io.Reader, offered []entry, w want) ([]signedRecord, error) {
	var records []signedRecord
	for i, e := range offered {
		if !w.has(i) {
			continue
		}
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return records, fmt.Errorf("reading records: %w", err)
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n > maxRecord {
			return records, fmt.Errorf("%w: a record of %d bytes, the limit is %d", errExchange, n, maxRecord)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return records, fmt.Errorf("reading records: %w", err)
		}
		rec, err := verifyRecord(b)
		if err != nil {
			return records, err
		}
		if keyOf(rec.id) != e.key || rec.seq != e.seq {
			return records, fmt.Errorf("%w: a record is not the one that was offered", errExchange)
		}
		records = append(records, rec)
	}
	return records, nil
}

// signedRecord is a libp2p peer record that its peer signed.
type signedRecord struct {
	bytes []byte
	id    peer.ID
	seq   uint64
	addrs []ma.Multiaddr // at most maxRecordAddrs, each at most maxAddrBytes
}

// verifyRecord checks the envelope's signature, that the peer itself signed, and that there is an address.
func verifyRecord(b []byte) (signedRecord, error) {
	if len(b) > maxRecord {
		return signedRecord{}, fmt.Errorf("%w: a record of %d bytes, the limit is %d", errExchange, len(b), maxRecord)
	}
	envelope, untyped, err := envelopes.ConsumeEnvelope(b, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return signedRecord{}, fmt.Errorf("%w: a peer record: %w", errExchange, err)
	}
	rec, ok := untyped.(*peer.PeerRecord)
	if !ok || !rec.PeerID.MatchesPublicKey(envelope.PublicKey) {
		return signedRecord{}, fmt.Errorf("%w: a peer record that its peer did not sign", errExchange)
	}
	r := signedRecord{bytes: bytes.Clone(b), id: rec.PeerID, seq: rec.Seq, addrs: boundAddrs(rec.Addrs)}
	if len(r.addrs) == 0 {
		return signedRecord{}, fmt.Errorf("%w: a peer record without an address", errExchange)
	}
	return r, nil
}

// boundAddrs returns the first of addrs that fit the limits.
func boundAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	var bounded []ma.Multiaddr
	for _, a := range addrs {
		if len(bounded) < maxRecordAddrs && len(a.Bytes()) <= maxAddrBytes {
			bounded = append(bounded, a)
		}
	}
	return bounded
}
