package gossipstate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// FuzzApply takes the bytes of an update all the way into a replica that holds something: decode, verify, apply. A fuzzer
// cannot sign, so the same update is tried as a hostile owner would sign it as well: once as it stands, and once with the
// root, count and size that it leads to, so that whatever can be signed and verified is also applied.
func FuzzApply(f *testing.F) {
	honest, hostile := fuzzedOwners(f)
	for _, a := range []*author{honest, hostile} {
		for _, want := range []wire.Want{{}, {Version: 1}, {Version: 2}} {
			want.Owner = a.self.ID
			for _, u := range a.state.Updates(want, updateOverhead+100) {
				f.Add(wire.MarshalUpdate(&u))
			}
		}
		u, _ := a.state.Rumor(a.self.ID, 3)
		f.Add(wire.MarshalUpdate(&u))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := wire.UnmarshalUpdate(data)
		if err != nil {
			return
		}
		z := newFuzzed(t, honest, hostile)
		z.take(t, u, len(data))
		u.Digest.Owner = hostile.self.ID
		z.takeSigned(t, u, hostile, len(data))
		if want, next, _ := z.model.outcome(&u); want == Applied {
			u.Digest.Root, u.Digest.Entries, u.Digest.Bytes = slowRoot(next.entries), uint32(len(next.entries)), 0
			for _, e := range next.entries {
				u.Digest.Bytes += uint64(e.Size())
			}
			z.takeSigned(t, u, hostile, len(data))
		}
	})
}

// fuzzedOwners are two owners with everything in their past: keys that were set, replaced, deleted and forgotten.
func fuzzedOwners(t tester) (honest, hostile *author) {
	honest, hostile = newAuthor(1), newAuthor(2)
	for _, a := range []*author{honest, hostile} {
		a.write(t, testStart, set(keyName(0), "x"), set(keyName(1), strings.Repeat("y", 200)), set("gone", "x"))
		a.write(t, testStart, del("gone"), set(OwnedPrefix+"a", "x"))
		_, err := a.tryForgetting(testStart.Add(grace), uint64(testStart.Add(grace).UnixMilli()), set(keyName(2), "x"))
		require.NoError(t, err)
		a.write(t, testStart.Add(2*grace), del(keyName(0)))
	}
	return honest, hostile
}

// fuzzed is a replica under attack with its model.
type fuzzed struct {
	state *State
	model *slowState
}

// newFuzzed holds all of the honest owner and an early state of the hostile one.
func newFuzzed(t tester, honest, hostile *author) *fuzzed {
	z := &fuzzed{New(DefaultConfig(testDomain)), newSlowState()}
	for _, v := range honest.updates(t, wire.Want{}, wire.MaxFrame) {
		z.apply(t, &v)
	}
	early := newAuthor(2)
	early.write(t, testStart, set(keyName(0), "x"), set("gone", "x"))
	early.write(t, testStart, del("gone"))
	require.Equal(t, hostile.self.ID, early.self.ID)
	for _, v := range early.updates(t, wire.Want{}, wire.MaxFrame) {
		z.apply(t, &v)
	}
	return z
}

// takeSigned is take for an update that its owner signs as it stands.
func (z *fuzzed) takeSigned(t tester, u Update, a *author, size int) {
	u.Signed = wire.Sign(testDomain, &u.Digest, a.sign)
	z.take(t, u, size)
}

// take verifies u, of size bytes, and applies it if it is good. What it costs to keep is no more than what came.
func (z *fuzzed) take(t tester, u Update, size int) {
	v, err := wire.Verify(testDomain, u)
	if err != nil {
		return
	}
	before, staged := z.state.Totals(), z.state.stages.bytes
	z.apply(t, &v)
	after := z.state.Totals()
	require.LessOrEqual(t, after.Owners, before.Owners+1)
	require.LessOrEqual(t, after.Bytes, before.Bytes+size)
	require.LessOrEqual(t, after.Keys+after.Tombstones, before.Keys+before.Tombstones+len(u.Entries))
	kept := len(u.Entries) * stageEntry
	for i := range u.Entries {
		kept += u.Entries[i].Size()
	}
	require.LessOrEqual(t, z.state.stages.bytes, staged+kept)
}

// apply gives v to the replica and checks what came of it.
func (z *fuzzed) apply(t tester, v *wire.Verified) {
	want, next, matches := z.model.outcome(v.Update())
	good := matches && int(v.Update().Digest.Entries) == len(next.entries) && v.Update().Digest.Bytes == uint64(sizeOf(next.entries))
	result, err := z.state.Apply(v, ID{}, testStart.Add(time.Hour))
	switch {
	case want == Applied && !good:
		require.ErrorIs(t, err, ErrRootMismatch)
	default:
		require.NoError(t, err)
		require.Equal(t, want, result.Outcome)
	}
	if err == nil && want == Applied {
		z.model.replace(t, v.Update().Digest.Owner, next, &result)
	}
	z.model.requireEqual(t, z.state)
}

func sizeOf(entries map[string]Entry) int {
	size := 0
	for _, e := range entries {
		size += e.Size()
	}
	return size
}
