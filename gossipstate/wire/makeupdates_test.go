package wire_test

import (
	"bytes"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func updateVector(name, what string, domain wire.Domain, b []byte) vector {
	v := vec("update", name, what, b)
	v.Network, v.Topic = domain.Network, domain.Topic
	return v
}

// updateFields is what the vector of a valid update expects.
func updateFields(u *wire.Update) expect {
	j := updateOf(u)
	for i := range u.Entries {
		leaf := slowLeaf(&u.Entries[i])
		j.Entries[i].Leaf = hexOf(leaf[:])
	}
	whole := u.Previous == 0 && !u.More && len(u.Entries) == int(u.Digest.Entries)
	j.RootMatches = whole && slowRoot(u.Entries) == u.Digest.Root
	return expect{Update: j}
}

// sampleUpdate is alice's snapshot of sampleEntries(10), at versions 10 to 14.
func sampleUpdate() wire.Update {
	state := sampleEntries(10)
	return alice.commit(mainDomain, wire.Digest{Generation: sampleGen, Version: 14, Floor: 7}, 0, state, state)
}

func validUpdates() []vector {
	valid := func(name, what string, domain wire.Domain, u wire.Update) vector {
		return updateVector(name, what, domain, slowUpdate(&u)).holds(updateFields(&u))
	}
	state := sampleEntries(10)
	snapshot := sampleUpdate()
	d := snapshot.Digest
	part := alice.commit(mainDomain, d, 0, state[:4], state)
	part.More = true
	twice := []wire.Entry{{Key: "a", Value: []byte("1"), Version: 1, Clock: 1}, {Key: "a", Value: []byte("2"), Version: 2, Clock: 2}}
	large := []wire.Entry{largestEntry()}

	whole := slowUpdate(&snapshot)
	extended := message(nil).sub(1, slowSigned(&snapshot.Signed))
	for i := range state {
		extended = extended.sub(3, slowEntry(&state[i]).sub(100, []byte("later")))
	}
	reordered := message(nil)
	for i := range state {
		reordered = reordered.sub(3, slowEntry(&state[i]))
	}
	reordered = reordered.sub(1, slowSigned(&snapshot.Signed))
	return []vector{
		valid("update-rumor", "One commit: the two entries of version 14.", mainDomain, alice.commit(mainDomain, d, 13, state[8:], state)),
		valid("update-delta", "All above version 11, a tombstone's version excluded.", mainDomain, alice.commit(mainDomain, d, 11, state[4:], state)),
		valid("update-snapshot", "All from 0, a tombstone among them: the entries make the root.", mainDomain, snapshot),
		valid("update-snapshot-empty", "The state of an owner that has none.", mainDomain, alice.commit(mainDomain, wire.Digest{Generation: sampleGen, Version: 1}, 0, nil, nil)),
		valid("update-part", "The first part of a snapshot: more follows.", mainDomain, part),
		valid("update-last-part", "The last part: previous is still the first one's, the versions go on.", mainDomain, alice.commit(mainDomain, d, 0, state[4:], state)),
		valid("update-announcement", "previous = version, no entries: a change too large for a rumor.", mainDomain, alice.commit(mainDomain, d, 14, nil, state)),
		valid("update-key-twice", "A part may bring a key again at a higher version: the later one counts.", mainDomain,
			alice.commit(mainDomain, wire.Digest{Generation: sampleGen, Version: 2}, 0, twice, twice[1:])),
		valid("update-members-leaving", "On members, with beat fields, of an owner that leaves.", membersDomain,
			alice.commit(membersDomain, with(memberDigest(), func(d *wire.Digest) { d.Version = 14 }), 13, state[8:], state)),
		valid("update-largest-entry", "The largest entry there is.", mainDomain,
			alice.commit(mainDomain, wire.Digest{Generation: sampleGen, Version: 1}, 0, large, large)).folded([]byte("v")),
		updateVector("update-unknown-fields", "Fields of a later version are dropped.", mainDomain, whole.uint(15, 1).sub(100, []byte("later"))).
			foreign().holds(updateFields(&snapshot)),
		updateVector("update-unknown-entry-fields", "Those of entries as well: leaves and root stay.", mainDomain, extended).
			foreign().holds(updateFields(&snapshot)),
		updateVector("update-reordered", "The digest after the entries.", mainDomain, reordered).foreign().holds(updateFields(&snapshot)),
		updateVector("update-split-digest", "The signed digest in two pieces, which protobuf merges.", mainDomain,
			append(message(nil).sub(1, message(nil).bytes(1, snapshot.Signed.Digest)).sub(1, message(nil).bytes(2, snapshot.Signed.Signature)),
				whole[len(message(nil).sub(1, slowSigned(&snapshot.Signed))):]...)).foreign().holds(updateFields(&snapshot)),
	}
}

func invalidUpdates() []vector {
	bad := func(class, name, what string, change func(*wire.Update)) vector {
		u := with(sampleUpdate(), change)
		return updateVector(name, what, mainDomain, slowUpdate(&u)).fails(class)
	}
	malformed := func(name, what string, change func(*wire.Update)) vector {
		return bad(classMalformed, name, what, change)
	}
	raw := func(class, name, what string, b []byte) vector {
		return updateVector(name, what, mainDomain, b).fails(class)
	}

	snapshot := sampleUpdate()
	whole := slowUpdate(&snapshot)
	signed := message(nil).sub(1, slowSigned(&snapshot.Signed))
	small := message(nil).sub(3, slowEntry(&wire.Entry{Key: "k", Version: 1, Clock: 1}))
	empty := message(nil).sub(3, nil)
	return []vector{
		malformed("update-previous-above-version", "previous 15 of version 14.", func(u *wire.Update) { u.Previous, u.Entries = 15, nil }),
		malformed("update-entry-above-version", "An entry newer than the digest.", func(u *wire.Update) { u.Entries[9].Version = 15 }),
		malformed("update-entry-at-previous", "An entry at the version that the update starts from.", func(u *wire.Update) { u.Previous = 10 }),
		malformed("update-versions-out-of-order", "The newest entry first.", func(u *wire.Update) {
			u.Entries = append(u.Entries[9:], u.Entries[:9]...)
		}),
		malformed("update-keys-out-of-order", "Entries of one version in falling order of keys.", func(u *wire.Update) {
			u.Entries[0], u.Entries[1] = u.Entries[1], u.Entries[0]
		}),
		malformed("update-entry-twice", "One entry two times.", func(u *wire.Update) { u.Entries[1] = u.Entries[0] }),
		malformed("update-part-without-entries", "more, but nothing in this part.", func(u *wire.Update) { u.Entries, u.More = nil, true }),
		malformed("update-entry-without-clock", "One entry among ten breaks a rule.", func(u *wire.Update) { u.Entries[3].Clock = 0 }),
		bad(classTooLarge, "update-entry-too-large", "One entry among ten has a value of 64 KiB + 1.", func(u *wire.Update) {
			u.Entries[3].Value = bytes.Repeat([]byte("v"), wire.MaxValue+1)
		}).folded([]byte("v")),
		malformed("update-floor-above-version", "Floor 15 of version 14, signed so.", func(u *wire.Update) {
			u.Digest.Floor = 15
			*u = alice.seal(mainDomain, *u)
		}),
		malformed("update-tombstone-at-floor", "A tombstone at the floor, signed so: its owner said that it had dropped it.", func(u *wire.Update) {
			i := slices.IndexFunc(u.Entries, func(e wire.Entry) bool { return e.Tombstone })
			u.Digest.Floor = u.Entries[i].Version
			*u = alice.seal(mainDomain, *u)
		}),
		bad(classBadSignature, "update-other-topic", "Signed for another topic.", func(u *wire.Update) {
			*u = alice.seal(wire.Domain{Network: mainDomain.Network, Topic: "other"}, *u)
		}),
		bad(classBadSignature, "update-other-network", "Signed for another network.", func(u *wire.Update) {
			*u = alice.seal(wire.Domain{Network: "p2pnode-live", Topic: mainDomain.Topic}, *u)
		}),
		raw(classMalformed, "update-nothing", "No bytes: no digest.", nil),
		raw(classMalformed, "update-without-digest", "Entries alone.", whole[len(signed):]),
		raw(classMalformed, "update-truncated", "Ends inside the last entry.", whole[:len(whole)-1]),
		raw(classMalformed, "update-entry-field-number-too-large", "Field 4294967298 of an entry is no field: cut to 32 bits it would be the value.",
			append(bytes.Clone(signed), message(nil).sub(3, append(bytes.Clone(slowEntry(&snapshot.Entries[0])), 0x92, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01, 0x78))...)),
		raw(classMalformed, "update-unknown-group", "A group of unknown fields that never ends.", append(bytes.Clone(whole), 0x7b)),
		raw(classTooLarge, "update-4097-entries", "One entry more than an owner may have.",
			append(bytes.Clone(signed), bytes.Repeat(small, wire.MaxEntries+1)...)).folded(small),
		raw(classTooLarge, "update-bomb", "256 KiB of empty entries: 2 bytes each here, hundreds when decoded.", bytes.Repeat(empty, wire.MaxFrame/2)).folded(empty),
		raw(classTooLarge, "update-over-256-kib", "Over the limit of a frame, by an unknown field.",
			append(bytes.Clone(whole), message(nil).sub(100, make([]byte, wire.MaxFrame))...)).folded([]byte{0}),
	}
}
