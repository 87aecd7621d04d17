package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var sampleSalt = wire.Salt{0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f}

func slowSummary(topic string, owners, fingerprint uint64) message {
	return message(nil).bytes(1, []byte(topic)).uint(2, owners).fixed64(3, fingerprint)
}

func slowItem(it *wire.Item) message {
	return slowWant(&wire.Want{Owner: it.Owner, Generation: it.Generation, Version: it.Version}).bytes(4, it.Root[:])
}

func slowWant(w *wire.Want) message {
	return message(nil).bytes(1, w.Owner[:]).fixed64(2, uint64(w.Generation)).uint(3, uint64(w.Version))
}

func slowSyncUpdate(topic string, u *wire.Update, age uint64) message {
	return message(nil).sub(4, message(nil).bytes(1, []byte(topic)).sub(2, slowUpdate(u)).uint(3, age))
}

func validSyncFrames() []vector {
	valid := func(name, what string, f wire.SyncFrame, b []byte) vector {
		return vec("sync_frame", name, what, b).holds(expect{SyncFrame: syncFrameOf(&f)})
	}
	salted := message(nil).bytes(1, sampleSalt[:])
	opening := wire.SyncHello{Salt: sampleSalt, Topics: []wire.SyncSummary{{Topic: "members", Owners: 5}, {Topic: "main", Owners: 300}}}
	answer := wire.SyncHello{Salt: sampleSalt, Topics: []wire.SyncSummary{{Topic: "members", Owners: 5, Fingerprint: math.MaxUint64}, {Topic: "main", Fingerprint: 1}}}
	item := wire.Item{Owner: alice.id, Generation: sampleGen, Version: 300, Root: slowRoot(sampleEntries(3))}
	items := wire.SyncItems{Topic: "main", Items: []wire.Item{item, {Owner: bob.id, Generation: math.MaxUint64, Version: math.MaxUint64, Root: item.Root}}, More: true}
	listed := message(nil).bytes(1, []byte("main")).sub(2, slowItem(&items.Items[0])).sub(2, slowItem(&items.Items[1])).bool(3, true)
	wants := wire.SyncWants{Topic: "main", Wants: []wire.Want{{Owner: alice.id, Generation: sampleGen, Version: 299}, {Owner: bob.id}}}
	wanted := message(nil).bytes(1, []byte("main")).sub(2, slowWant(&wants.Wants[0])).sub(2, slowWant(&wants.Wants[1]))
	asked := wants
	asked.Digests = true
	u := sampleUpdate()
	known := wire.Beat{Anchor: 0x57f9a3f9, Index: 2, Preimage: [16]byte{0x1d, 8, 15: 0x8a}}
	return []vector{
		valid("sync-hello-opening", "Opens a sync: how many owners of each topic; no fingerprints yet.", wire.SyncFrame{Hello: &opening},
			message(nil).sub(1, salted.sub(2, slowSummary("members", 5, 0)).sub(2, slowSummary("main", 300, 0)))),
		valid("sync-hello-answer", "Answers it, with fingerprints.", wire.SyncFrame{Hello: &answer},
			message(nil).sub(1, salted.sub(2, slowSummary("members", 5, math.MaxUint64)).sub(2, slowSummary("main", 0, 1)))),
		valid("sync-items", "Two owners' digests, more follow.", wire.SyncFrame{Items: &items}, message(nil).sub(2, listed)),
		valid("sync-items-none", "A topic of which nothing is held.", wire.SyncFrame{Items: &wire.SyncItems{Topic: "main"}},
			message(nil).sub(2, message(nil).bytes(1, []byte("main")))),
		valid("sync-wants", "What is newer than version 299 of alice, and all of bob.", wire.SyncFrame{Wants: &wants}, message(nil).sub(3, wanted)),
		valid("sync-wants-digests", "The digests of two owners.", wire.SyncFrame{Wants: &asked}, message(nil).sub(3, wanted.bool(3, true))),
		valid("sync-update", "A snapshot, its owner heard 1,500 ms ago.", wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "main", Update: u, Age: 1500 * time.Millisecond}},
			slowSyncUpdate("main", &u, 1500)),
		valid("sync-update-age-capped", "An age of ages reads as 365 days.",
			wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "main", Update: u, Age: 365 * 24 * time.Hour}}, slowSyncUpdate("main", &u, math.MaxUint64)).foreign(),
		valid("sync-update-beat", "A snapshot of members, with the newest beat that its sender knows.",
			wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "members", Update: u, Age: time.Second, Beat: &known}},
			message(nil).sub(4, message(nil).bytes(1, []byte("members")).sub(2, slowUpdate(&u)).uint(3, 1000).sub(4, slowBeat(&known)))),
		valid("sync-done", "Nothing more to say.", wire.SyncFrame{Done: true}, message(nil).sub(5, nil)),
		valid("sync-done-unknown-fields", "Fields of a later version beside the one known body.", wire.SyncFrame{Done: true},
			message(nil).sub(5, message(nil).uint(1, 1)).sub(100, []byte("later"))).foreign(),
	}
}

func invalidSyncFrames() []vector {
	bad := func(class, name, what string, b []byte) vector { return vec("sync_frame", name, what, b).fails(class) }
	hello := func(class, name, what string, b message) vector {
		return bad(class, name, what, message(nil).sub(1, b))
	}
	salted := message(nil).bytes(1, sampleSalt[:])
	topic := message(nil).bytes(1, []byte("main"))
	item := slowItem(&wire.Item{Owner: alice.id, Generation: 1, Version: 1, Root: slowRoot(sampleEntries(1))})
	want := slowWant(&wire.Want{Owner: alice.id})
	inItem, inWant := message(nil).sub(2, item), message(nil).sub(2, want)
	empty := message(nil).sub(2, nil)
	emptyEntry := message(nil).sub(3, nil)
	u := sampleUpdate()
	small := message(nil).sub(3, slowEntry(&wire.Entry{Key: "k", Version: 1, Clock: 1}))
	many := append(message(nil).sub(1, slowSigned(&u.Signed)), bytes.Repeat(small, wire.MaxEntries+1)...)
	return []vector{
		bad(classMalformed, "sync-nothing", "No body.", nil),
		bad(classMalformed, "sync-unknown-body", "A body of a later version alone: not one that is known.", message(nil).sub(100, nil)),
		bad(classMalformed, "sync-two-bodies", "Done and wants.", message(nil).sub(3, topic).sub(5, nil)),
		bad(classMalformed, "sync-truncated", "Ends inside the body.", message(nil).sub(3, topic)[:4]),
		hello(classMalformed, "sync-hello-short-salt", "A salt of 15 bytes.", message(nil).bytes(1, sampleSalt[:15])),
		hello(classMalformed, "sync-hello-no-salt", "No salt.", message(nil).sub(2, slowSummary("main", 1, 0))),
		hello(classMalformed, "sync-hello-upper-case", "A topic name with a capital.", salted.sub(2, slowSummary("Main", 1, 0))),
		hello(classMalformed, "sync-hello-no-topic", "A topic without a name.", salted.sub(2, slowSummary("", 1, 0))),
		hello(classMalformed, "sync-hello-long-topic", "A topic name of 33 bytes.", salted.sub(2, slowSummary(strings.Repeat("t", 33), 1, 0))),
		hello(classTooLarge, "sync-hello-65-topics", "One topic too many.", append(bytes.Clone(salted), bytes.Repeat(message(nil).sub(2, slowSummary("main", 1, 0)), 65)...)),
		bad(classMalformed, "sync-items-short-owner", "An owner of 31 bytes.", message(nil).sub(2, topic.sub(2, message(nil).bytes(1, alice.id[:31]).bytes(4, make([]byte, 32))))),
		bad(classMalformed, "sync-items-no-root", "An item without a root.", message(nil).sub(2, topic.sub(2, want))),
		bad(classMalformed, "sync-items-no-topic", "Items of no topic.", message(nil).sub(2, inItem)),
		bad(classTooLarge, "sync-items-2049", "One item too many.", message(nil).sub(2, append(bytes.Clone(topic), bytes.Repeat(inItem, wire.MaxFrameItems+1)...))).folded(inItem),
		bad(classTooLarge, "sync-items-split", "One item too many, in two bodies of 1 and 2,048, which protobuf merges.",
			message(nil).sub(2, topic.sub(2, item)).sub(2, bytes.Repeat(inItem, wire.MaxFrameItems))).folded(inItem),
		bad(classMalformed, "sync-wants-long-owner", "An owner of 33 bytes.", message(nil).sub(3, topic.sub(2, message(nil).bytes(1, make([]byte, 33))))),
		bad(classTooLarge, "sync-wants-2049", "One want too many.", message(nil).sub(3, append(bytes.Clone(topic), bytes.Repeat(inWant, wire.MaxFrameItems+1)...))).folded(inWant),
		bad(classMalformed, "sync-update-without-update", "A body without its update.", message(nil).sub(4, topic)),
		bad(classMalformed, "sync-update-without-digest", "An update without its digest.", message(nil).sub(4, topic.sub(2, nil))),
		bad(classMalformed, "sync-update-bad-topic", "A topic name with a space.", slowSyncUpdate("my topic", &u, 0)),
		bad(classMalformed, "sync-update-short-beat", "A beat of 15 bytes.",
			message(nil).sub(4, topic.sub(2, slowUpdate(&u)).sub(4, message(nil).fixed32(1, 1).uint(2, 1).bytes(3, make([]byte, 15))))),
		bad(classMalformed, "sync-update-beat-not-protobuf", "A field number of 31 bits in the beat.",
			message(nil).sub(4, topic.sub(2, slowUpdate(&u)).sub(4, append(slowBeat(&wire.Beat{}), 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0)))),
		bad(classTooLarge, "sync-update-4097-entries", "One entry more than an owner may have.", message(nil).sub(4, topic.sub(2, many))).folded(small),
		bad(classTooLarge, "sync-hello-bomb", "256 KiB of empty topics.", filledFrame(1, empty)).folded(empty),
		bad(classTooLarge, "sync-items-bomb", "256 KiB of empty items.", filledFrame(2, empty)).folded(empty),
		bad(classTooLarge, "sync-wants-bomb", "256 KiB of empty wants.", filledFrame(3, empty)).folded(empty),
		bad(classTooLarge, "sync-update-bomb", "256 KiB of empty entries, two levels down.", nestedBomb(emptyEntry)).folded(emptyEntry),
		bad(classTooLarge, "sync-over-256-kib", "Over the limit of a frame, by an unknown field.", message(nil).sub(5, nil).sub(100, make([]byte, wire.MaxFrame))).folded([]byte{0}),
	}
}

// filledFrame is a frame of nearly MaxFrame bytes whose body num is elements, over and over.
func filledFrame(num protowire.Number, element []byte) message {
	return message(nil).sub(num, bytes.Repeat(element, (wire.MaxFrame-8)/len(element)))
}

// nestedBomb is a sync frame of nearly MaxFrame bytes with an update that is empty entries alone.
func nestedBomb(entry []byte) message {
	return message(nil).sub(4, message(nil).sub(2, bytes.Repeat(entry, (wire.MaxFrame-16)/len(entry))))
}

func slowBeat(b *wire.Beat) message {
	return message(nil).fixed32(1, b.Anchor).uint(2, uint64(b.Index)).bytes(3, b.Preimage[:])
}

// packed64 is a packed list of fixed64.
func packed64(values ...uint64) (b []byte) {
	for _, v := range values {
		b = protowire.AppendFixed64(b, v)
	}
	return b
}

func validBeatFrames() []vector {
	valid := func(name, what string, f wire.BeatFrame, b []byte) vector {
		return vec("beat_frame", name, what, b).holds(expect{BeatFrame: beatFrameOf(&f)})
	}
	beats := []wire.Beat{
		{Anchor: sampleAnchor.Name(), Index: 1, Preimage: [16]byte{1, 2, 3}},
		{Anchor: 0xfffefdfc, Index: 4096, Preimage: [16]byte{15: 9}},
	}
	beat := func(name, what string, i int) vector {
		return vec("beat", name, what, slowBeat(&beats[i])).holds(expect{Beat: beatOf(&beats[i])})
	}
	d := memberDigest()
	signed := alice.signDigest(membersDomain, slowDigest(&d))
	first := wire.BeatFrame{Hello: &wire.BeatHello{Salt: sampleSalt, Topics: []string{"members", "main"}}, Digest: &signed}
	usual := wire.BeatFrame{Beats: beats, Fingerprints: []uint64{math.MaxUint64, 0}}
	usualHead := message(nil).sub(3, slowBeat(&beats[0])).sub(3, slowBeat(&beats[1]))
	unpacked := bytes.Clone(usualHead)
	for _, v := range usual.Fingerprints {
		unpacked = protowire.AppendFixed64(protowire.AppendTag(unpacked, 4, protowire.Fixed64Type), v)
	}
	return []vector{
		beat("beat-first", "The anchor's name is its first 4 bytes, big-endian: a0a1a2a3; fixed32 is little-endian on the wire.", 0),
		beat("beat-last", "The last beat of the longest chain.", 1),
		valid("beats-first-frame", "Salt and topics of this side, and its digest before its first beat.", first,
			message(nil).sub(1, message(nil).bytes(1, sampleSalt[:]).sub(2, []byte("members")).sub(2, []byte("main"))).sub(2, slowSigned(&signed))),
		valid("beats-usual", "Its own beat, one it passes on, and a fingerprint for each topic.", usual, usualHead.sub(4, packed64(usual.Fingerprints...))),
		valid("beats-unknown-anchors", "Asks for the digests behind two anchors.", wire.BeatFrame{Unknown: []uint32{sampleAnchor.Name(), 7}},
			message(nil).sub(5, protowire.AppendFixed32(protowire.AppendFixed32(nil, sampleAnchor.Name()), 7))),
		valid("beats-nothing", "An empty frame says nothing and is no fault.", wire.BeatFrame{}, nil),
		valid("beats-unpacked", "Fingerprints one by one instead of packed mean the same.", usual, unpacked).foreign(),
		valid("beats-unknown-fields", "Fields of a later version are skipped.", usual, usualHead.sub(4, packed64(usual.Fingerprints...)).sub(100, []byte("later"))).foreign(),
	}
}

func invalidBeatFrames() []vector {
	bad := func(class, name, what string, b []byte) vector { return vec("beat_frame", name, what, b).fails(class) }
	hello := func(class, name, what string, b message) vector {
		return bad(class, name, what, message(nil).sub(1, b))
	}
	salted := message(nil).bytes(1, sampleSalt[:])
	beat := message(nil).sub(3, slowBeat(&wire.Beat{Anchor: 1, Index: 1}))
	empty, emptyTopic := message(nil).sub(3, nil), message(nil).sub(2, nil)
	topics := bytes.Clone(salted)
	for i := range wire.MaxTopics + 1 {
		topics = message(topics).sub(2, fmt.Appendf(nil, "topic-%d", i))
	}
	return []vector{
		hello(classMalformed, "beats-short-salt", "A salt of 15 bytes.", message(nil).bytes(1, sampleSalt[:15])),
		hello(classMalformed, "beats-bad-topic", "A topic name with an underscore.", salted.sub(2, []byte("my_topic"))),
		hello(classTooLarge, "beats-65-topics", "One topic too many.", topics),
		bad(classMalformed, "beats-short-preimage", "A preimage of 15 bytes.", message(nil).sub(3, message(nil).fixed32(1, 1).uint(2, 1).bytes(3, make([]byte, 15)))),
		bad(classMalformed, "beats-odd-fingerprints", "Packed fingerprints of 15 bytes.", message(nil).sub(4, make([]byte, 15))),
		bad(classTooLarge, "beats-257", "One beat too many.", bytes.Repeat(beat, wire.MaxFrameBeats+1)).folded(beat),
		bad(classTooLarge, "beats-65-fingerprints", "More fingerprints than there can be topics.", message(nil).sub(4, make([]byte, 65*8))).folded([]byte{0}),
		bad(classTooLarge, "beats-257-unknown", "One unknown anchor too many.", message(nil).sub(5, make([]byte, 257*4))).folded([]byte{0}),
		bad(classTooLarge, "beats-bomb", "256 KiB of empty beats.", bytes.Repeat(empty, wire.MaxFrame/2)).folded(empty),
		bad(classTooLarge, "beats-hello-bomb", "256 KiB of empty topic names.", filledFrame(1, emptyTopic)).folded(emptyTopic),
		bad(classTooLarge, "beats-over-256-kib", "Over the limit of a frame, by an unknown field.", message(nil).sub(100, make([]byte, wire.MaxFrame))).folded([]byte{0}),
	}
}
