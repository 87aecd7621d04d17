package store

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func forgottenNote(id wire.ID, v wire.Version) Note {
	return Note{Owner: id, Forgotten: &Forgotten{Generation: 1 << 60, Version: v, Beat: 4096, Since: start.Local()}}
}

func proofNote(topic string, id wire.ID, v wire.Version) Note {
	return Note{Owner: id, Topic: topic, Proof: &Proof{signed(id, v), signed(id, v+1)}}
}

func notes(t *testing.T, s *Store, topic string) []Note {
	t.Helper()
	all, damaged, err := s.Notes(topic)
	require.NoError(t, err)
	require.Empty(t, damaged)
	return all
}

func TestNotesAreThereAfterTheStoreWasOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	require.Empty(t, notes(t, s, ""), "a store that never had any")
	require.NoError(t, s.CommitNotes([]Note{
		forgottenNote(owner(2), 5), forgottenNote(owner(1), 3), proofNote("main", owner(1), 7), proofNote("members", owner(1), 9),
		forgottenNote(owner(1), 4), // replaces
		forgottenNote(owner(3), 1), {Owner: owner(3), Drop: true}, {Owner: owner(9), Topic: "main", Drop: true},
	}))
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1, entry("k", "v", 1))}))
	require.NoError(t, s.Close())

	s = openAt(t, path)
	require.Equal(t, []Note{forgottenNote(owner(1), 4), forgottenNote(owner(2), 5)}, notes(t, s, ""))
	require.Equal(t, []Note{proofNote("main", owner(1), 7)}, notes(t, s, "main"))
	require.Equal(t, []Note{proofNote("members", owner(1), 9)}, notes(t, s, "members"))
	require.Empty(t, notes(t, s, "other"))
	require.Len(t, load(t, s, "main"), 1, "copies and notes do not meet")

	require.NoError(t, s.CommitNotes([]Note{{Owner: owner(1), Drop: true}, {Owner: owner(1), Topic: "main", Drop: true}}))
	require.Equal(t, []Note{forgottenNote(owner(2), 5)}, notes(t, s, ""))
	require.Empty(t, notes(t, s, "main"))
	require.Len(t, notes(t, s, "members"), 1)
}

func TestNotesThatCannotBeKeptAreRefusedWholly(t *testing.T) {
	s := newStore(t)
	long := proofNote("main", owner(1), 1)
	long.Proof[1].Digest = make([]byte, wire.MaxDigest+1)
	short := proofNote("main", owner(1), 1)
	short.Proof[0].Signature = short.Proof[0].Signature[:63]
	both := forgottenNote(owner(1), 1)
	both.Proof = long.Proof
	dropped := forgottenNote(owner(1), 1)
	dropped.Drop = true
	misplaced := forgottenNote(owner(1), 1)
	misplaced.Topic = "main"
	for what, n := range map[string]Note{
		"no owner": forgottenNote(wire.ID{}, 1), "nothing": {Owner: owner(1)}, "nothing on a topic": {Owner: owner(1), Topic: "main"},
		"a long digest": long, "a short signature": short, "both": both, "dropped and written": dropped,
		"a quarantine on a topic": misplaced, "a topic that is none": proofNote("Main", owner(1), 1), "a proof of no topic": {Owner: owner(1), Proof: long.Proof},
	} {
		require.ErrorContains(t, s.CommitNotes([]Note{forgottenNote(owner(7), 1), n}), "state store: note on", what)
	}
	require.Empty(t, notes(t, s, ""))
	_, _, err := s.Notes("Main")
	require.Error(t, err)
}

func TestADamagedNoteIsNamedAndLeftOutAndCostsNoOther(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.CommitNotes([]Note{
		forgottenNote(owner(1), 1), forgottenNote(owner(2), 2), proofNote("main", owner(1), 1), proofNote("main", owner(2), 2),
	}))
	damage := func(bucket []byte, change func(b *bbolt.Bucket)) {
		require.NoError(t, s.db.Update(func(tx *bbolt.Tx) error {
			change(tx.Bucket(bucket))
			return nil
		}))
	}
	one, two := owner(1), owner(2)
	damage(quarantineBucket, func(b *bbolt.Bucket) {
		v := bytes.Clone(b.Get(one[:]))
		v[3] ^= 1
		require.NoError(t, b.Put(one[:], v))
	})
	damage(proofBucket("main"), func(b *bbolt.Bucket) { // sound records in the wrong places or of the wrong form
		require.NoError(t, b.Put(one[:], b.Get(two[:])))
		require.NoError(t, b.Put([]byte("short"), seal(proofBucket("main"), []byte("short"), []byte("x"))))
		three := owner(3)
		require.NoError(t, b.Put(three[:], seal(proofBucket("main"), three[:], []byte{0, 9, 1})))
	})
	all, damaged, err := s.Notes("")
	require.NoError(t, err)
	require.Equal(t, []Note{forgottenNote(owner(2), 2)}, all)
	require.Len(t, damaged, 1)
	require.Equal(t, owner(1), damaged[0].Owner)

	all, damaged, err = s.Notes("main")
	require.NoError(t, err)
	require.Equal(t, []Note{proofNote("main", owner(2), 2)}, all)
	require.Len(t, damaged, 3)
}

// Fuzzed: no record makes a note that could not have been written.
func FuzzNote(f *testing.F) {
	quarantined, proved := forgottenNote(owner(1), 1), proofNote("main", owner(1), 1)
	f.Add(quarantined.payload(), false)
	f.Add(proved.payload(), true)
	f.Add([]byte{0, 200, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, proof bool) {
		n := Note{Owner: owner(1)}
		if proof {
			n.Topic = "main"
		}
		if n.parse(b) == nil {
			require.NoError(t, n.check())
			require.Equal(t, b, n.payload())
		}
	})
}

func TestNotesOfAClosedStoreAreAnError(t *testing.T) {
	s, _, err := open(filepath.Join(t.TempDir(), "state.db"), start, testOptions)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, _, err = s.Notes("")
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.CommitNotes([]Note{forgottenNote(owner(1), 1)}), ErrClosed)
}
