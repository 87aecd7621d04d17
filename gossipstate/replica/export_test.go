package replica

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// export is what n exports, opened again as from a file.
func (n *node) export(t *testing.T, o ExportOptions) (all []*Snapshot) {
	t.Helper()
	for s, err := range n.Export(t.Context(), o) {
		require.NoError(t, err)
		opened, err := OpenSnapshot("test", s.Topic(), s.Updates(), s.Heard())
		require.NoError(t, err)
		require.Equal(t, s.Digest(), opened.Digest())
		all = append(all, opened)
	}
	return all
}

// load imports all and returns what became of each.
func (n *node) load(t *testing.T, all []*Snapshot, dryRun bool) (results []ImportResult) {
	t.Helper()
	im := n.Import(dryRun)
	for _, s := range all {
		result, err := im.Add(context.Background(), s)
		if result != ImportRefused {
			require.NoError(t, err)
		}
		results = append(results, result)
	}
	return results
}

func repeated(result ImportResult, n int) (all []ImportResult) {
	for range n {
		all = append(all, result)
	}
	return all
}

func TestAnExportBringsBackTheStateOfANetworkThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(a, b)
		a.set(t, "color", "teal")
		b.set(t, "shape", "round")
		for i := range 12 {
			b.set(t, fmt.Sprint("large/", i), strings.Repeat("x", 60_000)) // more than one frame
		}
		within(t, 20*time.Second, "both agree", func() bool { return c.equal(a, b) })
		backup := a.export(t, ExportOptions{})
		require.Len(t, backup, 4)
		require.Greater(t, len(backup[2].parts)+len(backup[3].parts), 3)
		a.kill()
		b.kill()

		fresh := c.start(withFirstSync(0))
		<-fresh.Ready()
		before := []Digest{fresh.held(t, "members"), fresh.held(t, "main")}
		expected := fresh.load(t, backup, true)
		require.Equal(t, before, []Digest{fresh.held(t, "members"), fresh.held(t, "main")}, "a dry run changes nothing")
		require.Equal(t, repeated(ImportApplied, 4), expected)
		require.Equal(t, expected, fresh.load(t, backup, false))
		require.Equal(t, "teal", fresh.get(t, "color"))
		require.Equal(t, "round", fresh.get(t, "shape"))
		require.EqualValues(t, 4, fresh.count(CountApplied, "import"))
		require.Equal(t, repeated(ImportStale, 4), fresh.load(t, backup, false), "a second time there is nothing to do")
		require.Equal(t, repeated(ImportStale, 4), fresh.load(t, backup, true))

		other := c.start()
		c.connect(other, fresh)
		within(t, 10*time.Second, "others get it from there", func() bool { return other.get(t, "shape") == "round" && c.equal(fresh, other) })
	})
}

// held is what n holds of a topic.
func (n *node) held(t *testing.T, topic string) Digest {
	t.Helper()
	tp, err := n.Topic(topic)
	require.NoError(t, err)
	d, err := tp.Digest(t.Context())
	require.NoError(t, err)
	return d
}

func TestANodeThatLostItsStoreImportsItsOwnState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withStore(openStore(t, t.TempDir())))
		n.set(t, "mine", "from the first life")
		backup := n.export(t, ExportOptions{})
		n.kill()
		time.Sleep(time.Second)
		dir := t.TempDir()
		st := openStore(t, dir)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		<-again.Ready()
		require.Equal(t, []ImportResult{ImportStale, ImportApplied}, again.load(t, backup, true), "of itself on members it has said newer things")
		require.Equal(t, []ImportResult{ImportStale, ImportApplied}, again.load(t, backup, false))
		require.Equal(t, "from the first life", again.get(t, "mine"))
		require.Equal(t, again.me(t).generation, again.digest(t, "main", again.self).Generation, "signed anew in this life")
		again.set(t, "other", "from the second life")
		again.kill()
		third := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "from the first life", third.get(t, "mine"), "on disk as well")
		require.Equal(t, "from the second life", third.get(t, "other"))
	})
}

func TestANodeThatHasWrittenSinceKeepsWhatItWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		first := openStore(t, t.TempDir())
		raise(t, first, 365*24*time.Hour) // the clock of the first life stood ahead
		n := c.start(withStore(first))
		n.set(t, "mine", "from the first life")
		backup := n.export(t, ExportOptions{Topic: "main"})[1:]
		n.kill()
		again := c.start(withKey(n.key), withFirstSync(0))
		again.set(t, "new", "from the second life")
		before := again.me(t).generation
		require.Equal(t, []ImportResult{ImportOwnChanged}, again.load(t, backup, true))
		require.Equal(t, before, again.me(t).generation, "a dry run changes nothing")
		require.Equal(t, []ImportResult{ImportOwnChanged}, again.load(t, backup, false))
		require.Empty(t, again.get(t, "mine"))
		require.Equal(t, "from the second life", again.get(t, "new"))
		require.Greater(t, again.digest(t, "main", again.self).Generation, backup[0].Digest().Generation, "above what others may have of the first")
		again.set(t, "new", "it writes on")
	})
}

func TestExportByTopicAndPrefixBringsTheMembersThatAreNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, idle := c.start(), c.start(), c.start()
		c.connect(a, b)
		c.connect(a, idle)
		a.set(t, "app/color", "teal")
		b.set(t, "job/1", "x")
		_, err := b.topic(t).Delete(t.Context(), "job/1", WriteOptions{})
		require.NoError(t, err)
		within(t, 10*time.Second, "all agree", func() bool { return c.equal(a, b, idle) })
		who := func(o ExportOptions) (all []string) {
			for _, s := range idle.export(t, o) {
				all = append(all, s.Topic()+" "+map[string]string{
					a.host.ID().String(): "a", b.host.ID().String(): "b", idle.host.ID().String(): "idle",
				}[s.Owner().String()])
			}
			return all
		}
		require.ElementsMatch(t, []string{"members a", "members b", "members idle", "main a", "main b"}, who(ExportOptions{}))
		require.ElementsMatch(t, []string{"members a", "members b", "main a", "main b"}, who(ExportOptions{Topic: "main"}))
		require.ElementsMatch(t, []string{"members a", "members b", "members idle"}, who(ExportOptions{Topic: "members"}))
		require.Equal(t, []string{"members a", "main a"}, who(ExportOptions{Prefix: "app/"}))
		require.Equal(t, []string{"members b", "main b"}, who(ExportOptions{Topic: "main", Prefix: "job/"}), "a deletion counts")
		require.Empty(t, who(ExportOptions{Prefix: "none/"}))
		for _, err := range a.Export(t.Context(), ExportOptions{Topic: "none"}) {
			require.ErrorContains(t, err, `not on topic "none"`)
		}
	})
}

func TestImportRefusesWhatARunningReplicaWouldRefuseFromAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start()
		a.set(t, "color", "teal")
		backup := a.export(t, ExportOptions{})
		a.kill()
		fresh := c.start(withFirstSync(0))
		<-fresh.Ready()
		for _, dryRun := range []bool{true, false} {
			require.Equal(t, []ImportResult{ImportOwnerUnknown}, fresh.load(t, backup[1:], dryRun), "members comes first")
		}
		old := make([]*Snapshot, 0, len(backup))
		for _, s := range backup {
			s, err := OpenSnapshot("test", s.Topic(), s.Updates(), time.Now().Add(-fresh.cfg.Liveness.ForgetAfter-time.Minute))
			require.NoError(t, err)
			old = append(old, s)
		}
		for _, dryRun := range []bool{true, false} {
			require.Equal(t, []ImportResult{ImportForgotten, ImportOwnerUnknown}, fresh.load(t, old, dryRun))
		}
		require.Empty(t, fresh.get(t, "color"))
		_, err := fresh.Import(true).Add(t.Context(), &Snapshot{topic: "none", parts: backup[0].parts})
		require.ErrorContains(t, err, `not on topic "none"`)
	})
}

func TestOpenSnapshotTakesOnlyWholeSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start()
		for i := range 8 {
			a.set(t, fmt.Sprint("large/", i), strings.Repeat("x", 60_000))
		}
		whole := a.export(t, ExportOptions{Topic: "main"})[1]
		parts := whole.Updates()
		require.Greater(t, len(parts), 1)
		var delta []gossipstate.Update
		a.table(t, func(tb *table) {
			d := whole.Digest()
			delta = tb.topics["main"].state.Updates(wire.Want{Owner: a.self, Generation: d.Generation, Version: d.Version - 1}, wire.MaxFrame)
		})
		for what, updates := range map[string][][]byte{
			"nothing": nil, "the first part alone": parts[:1], "the last part alone": parts[1:],
			"a part twice": append(parts[:1:1], parts...), "too many": make([][]byte, MaxParts+1),
			"a delta": {wire.MarshalUpdate(&delta[0])}, "no update": {[]byte("teal")},
		} {
			_, err := OpenSnapshot("test", "main", updates, time.Time{})
			require.Error(t, err, what)
		}
		_, err := OpenSnapshot("prod", "main", parts, time.Time{})
		require.ErrorIs(t, err, wire.ErrBadSignature)
		_, err = OpenSnapshot("Test", "main", parts, time.Time{})
		require.ErrorIs(t, err, wire.ErrMalformed)
	})
}
