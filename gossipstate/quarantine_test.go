package gossipstate

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOnlyALargerProofOfLifeGetsPastTheQuarantine(t *testing.T) {
	var q Quarantine
	owner, other := ID{1}, ID{2}
	q.Add(Forgotten{Owner: owner, Generation: 7, Version: 20, Beat: 100, Since: testStart})
	for _, c := range []struct {
		what    string
		digest  Digest
		beat    uint32
		refused bool // as a digest
		beatToo bool // refused as a beat
	}{
		{"the digest it was forgotten at", Digest{Owner: owner, Generation: 7, Version: 20}, 100, true, true},
		{"the same, with a later beat", Digest{Owner: owner, Generation: 7, Version: 20}, 101, true, false},
		{"an earlier version", Digest{Owner: owner, Generation: 7, Version: 19}, 4000, true, true},
		{"an earlier generation, whatever its version", Digest{Owner: owner, Generation: 6, Version: 9000}, 4000, true, true},
		{"a later version", Digest{Owner: owner, Generation: 7, Version: 21}, 0, false, false},
		{"a later generation, whatever its version", Digest{Owner: owner, Generation: 8, Version: 1}, 0, false, false},
		{"another owner", Digest{Owner: other, Generation: 1, Version: 1}, 0, false, false},
	} {
		require.Equal(t, c.refused, q.Refuses(&c.digest), c.what)
		require.Equal(t, c.beatToo, q.RefusesBeat(&c.digest, c.beat), c.what)
	}
	require.True(t, q.Lift(owner))
	require.False(t, q.Lift(owner))
	require.False(t, q.Refuses(&Digest{Owner: owner, Generation: 7, Version: 20}))
}

func TestAnOwnerForgottenTwiceIsHeldAtTheLaterPoint(t *testing.T) {
	var q Quarantine
	early := Forgotten{Owner: ID{1}, Generation: 7, Version: 20, Since: testStart}
	late := Forgotten{Owner: ID{1}, Generation: 7, Version: 21, Since: testStart.Add(time.Hour)}
	q.Add(early)
	q.Add(late)
	q.Add(early)
	require.Equal(t, []Forgotten{late}, q.All())
	require.Empty(t, q.Expire(testStart.Add(QuarantineFor)), "its time began anew")
	require.Equal(t, []ID{{1}}, q.Expire(testStart.Add(QuarantineFor+time.Hour)))
	require.Zero(t, q.Len())
}

func TestAFullQuarantineLetsGoWhoIsLongestThere(t *testing.T) {
	var q Quarantine
	id := func(n int) ID { return ID{byte(n), byte(n >> 8)} }
	at := func(n int) Forgotten {
		return Forgotten{Owner: id(n), Generation: 1, Version: 1, Since: testStart.Add(time.Duration(n) * time.Second)}
	}
	for n := range MaxQuarantined {
		require.Empty(t, q.Add(at(n)))
	}
	q.Lift(id(0))
	require.Empty(t, q.Add(at(MaxQuarantined)), "there was room again")
	require.Equal(t, []ID{id(1)}, q.Add(at(MaxQuarantined+1)))
	require.Equal(t, MaxQuarantined, q.Len())
}

// slowQuarantine is the obvious form of Quarantine: a list in order of entry.
type slowQuarantine []Forgotten

func (q *slowQuarantine) find(owner ID) int {
	return slices.IndexFunc(*q, func(f Forgotten) bool { return f.Owner == owner })
}

func (q *slowQuarantine) remove(owner ID) bool {
	i := q.find(owner)
	if i >= 0 {
		*q = slices.Delete(*q, i, i+1)
	}
	return i >= 0
}

func TestTheQuarantineIsWhatAListInOrderOfEntryWouldBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fast Quarantine
		var slow slowQuarantine
		now := testStart
		owner := rapid.Custom(func(t *rapid.T) ID { return ID{rapid.Byte().Draw(t, "owner") % 6} })
		t.Repeat(map[string]func(*rapid.T){
			"forget": func(t *rapid.T) {
				f := Forgotten{
					Owner: owner.Draw(t, "who"), Generation: Generation(rapid.IntRange(1, 3).Draw(t, "generation")),
					Version: Version(rapid.IntRange(1, 3).Draw(t, "version")), Beat: uint32(rapid.IntRange(0, 2).Draw(t, "beat")), Since: now,
				}
				fast.Add(f)
				i := slow.find(f.Owner)
				if i >= 0 && cmp.Or(cmp.Compare(f.Generation, slow[i].Generation), cmp.Compare(f.Version, slow[i].Version), cmp.Compare(f.Beat, slow[i].Beat)) <= 0 {
					return
				}
				slow.remove(f.Owner)
				slow = append(slow, f)
			},
			"lift": func(t *rapid.T) {
				who := owner.Draw(t, "who")
				require.Equal(t, slow.remove(who), fast.Lift(who))
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "days")) * 24 * time.Hour)
				var expired []ID
				for len(slow) > 0 && now.Sub(slow[0].Since) >= QuarantineFor {
					expired = append(expired, slow[0].Owner)
					slow = slow[1:]
				}
				require.Equal(t, expired, fast.Expire(now))
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(slow), fast.Len())
				require.Equal(t, []Forgotten(append(slowQuarantine{}, slow...)), fast.All())
				require.LessOrEqual(t, len(fast.queue), 2*fast.Len()+17)
			},
		})
	})
}
