package wire_test

import (
	"bytes"
	"math"
	"strings"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var (
	sampleCells  = append(bytes.Repeat([]byte{0xc0, 1, 2, 3, 4, 5, 6, 7, 0xcc, 9, 10, 11, 2}, 2), make([]byte, 13)...)
	sampleHashes = []byte{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8}
	sampleCursor = wire.Cursor{Generation: sampleGen, Previous: 12, Floor: 30, Version: 299, Key: "color", Newest: 310}
)

func slowCursor(c *wire.Cursor) message {
	return message(nil).fixed64(1, uint64(c.Generation)).uint(2, uint64(c.Previous)).uint(3, uint64(c.Floor)).
		uint(4, uint64(c.Version)).bytes(5, []byte(c.Key)).uint(6, uint64(c.Newest))
}

// validReconcileFrames are the sync frames by which a difference is found, and what a session tells about its end.
func validReconcileFrames() []vector {
	valid := func(name, what string, f wire.SyncFrame, b []byte) vector {
		return vec("sync_frame", name, what, b).holds(expect{SyncFrame: syncFrameOf(&f)})
	}
	topic := message(nil).bytes(1, []byte("main"))
	item := wire.Item{Owner: alice.id, Generation: sampleGen, Version: 300, Root: slowRoot(sampleEntries(3))}
	far := wire.Cursor{Generation: math.MaxUint64, Version: math.MaxUint64, Key: strings.Repeat("k", wire.MaxKey), Newest: math.MaxUint64}
	wants := wire.SyncWants{Topic: "main", Wants: []wire.Want{
		{Owner: alice.id, Generation: sampleGen, Version: 12, Staged: &sampleCursor}, {Owner: bob.id, Staged: &far},
	}}
	forgotten := wire.SyncHello{Salt: sampleSalt, Topics: []wire.SyncSummary{{Topic: "members", Owners: wire.MaxOwners, Fingerprint: 1}},
		Forgotten: &wire.Forgotten{Generation: sampleGen, Version: 300}}
	return []vector{
		valid("sync-hello-forgotten", "The answer to an owner that was forgotten at version 300 of members; as many owners as there may be.", wire.SyncFrame{Hello: &forgotten},
			message(nil).sub(1, message(nil).bytes(1, sampleSalt[:]).sub(2, slowSummary("members", wire.MaxOwners, 1)).
				sub(3, message(nil).fixed64(1, uint64(sampleGen)).uint(2, 300)))),
		valid("sync-ask-cells", "The first 16 cells.", wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main", Cells: 16}}, message(nil).sub(6, topic.uint(2, 16))),
		valid("sync-ask-hashes", "All hashes.", wire.SyncFrame{Ask: &wire.SyncAsk{Topic: "main"}}, message(nil).sub(6, topic)),
		valid("sync-cells", "Two cells with items and one without.", wire.SyncFrame{Cells: &wire.SyncCells{Cells: sampleCells}},
			message(nil).sub(7, message(nil).bytes(1, sampleCells))),
		valid("sync-hashes", "Two hashes.", wire.SyncFrame{Hashes: &wire.SyncHashes{Hashes: sampleHashes}}, message(nil).sub(8, message(nil).bytes(1, sampleHashes))),
		valid("sync-hashes-none", "The hashes of no items.", wire.SyncFrame{Hashes: &wire.SyncHashes{}}, message(nil).sub(8, nil)),
		valid("sync-items-partial", "One item that the other side lacks, and the hashes of two that this side lacks.",
			wire.SyncFrame{Items: &wire.SyncItems{Topic: "main", Items: []wire.Item{item}, Partial: true, Hashes: sampleHashes}},
			message(nil).sub(2, topic.sub(2, slowItem(&item)).bool(4, true).bytes(5, sampleHashes))),
		valid("sync-items-partial-more", "The hashes follow in the last frame.", wire.SyncFrame{Items: &wire.SyncItems{Topic: "main", Items: []wire.Item{item}, More: true, Partial: true}},
			message(nil).sub(2, topic.sub(2, slowItem(&item)).bool(3, true).bool(4, true))),
		valid("sync-wants-staged", "What follows \"color\" at version 299 in the update of alice after 12, and what follows the last possible entry of bob.",
			wire.SyncFrame{Wants: &wants}, message(nil).sub(3, topic.sub(2, slowWant(&wants.Wants[0]).sub(4, slowCursor(&sampleCursor))).
				sub(2, slowWant(&wants.Wants[1]).sub(4, slowCursor(&far))))),
		valid("sync-done-more", "There was more than went.", wire.SyncFrame{Done: true, More: true}, message(nil).sub(5, message(nil).bool(2, true))),
	}
}

func invalidReconcileFrames() []vector {
	bad := func(class, name, what string, b []byte) vector { return vec("sync_frame", name, what, b).fails(class) }
	topic := message(nil).bytes(1, []byte("main"))
	salted := message(nil).bytes(1, sampleSalt[:])
	cursor := func(class, name, what string, change func(*wire.Cursor)) vector {
		c := sampleCursor
		change(&c)
		return bad(class, name, what, message(nil).sub(3, topic.sub(2, slowWant(&wire.Want{Owner: alice.id}).sub(4, slowCursor(&c)))))
	}
	wideField := []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0} // an unknown field whose number has 31 bits
	return []vector{
		bad(classTooLarge, "sync-hello-16385-owners", "One owner more than a topic may have.", message(nil).sub(1, salted.sub(2, slowSummary("main", wire.MaxOwners+1, 0)))),
		bad(classMalformed, "sync-hello-forgotten-nowhere", "Forgotten at no generation.", message(nil).sub(1, salted.sub(3, message(nil).uint(2, 300)))),
		bad(classMalformed, "sync-hello-forgotten-no-version", "Forgotten at no version.", message(nil).sub(1, salted.sub(3, message(nil).fixed64(1, 1)))),
		bad(classMalformed, "sync-hello-forgotten-not-protobuf", "A field number of 31 bits two levels down.", message(nil).sub(1, salted.sub(3, append(message(nil).fixed64(1, 1).uint(2, 1), wideField...)))),
		bad(classMalformed, "sync-ask-no-topic", "Cells of no topic.", message(nil).sub(6, message(nil).uint(2, 16))),
		bad(classMalformed, "sync-ask-not-protobuf", "A field number of 31 bits in the ask.", message(nil).sub(6, append(bytes.Clone(topic), wideField...))),
		bad(classMalformed, "sync-ask-and-cells", "Two bodies.", message(nil).sub(6, topic).sub(7, message(nil).bytes(1, sampleCells))),
		bad(classMalformed, "sync-cells-none", "An answer of no cells.", message(nil).sub(7, nil)),
		bad(classMalformed, "sync-cells-cut", "38 bytes are not three cells.", message(nil).sub(7, message(nil).bytes(1, sampleCells[:38]))),
		bad(classMalformed, "sync-hashes-cut", "15 bytes are not two hashes.", message(nil).sub(8, message(nil).bytes(1, sampleHashes[:15]))),
		bad(classMalformed, "sync-items-hashes-cut", "15 bytes are not two hashes.", message(nil).sub(2, topic.bool(4, true).bytes(5, sampleHashes[:15]))),
		bad(classMalformed, "sync-items-whole-with-hashes", "A whole list asks for nothing by hash.", message(nil).sub(2, topic.bytes(5, sampleHashes))),
		bad(classMalformed, "sync-items-hashes-early", "Hashes in a frame that is not the last.", message(nil).sub(2, topic.bool(3, true).bool(4, true).bytes(5, sampleHashes))),
		cursor(classMalformed, "sync-wants-cursor-no-generation", "A cursor in no generation.", func(c *wire.Cursor) { c.Generation = 0 }),
		cursor(classMalformed, "sync-wants-cursor-no-key", "A cursor at no key.", func(c *wire.Cursor) { c.Key = "" }),
		cursor(classMalformed, "sync-wants-cursor-key-not-utf8", "A cursor at a key that is not UTF-8.", func(c *wire.Cursor) { c.Key = "\xff" }),
		cursor(classMalformed, "sync-wants-cursor-not-ahead", "A cursor at the version that its update starts from.", func(c *wire.Cursor) { c.Version = c.Previous }),
		cursor(classMalformed, "sync-wants-cursor-beyond", "A cursor beyond the newest digest.", func(c *wire.Cursor) { c.Newest = c.Version - 1 }),
		cursor(classTooLarge, "sync-wants-cursor-long-key", "A cursor at a key of 257 bytes.", func(c *wire.Cursor) { c.Key = strings.Repeat("k", wire.MaxKey+1) }),
		bad(classMalformed, "sync-done-not-protobuf", "A field number of 31 bits in done.", message(nil).sub(5, wideField)),
		bad(classTooLarge, "sync-cells-over-256-kib", "Over the limit of a frame.", message(nil).sub(7, message(nil).bytes(1, make([]byte, 13*20165)))).folded([]byte{0}),
	}
}
