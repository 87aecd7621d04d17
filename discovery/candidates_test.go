package discovery

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// Peer ids of the table tests are plain text: only their order matters. The table's own is "m".
var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func newTable(limit int) *candidates {
	cfg := DefaultConfig()
	cfg.Candidates = limit
	return newCandidates("m", cfg, rand.New(rand.NewPCG(1, 2)))
}

func info(id string, ports ...int) peer.AddrInfo {
	i := peer.AddrInfo{ID: peer.ID(id)}
	for _, p := range ports {
		i.Addrs = append(i.Addrs, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p)))
	}
	return i
}

func none(peer.ID) link { return apart }

func everyone(*candidate) bool { return true }

// only has everyone connected but id.
func only(id peer.ID) links {
	return func(other peer.ID) link {
		if other == id {
			return apart
		}
		return inbound
	}
}

func ids(infos []peer.AddrInfo) []string {
	out := []string{}
	for _, i := range infos {
		out = append(out, string(i.ID))
	}
	return out
}

func TestTheSmallerPeerIDIsFirst(t *testing.T) {
	table := newTable(16)
	table.offer(info("a", 1), epoch) // smaller than m: it dials us, we wait
	table.offer(info("z", 1), epoch)
	require.Equal(t, []string{"z"}, ids(table.next(8, epoch, none, everyone)))
	require.Empty(t, table.next(8, epoch.Add(yield-1), none, everyone))
	require.Equal(t, []string{"a"}, ids(table.next(8, epoch.Add(2*yield), none, everyone)))
}

func TestNextTakesOnlyWhatIsDueAndApart(t *testing.T) {
	table := newTable(16)
	for _, id := range []string{"n", "o", "p", "q"} {
		table.offer(info(id, 1), epoch)
	}
	apartFromN := func(id peer.ID) link {
		if id == "n" {
			return inbound
		}
		return apart
	}
	require.Len(t, table.next(2, epoch, apartFromN, everyone), 2)
	require.Len(t, table.next(2, epoch, apartFromN, everyone), 1, "what is being dialled is not taken twice")
	require.Empty(t, table.next(0, epoch, none, everyone))
	require.Empty(t, table.next(-1, epoch, none, everyone))
	at, ok := table.wake(none)
	require.True(t, ok)
	require.Equal(t, epoch, at)
	_, ok = table.wake(apartFromN)
	require.False(t, ok)
}

func TestADialInVainBacksOffAndAnOfferDoesNotShortenIt(t *testing.T) {
	table := newTable(16)
	table.offer(info("z", 1), epoch)
	now := epoch
	for try := range 12 {
		require.Equal(t, []string{"z"}, ids(table.next(1, now, none, everyone)), "try %d", try)
		table.dialed("z", false, true, now)
		table.offer(info("z", 1), now)
		at, ok := table.wake(none)
		require.True(t, ok)
		retry := min(dialRetry<<try, maxDialRetry)
		require.GreaterOrEqual(t, at.Sub(now), retry/2)
		require.LessOrEqual(t, at.Sub(now), retry)
		require.Empty(t, table.next(1, at.Add(-1), none, everyone))
		now = at
	}
	table.next(1, now, none, everyone)
	table.dialed("z", true, true, now)
	table.lost(info("z", 1), now)
	require.Equal(t, []string{"z"}, ids(table.next(1, now, none, everyone)), "after a success the count starts anew")
}

func TestWhatFailedLeastIsDialledFirst(t *testing.T) {
	table := newTable(16)
	for _, id := range []string{"n", "o", "p"} {
		table.offer(info(id, 1), epoch)
	}
	table.next(3, epoch, none, everyone)
	table.dialed("n", false, true, epoch)
	table.dialed("o", true, true, epoch)
	table.dialed("p", false, true, epoch)
	table.next(2, epoch.Add(time.Minute), only("p"), everyone)
	table.dialed("p", false, true, epoch.Add(time.Minute))
	require.Equal(t, []string{"o", "n", "p"}, ids(table.next(3, epoch.Add(time.Hour), none, everyone)))
}

func TestOfferedAddressesAreMergedAndBounded(t *testing.T) {
	table := newTable(16)
	for port := 1; port <= 100; port++ {
		table.offer(info("z", port, 1), epoch)
	}
	taken := table.next(1, epoch, none, everyone)
	require.Len(t, taken[0].Addrs, maxCandidateAddrs)
	require.Equal(t, info("z", 100, 1, 99).Addrs, taken[0].Addrs[:3], "the newest first")
}

func TestAFloodOfNamesDisplacesNoProvenPeer(t *testing.T) {
	table := newTable(16)
	table.lost(info("proven", 1), epoch)
	for i := range 10 {
		id := fmt.Sprintf("old-%d", i)
		table.offer(info(id, 1), epoch)
	}
	table.next(16, epoch, none, everyone)
	for i := range 10 { // 3 failed first, then the others
		table.dialed(peer.ID(fmt.Sprintf("old-%d", (i+3)%10)), false, true, epoch.Add(time.Duration(i)*time.Second))
	}
	table.dialed("proven", false, true, epoch)

	for i := range 6 { // 5 fit, the 6th needs room: the oldest failure goes
		table.offer(info(fmt.Sprintf("new-%d", i), 1), epoch)
	}
	require.Len(t, table.byPeer, 16)
	require.NotContains(t, table.byPeer, peer.ID("old-3"))
	for i := range 10_000 {
		table.offer(info(fmt.Sprintf("flood-%d", i), 1), epoch)
		require.LessOrEqual(t, len(table.byPeer), 16)
	}
	require.Contains(t, table.byPeer, peer.ID("proven"))
	require.Equal(t, uint64(1+10_000), table.evicted)
}

func TestMendTakesALostNeighbourWhateverItsBackoff(t *testing.T) {
	table := newTable(16)
	table.offer(info("never-met", 1), epoch)
	require.Empty(t, table.mend(epoch, none))
	table.lost(info("lost", 1), epoch)
	require.Empty(t, table.mend(epoch, func(peer.ID) link { return inbound }), "it is back")
	for range 20 {
		require.Equal(t, []string{"lost"}, ids(table.mend(epoch, none)))
		require.Empty(t, table.mend(epoch, none), "one dial at a time")
		table.dialed("lost", false, true, epoch)
	}
}

func TestMendLeavesAloneWhatWasOnlyLetGo(t *testing.T) {
	table := newTable(16)
	now := epoch
	for round := range 4 { // reached, and let go again at once
		table.lost(info("let-go", 1), now)
		require.Equal(t, []string{"let-go"}, ids(table.mend(now, none)))
		table.dialed("let-go", true, true, now)
		table.lost(info("let-go", 1), now)
		pause := mendRetry << round
		require.Empty(t, table.mend(now.Add(pause-1), none))
		now = now.Add(pause)
	}

	table = newTable(16)
	table.lost(info("z", 1), epoch)
	require.Len(t, table.next(1, epoch, none, everyone), 1)
	table.dialed("z", true, true, epoch)
	table.lost(info("z", 1), epoch)
	require.Equal(t, []string{"z"}, ids(table.mend(epoch, none)), "an ordinary dial is no mend")
}

func TestForgetDropsWhatNobodyMentions(t *testing.T) {
	table := newTable(16)
	table.lost(info("gone", 1), epoch)
	table.lost(info("here", 1), epoch)
	table.offer(info("fresh", 1), epoch.Add(forgetAfter))
	table.forget(epoch.Add(forgetAfter), none)
	require.Len(t, table.byPeer, 3)
	table.forget(epoch.Add(forgetAfter+1), func(id peer.ID) link {
		if id == "here" {
			return outbound
		}
		return apart
	})
	require.Len(t, table.byPeer, 2)
	require.NotContains(t, table.byPeer, peer.ID("gone"))
}

func TestTheSameSeedMakesTheSameChoices(t *testing.T) {
	run := func() []string {
		table := newTable(16)
		for i := range 40 {
			table.offer(info(fmt.Sprintf("p-%d", i), 1), epoch)
		}
		return ids(table.next(16, epoch, none, everyone))
	}
	require.Equal(t, run(), run())
}

func TestAProvenPeerHasItsPlaceHoweverManyNeighboursThereAre(t *testing.T) {
	table := newTable(128)
	connected := map[peer.ID]link{}
	links := func(id peer.ID) link { return connected[id] }
	for i := range 4 { // as many as are to be chosen, each of a group of its own
		id := peer.ID(fmt.Sprintf("n-%d", i))
		table.met(id, fmt.Sprintf("10.%d.0.0/16", i), epoch)
		connected[id] = outbound
	}
	require.Empty(t, table.choose(-100, epoch, links))
	require.True(t, table.satisfied())
	table.restore(Remembered{Info: info("met-before", 1), Alive: epoch.Add(-time.Hour)}, epoch)
	table.restore(Remembered{Info: info("proven", 1), Alive: epoch.Add(-time.Hour), Chosen: true}, epoch)
	require.Equal(t, []string{"proven"}, ids(table.choose(-100, epoch.Add(2*yield), links)))
	table.dialed("proven", false, true, epoch.Add(2*yield))
	require.Empty(t, table.choose(-100, epoch.Add(2*yield), links), "it has a back-off")
	require.Equal(t, []string{"proven"}, ids(table.choose(-100, epoch.Add(time.Minute), links)))

	// Those chosen for long are proven, and take the places.
	require.Empty(t, table.choose(-100, epoch.Add(provenAfter), links))
	table.dialed("proven", false, true, epoch.Add(provenAfter))
	require.Empty(t, table.choose(-100, epoch.Add(2*provenAfter), links))
}

func TestRememberedPeersAreTheProvenAndThenTheLatest(t *testing.T) {
	table := newTable(128)
	for i, id := range []string{"a", "b", "c"} {
		table.restore(Remembered{Info: info(id, 1), Alive: epoch.Add(time.Duration(i) * time.Minute), Chosen: id == "a"}, epoch)
	}
	table.restore(Remembered{Info: info("m", 1), Alive: epoch}, epoch) // itself
	table.offer(info("heard-of", 1), epoch)
	table.next(8, epoch.Add(time.Minute), none, func(c *candidate) bool { return c.id == "b" })
	table.dialed("b", false, false, epoch.Add(time.Minute))
	got := table.remembered(epoch, none)
	require.Len(t, got, 3)
	require.Equal(t, []peer.ID{"a", "c", "b"}, []peer.ID{got[0].Info.ID, got[1].Info.ID, got[2].Info.ID})
	require.Equal(t, 1, got[2].Failures)
	require.Equal(t, epoch.Add(time.Minute), got[2].Failed)
}

func TestWhoTakesConnectionsAndClosesThemIsDialledLessAndLessOften(t *testing.T) {
	table := newTable(16)
	table.offer(info("z", 1), epoch)
	now := epoch
	for try := range 12 {
		require.Equal(t, []string{"z"}, ids(table.next(1, now, none, everyone)), "try %d", try)
		table.met("z", "10.0.0.0/16", now)
		table.dialed("z", true, true, now)
		now = now.Add(steady - 1)
		table.met("z", "10.0.0.0/16", now) // as whatever it says does
		table.lost(info("z", 1), now)
		at, ok := table.wake(none)
		require.True(t, ok)
		require.GreaterOrEqual(t, at.Sub(now), min(dialRetry<<try, maxDialRetry)/2)
		require.Empty(t, table.next(1, at.Add(-1), none, everyone))
		now = at
	}
	table.met("z", "10.0.0.0/16", now)
	table.lost(info("z", 1), now.Add(steady))
	require.Equal(t, []string{"z"}, ids(table.next(1, now.Add(steady), none, everyone)), "it lasted")
}

func TestWhoIsOfAnotherNetworkIsDialledLessAndLessOften(t *testing.T) {
	table := newTable(16)
	table.offer(info("z", 1), epoch)
	now := epoch
	for try := range 12 {
		require.Equal(t, []string{"z"}, ids(table.next(1, now, none, everyone)), "try %d", try)
		table.dialed("z", true, false, now)
		at, ok := table.wake(none)
		require.True(t, ok)
		require.GreaterOrEqual(t, at.Sub(now), min(dialRetry<<try, maxDialRetry)/2)
		now = at
	}
	table.met("z", "10.0.0.0/16", now) // it said later what it speaks
	table.lost(info("z", 1), now.Add(steady))
	require.Equal(t, []string{"z"}, ids(table.next(1, now.Add(steady), none, everyone)))
}

func TestWhoLeavesTheNetworkIsNoLongerChosen(t *testing.T) {
	table := newTable(128)
	links := func(id peer.ID) link { return outbound }
	require.False(t, table.left("z", epoch), "never heard of")
	table.met("z", "10.0.0.0/16", epoch)
	table.pushed(table.byPeer["z"])
	require.Empty(t, table.choose(0, epoch, links))
	require.Equal(t, []peer.ID{"z"}, table.keep())
	require.True(t, table.left("z", epoch))
	require.False(t, table.left("z", epoch))
	require.Empty(t, table.choose(0, epoch, links))
	require.Empty(t, table.keep(), "though it is connected")
	require.False(t, table.view.has("z"))
	table.offer(info("z", 1), epoch)
	require.Equal(t, []Remembered{{Info: info("z", 1), Alive: epoch}}, table.remembered(epoch.Add(time.Minute), links))
	table.met("z", "10.0.0.0/16", epoch)
	require.Empty(t, table.choose(0, epoch, links))
	require.Equal(t, []peer.ID{"z"}, table.keep(), "it is back")
}

func TestRememberedFailuresAreBounded(t *testing.T) {
	table := newTable(128)
	for i, failures := range []int{math.MaxInt, math.MinInt} {
		id := peer.ID(fmt.Sprint(i))
		table.restore(Remembered{Info: info(string(id), 1), Alive: epoch, Failures: failures}, epoch)
		table.next(1, epoch.Add(time.Minute), none, func(c *candidate) bool { return c.id == id })
		require.NotPanics(t, func() { table.dialed(id, false, false, epoch.Add(time.Minute)) })
	}
}
