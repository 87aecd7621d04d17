package sha256d

import (
	"encoding/binary"
	"fmt"

	"github.com/p2pnode/p2pnode/nonce"
)

const (
	headerSize = 76 // bytes without the nonce
	fullSize   = 80 // bytes with it
	nonceEnd   = 1 << 32
)

// Header is a block header without its nonce.
type Header [headerSize]byte

// ParseHeader reads a header in hex, white space allowed: 76 bytes, or 80 whose last 4, the nonce, are ignored.
func ParseHeader(text string) (Header, error) {
	b, err := nonce.ParsePayload(text)
	if err != nil {
		return Header{}, fmt.Errorf("block header: %w", err)
	}
	return NewHeader(b)
}

// NewHeader takes 76 bytes, or 80 whose last 4, the nonce, are ignored.
func NewHeader(b []byte) (Header, error) {
	if len(b) != headerSize && len(b) != fullSize {
		return Header{}, fmt.Errorf("block header has %d bytes, want 76 (without the nonce) or 80", len(b))
	}
	return Header(b[:headerSize]), nil
}

// Bits is the header's own target in its compact form.
func (h *Header) Bits() uint32 { return binary.LittleEndian.Uint32(h[72:]) }

// Target is what bits stand for: mantissa (low 3 bytes) x 256^(exponent (high byte) - 3). A target that is negative,
// zero, or above 2^256-1 is an error, as it is for bitcoin.
func Target(bits uint32) (nonce.Target, error) {
	exponent, mantissa := int(bits>>24), bits&0x7fffff
	if bits&0x800000 != 0 && mantissa != 0 {
		return nonce.Target{}, fmt.Errorf("bits %08x of the block header are a negative target", bits)
	}
	var t nonce.Target
	for i := range 3 { // byte i of the mantissa, least significant first
		digit := byte(mantissa >> (8 * i))
		at := exponent - 3 + i // its power of 256
		switch {
		case digit == 0 || at < 0:
		case at >= len(t):
			return nonce.Target{}, fmt.Errorf("bits %08x of the block header are a target above 2^256-1", bits)
		default:
			t[len(t)-1-at] = digit
		}
	}
	if t == (nonce.Target{}) {
		return nonce.Target{}, fmt.Errorf("bits %08x of the block header are a target of zero: no hash can be a hit", bits)
	}
	return t, nil
}
