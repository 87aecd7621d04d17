package wire

import "strings"

// arenaChunk is how many bytes of keys, or of values, are allocated at a time. An entry that stays keeps the chunks of its key
// and its value, which bounds what a hostile owner can have wasted.
const arenaChunk = 512

// arena copies the keys and values of one update into few allocations: most are small. The zero arena is ready to use.
type arena struct {
	text   strings.Builder
	bytes  []byte
	toText int    // bytes of small keys that are still to come, as far as expect was told
	toCopy int    // likewise of values
	kind   string // content type of the entry before
}

// small says whether a field of n bytes goes into a chunk.
func small(n int) bool { return n <= arenaChunk/4 }

// expect notes that a key and a value of so many bytes will come.
func (a *arena) expect(key, value int) {
	if small(key) {
		a.toText += key
	}
	if small(value) {
		a.toCopy += value
	}
}

// string is a copy of b.
func (a *arena) string(b []byte) string {
	if !small(len(b)) {
		return string(b)
	}
	if a.text.Cap()-a.text.Len() < len(b) {
		a.text.Reset()
		a.text.Grow(max(len(b), min(a.toText, arenaChunk)))
	}
	a.toText -= len(b)
	start := a.text.Len()
	a.text.Write(b)
	return a.text.String()[start:]
}

// own is a copy of b; nil for empty.
func (a *arena) own(b []byte) []byte {
	if len(b) == 0 || !small(len(b)) {
		return own(b)
	}
	if cap(a.bytes)-len(a.bytes) < len(b) {
		a.bytes = make([]byte, 0, max(len(b), min(a.toCopy, arenaChunk)))
	}
	a.toCopy -= len(b)
	start := len(a.bytes)
	a.bytes = append(a.bytes, b...)
	return a.bytes[start:len(a.bytes):len(a.bytes)]
}

// contentType is a copy of b: the same one for entries in a row that have the same.
func (a *arena) contentType(b []byte) string {
	if string(b) != a.kind {
		a.kind = string(b)
	}
	return a.kind
}
