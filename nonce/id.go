package nonce

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// ID names a worker or a submitter: the 32-byte key of the owner whose namespace it writes. IDs are ordered by their
// bytes. The zero ID is nobody.
type ID [32]byte

// Compare orders IDs by their bytes: negative when id comes before other.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// String is the first 8 hex digits: enough to tell workers apart in a log line, not to name one.
func (id ID) String() string { return hex.EncodeToString(id[:4]) }

// JobID names a job in the whole network. It binds the submitter and every byte of the definition.
type JobID [16]byte

// NewJobID is the id of the job that submitter defines by definition, the value of its key.
func NewJobID(submitter ID, definition []byte) JobID {
	h := sha256.New()
	h.Write(submitter[:])
	h.Write(definition)
	return JobID(h.Sum(nil)[:len(JobID{})])
}

// ParseJobID reads what String wrote: 32 lowercase hex digits.
func ParseJobID(text string) (JobID, error) {
	var id JobID
	if !hexInto(id[:], text) {
		return JobID{}, fmt.Errorf("job %.64q is not 32 lowercase hex digits", text)
	}
	return id, nil
}

// Compare orders job ids by their bytes.
func (id JobID) Compare(other JobID) int { return bytes.Compare(id[:], other[:]) }

// String is the id as keys hold it: 32 lowercase hex digits.
func (id JobID) String() string { return hex.EncodeToString(id[:]) }

// Hash is the hash of one try, in the byte order in which the hash function returns it. As a number it is little-endian,
// as bitcoin reads it.
type Hash [32]byte

// String is the hash as bitcoin displays it: 64 hex digits, most significant first, so a good one starts with zeros.
func (h Hash) String() string {
	slices.Reverse(h[:])
	return hex.EncodeToString(h[:])
}

// ParseHash reads what String wrote.
func ParseHash(text string) (Hash, error) {
	var h Hash
	if !hexInto(h[:], text) {
		return Hash{}, fmt.Errorf("hash %.80q is not 64 lowercase hex digits", text)
	}
	slices.Reverse(h[:])
	return h, nil
}

// Meets reports whether h is at or below the target: a hit.
func (h Hash) Meets(t Target) bool {
	slices.Reverse(h[:])
	return bytes.Compare(h[:], t[:]) <= 0
}

// Target is the largest hash that is a hit, a 256-bit number in big-endian order. Zero: not given.
type Target [32]byte

// ParseTarget reads 64 hex digits, most significant first. A zero target is an error: no hash would be a hit.
func ParseTarget(text string) (Target, error) {
	b, err := decodeHex("target", text)
	switch {
	case err != nil:
		return Target{}, err
	case len(b) != len(Target{}):
		return Target{}, fmt.Errorf("target has %d bytes, want 32 (64 hex digits, most significant first)", len(b))
	}
	t := Target(b)
	if t == (Target{}) {
		return Target{}, fmt.Errorf("target is zero: no hash can be a hit")
	}
	return t, nil
}

// String is the target in 64 hex digits, most significant first.
func (t Target) String() string { return hex.EncodeToString(t[:]) }

// ParsePayload reads hex digits with white space anywhere around or between them, in either case.
func ParsePayload(text string) ([]byte, error) { return decodeHex("payload", text) }

// decodeHex reads hex with white space allowed and says where text, called what, goes wrong.
func decodeHex(what, text string) ([]byte, error) {
	out := make([]byte, 0, len(text)/2)
	var digits int
	var high byte
	for i := range len(text) {
		c := text[i]
		var v byte
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			v = c - 'A' + 10
		default:
			return nil, fmt.Errorf("%s: %q at position %d is not a hex digit", what, c, i+1)
		}
		if digits%2 == 1 {
			out = append(out, high<<4|v)
		}
		high, digits = v, digits+1
	}
	if digits%2 == 1 {
		return nil, fmt.Errorf("%s: %d hex digits, an odd number: one is missing or too many", what, digits)
	}
	return out, nil
}

// hexInto fills dst from exactly 2*len(dst) lowercase hex digits, the one spelling that keys and values allow.
func hexInto(dst []byte, text string) bool {
	if len(text) != 2*len(dst) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(dst, []byte(text))
	return err == nil
}
