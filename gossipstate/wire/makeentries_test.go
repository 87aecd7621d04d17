package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// sampleEntries are n entries in the order of an Update, each a little different: the third is a tombstone.
func sampleEntries(n int) []wire.Entry {
	entries := make([]wire.Entry, n)
	for i := range entries {
		entries[i] = wire.Entry{
			Key: fmt.Sprintf("key/%03d", i), Value: fmt.Appendf(nil, "value %d", i), Version: wire.Version(10 + i/2),
			Clock: wire.Clock(1 + i%3), ContentType: "text/plain", Written: 1_760_000_000_000 + uint64(i),
		}
		if i == 2 {
			entries[i].Tombstone, entries[i].Value, entries[i].ContentType = true, nil, ""
		}
	}
	return entries
}

func smallEntry() wire.Entry {
	return wire.Entry{Key: "color", Value: []byte("teal"), Version: 5, Clock: 1}
}

func fullEntry() wire.Entry {
	return wire.Entry{
		Key: "work/0123456789abcdef0123456789abcdef", Value: []byte(`{"kind":"sha256d"}`), Version: math.MaxUint64, Clock: math.MaxUint64,
		ContentType: "application/json", Written: math.MaxUint64, Expires: math.MaxUint64, Ext: []byte{0, 1, 2, 0xff},
	}
}

func largestEntry() wire.Entry {
	return wire.Entry{
		Key: strings.Repeat("k", wire.MaxKey), Value: bytes.Repeat([]byte("v"), wire.MaxValue), Version: 1, Clock: 1,
		ContentType: strings.Repeat("c", wire.MaxMeta/2), Ext: bytes.Repeat([]byte("e"), wire.MaxMeta/2),
	}
}

// entryFields is what an entry vector expects.
func entryFields(e wire.Entry) expect {
	j, key, leaf := entryOf(&e), slowHash([]byte(e.Key)), slowLeaf(&e)
	j.Size, j.KeyHash, j.Canonical, j.Leaf = int(slowBytes([]wire.Entry{e})), hexOf(key[:]), hexOf(slowCanonical(&e)), hexOf(leaf[:])
	return expect{Entry: j}
}

func validEntries() []vector {
	valid := func(name, what string, e wire.Entry) vector {
		return vec("entry", name, what, slowEntry(&e)).holds(entryFields(e))
	}
	foreign := func(name, what string, e wire.Entry, b []byte) vector {
		return vec("entry", name, what, b).foreign().holds(entryFields(e))
	}
	small, full := smallEntry(), fullEntry()
	encoded := slowEntry(&small)
	key := message(nil).bytes(1, []byte(small.Key))
	return []vector{
		valid("entry-small", "A key, a value, version and clock.", small),
		valid("entry-full", "Every field, every integer at its top.", full),
		valid("entry-tombstone", "A deleted key: no value, flag 1 in the canonical form.", wire.Entry{Key: "color", Version: 6, Clock: 2, Tombstone: true, Written: 1_760_000_000_000}),
		valid("entry-empty-value", "An empty value is a value: the key is there.", wire.Entry{Key: "color", Version: 6, Clock: 2}),
		valid("entry-unicode-key", "Keys are any UTF-8, NUL included, without normalisation.", wire.Entry{Key: "clé/鍵/\x00/🔑", Value: []byte{0xff}, Version: 1, Clock: 1}),
		valid("entry-own-key", "A key that starts with ~/ is coded as any other.", wire.Entry{Key: "~/x", Value: []byte("1"), Version: 1, Clock: 1}),
		valid("entry-meta-in-content-type", "Content type ab, no ext.", wire.Entry{Key: "m", Version: 1, Clock: 1, ContentType: "ab"}),
		valid("entry-meta-in-ext", "Ext ab, no content type: another leaf than the last one's.", wire.Entry{Key: "m", Version: 1, Clock: 1, Ext: []byte("ab")}),
		valid("entry-largest", "Key, value, content type and ext at their limits.", largestEntry()).folded([]byte("v")),
		foreign("entry-unknown-fields", "Fields of a later version outside ext are dropped and change no leaf.", small,
			encoded.uint(15, 7).sub(100, []byte("later"))),
		foreign("entry-reordered", "Key last.", small, append(bytes.Clone(encoded[len(key):]), key...)),
		foreign("entry-padded-integer", "Version 5 as a varint of three bytes, and the key's length as one of two.", small,
			bytes.Replace(bytes.Replace(encoded, []byte{0x18, 5}, []byte{0x18, 0x85, 0x80, 0}, 1), []byte{0x0a, 5}, []byte{0x0a, 0x85, 0}, 1)),
		foreign("entry-repeated-field", "The last of two values counts.", small, append(message(nil).bytes(2, []byte("crimson")), encoded...)),
		foreign("entry-zeros-written", "Zero fields that are written out mean the same as absent ones.", small,
			append(slices.Clone(encoded), 0x28, 0, 0x32, 0, 0x38, 0, 0x40, 0, 0x4a, 0)),
	}
}

func invalidEntries() []vector {
	bad := func(class, name, what string, change func(*wire.Entry)) vector {
		e := with(smallEntry(), change)
		return vec("entry", name, what, slowEntry(&e)).fails(class)
	}
	broken := func(name, what string, b []byte) vector { return vec("entry", name, what, b).fails(classMalformed) }
	small := smallEntry()
	whole := slowEntry(&small)
	return []vector{
		bad(classMalformed, "entry-empty-key", "A key has at least one byte.", func(e *wire.Entry) { e.Key = "" }),
		bad(classTooLarge, "entry-key-257", "A key of 257 bytes.", func(e *wire.Entry) { e.Key = strings.Repeat("k", 257) }),
		bad(classTooLarge, "entry-value-65537", "A value of 64 KiB + 1.", func(e *wire.Entry) { e.Value = bytes.Repeat([]byte("v"), 65537) }).folded([]byte("v")),
		bad(classTooLarge, "entry-meta-1025", "Content type and ext of 1,025 bytes together.", func(e *wire.Entry) {
			e.ContentType, e.Ext = strings.Repeat("c", 512), bytes.Repeat([]byte("e"), 513)
		}),
		bad(classMalformed, "entry-key-latin-1", "A key that is not UTF-8.", func(e *wire.Entry) { e.Key = "cl\xe9" }),
		bad(classMalformed, "entry-key-overlong", "An overlong encoding is not UTF-8.", func(e *wire.Entry) { e.Key = "a\xc0\xaf" }),
		bad(classMalformed, "entry-key-surrogate", "Neither is half of a surrogate pair.", func(e *wire.Entry) { e.Key = "\xed\xa0\x80" }),
		bad(classMalformed, "entry-key-cut", "Nor a character that is cut off.", func(e *wire.Entry) { e.Key = "\xf0\x9f\x94" }),
		bad(classMalformed, "entry-content-type-latin-1", "A content type that is not UTF-8.", func(e *wire.Entry) { e.ContentType = "t\xe9xt" }),
		bad(classMalformed, "entry-version-0", "An entry has a version.", func(e *wire.Entry) { e.Version = 0 }),
		bad(classMalformed, "entry-clock-0", "An entry has a clock.", func(e *wire.Entry) { e.Clock = 0 }),
		bad(classMalformed, "entry-tombstone-with-value", "A tombstone has no value.", func(e *wire.Entry) { e.Tombstone = true }),
		broken("entry-truncated", "Ends inside a field.", whole[:len(whole)-1]),
		broken("entry-length-past-end", "A key that is said to be longer than the message.", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 'k'}),
		broken("entry-field-0", "There is no field 0.", append(bytes.Clone(whole), 0x02, 0x00)),
		broken("entry-group-end", "The end of a group that never began.", append(bytes.Clone(whole), 0x7c)),
		broken("entry-other-wire-type", "The key as a varint.", append(bytes.Clone(whole), 0x08, 0x01)),
	}
}

func roots() []vector {
	root := func(name, what string, entries []wire.Entry) vector {
		var b message
		for i := range entries {
			b = b.sub(3, slowEntry(&entries[i]))
		}
		r := slowRoot(entries)
		return vec("root", name, what, b).holds(expect{Root: &rootJSON{Entries: len(entries), Bytes: slowBytes(entries), Root: hexOf(r[:])}})
	}
	reversed := sampleEntries(10)
	slices.Reverse(reversed)
	return []vector{
		root("root-0", "The empty set: 32 zero bytes.", nil),
		root("root-1", "One entry: its leaf is the root.", sampleEntries(1)),
		root("root-2", "Two entries: one node, however many leading bits of their key hashes are the same.", sampleEntries(2)),
		root("root-3", "Three entries, one of them a tombstone.", sampleEntries(3)),
		root("root-10", "Ten entries.", sampleEntries(10)),
		root("root-10-reversed", "The same ten in another order: the same root.", reversed),
		root("root-long-prefix", "Two keys whose hashes have their first 20 bits in common, and a third one between root and them.", closeEntries()),
	}
}

// closeEntries are entries of which two agree in exactly the first 20 bits of their key hashes.
func closeEntries() []wire.Entry {
	seen := map[[3]byte]int{}
	for i := 0; ; i++ {
		h := slowHash(fmt.Appendf(nil, "n%d", i))
		prefix := [3]byte{h[0], h[1], h[2] & 0xf8}
		other := prefix
		other[2] ^= 8
		if j, ok := seen[other]; ok {
			entries := sampleEntries(3)
			entries[0].Key, entries[1].Key = fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", j)
			return entries
		}
		seen[prefix] = i
	}
}
