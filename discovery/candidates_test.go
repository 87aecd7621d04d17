package discovery

import (
	"fmt"
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
	return newCandidates("m", limit, rand.New(rand.NewPCG(1, 2)))
}

func info(id string, ports ...int) peer.AddrInfo {
	i := peer.AddrInfo{ID: peer.ID(id)}
	for _, p := range ports {
		i.Addrs = append(i.Addrs, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p)))
	}
	return i
}

func none(peer.ID) bool { return false }

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
	require.Equal(t, []string{"z"}, ids(table.next(8, epoch, none)))
	require.Empty(t, table.next(8, epoch.Add(yield-1), none))
	require.Equal(t, []string{"a"}, ids(table.next(8, epoch.Add(2*yield), none)))
}

func TestNextTakesOnlyWhatIsDueAndApart(t *testing.T) {
	table := newTable(16)
	for _, id := range []string{"n", "o", "p", "q"} {
		table.offer(info(id, 1), epoch)
	}
	apartFromN := func(id peer.ID) bool { return id == "n" }
	require.Len(t, table.next(2, epoch, apartFromN), 2)
	require.Len(t, table.next(2, epoch, apartFromN), 1, "what is being dialled is not taken twice")
	require.Empty(t, table.next(0, epoch, none))
	require.Empty(t, table.next(-1, epoch, none))
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
		require.Equal(t, []string{"z"}, ids(table.next(1, now, none)), "try %d", try)
		table.dialed("z", false, now)
		table.offer(info("z", 1), now)
		at, ok := table.wake(none)
		require.True(t, ok)
		retry := min(dialRetry<<try, maxDialRetry)
		require.GreaterOrEqual(t, at.Sub(now), retry/2)
		require.LessOrEqual(t, at.Sub(now), retry)
		require.Empty(t, table.next(1, at.Add(-1), none))
		now = at
	}
	table.next(1, now, none)
	table.dialed("z", true, now)
	table.lost(info("z", 1), now)
	require.Equal(t, []string{"z"}, ids(table.next(1, now, none)), "after a success the count starts anew")
}

func TestWhatFailedLeastIsDialledFirst(t *testing.T) {
	table := newTable(16)
	for _, id := range []string{"n", "o", "p"} {
		table.offer(info(id, 1), epoch)
	}
	table.next(3, epoch, none)
	table.dialed("n", false, epoch)
	table.dialed("o", true, epoch)
	table.dialed("p", false, epoch)
	table.next(2, epoch.Add(time.Minute), func(id peer.ID) bool { return id != "p" })
	table.dialed("p", false, epoch.Add(time.Minute))
	require.Equal(t, []string{"o", "n", "p"}, ids(table.next(3, epoch.Add(time.Hour), none)))
}

func TestOfferedAddressesAreMergedAndBounded(t *testing.T) {
	table := newTable(16)
	for port := 1; port <= 100; port++ {
		table.offer(info("z", port, 1), epoch)
	}
	taken := table.next(1, epoch, none)
	require.Len(t, taken[0].Addrs, maxCandidateAddrs)
	require.Equal(t, "/ip4/127.0.0.1/tcp/1", taken[0].Addrs[0].String())
}

func TestAFloodOfNamesDisplacesNoProvenPeer(t *testing.T) {
	table := newTable(16)
	table.lost(info("proven", 1), epoch)
	for i := range 10 {
		id := fmt.Sprintf("old-%d", i)
		table.offer(info(id, 1), epoch)
	}
	table.next(16, epoch, none)
	for i := range 10 { // 3 failed first, then the others
		table.dialed(peer.ID(fmt.Sprintf("old-%d", (i+3)%10)), false, epoch.Add(time.Duration(i)*time.Second))
	}
	table.dialed("proven", false, epoch)

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
}

func TestMendTakesALostNeighbourWhateverItsBackoff(t *testing.T) {
	table := newTable(16)
	table.offer(info("never-met", 1), epoch)
	require.Empty(t, table.mend(epoch, none))
	table.lost(info("lost", 1), epoch)
	require.Empty(t, table.mend(epoch, func(peer.ID) bool { return true }), "it is back")
	for range 20 {
		require.Equal(t, []string{"lost"}, ids(table.mend(epoch, none)))
		require.Empty(t, table.mend(epoch, none), "one dial at a time")
		table.dialed("lost", false, epoch)
	}
}

func TestMendLeavesAloneWhatWasOnlyLetGo(t *testing.T) {
	table := newTable(16)
	now := epoch
	for round := range 4 { // reached, and let go again at once
		table.lost(info("let-go", 1), now)
		require.Equal(t, []string{"let-go"}, ids(table.mend(now, none)))
		table.dialed("let-go", true, now)
		table.lost(info("let-go", 1), now)
		pause := mendRetry << round
		require.Empty(t, table.mend(now.Add(pause-1), none))
		now = now.Add(pause)
	}

	table = newTable(16)
	table.lost(info("z", 1), epoch)
	require.Len(t, table.next(1, epoch, none), 1)
	table.dialed("z", true, epoch)
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
	table.forget(epoch.Add(forgetAfter+1), func(id peer.ID) bool { return id == "here" })
	require.Len(t, table.byPeer, 2)
	require.NotContains(t, table.byPeer, peer.ID("gone"))
}

func TestTheSameSeedMakesTheSameChoices(t *testing.T) {
	run := func() []string {
		table := newTable(16)
		for i := range 40 {
			table.offer(info(fmt.Sprintf("p-%d", i), 1), epoch)
		}
		return ids(table.next(16, epoch, none))
	}
	require.Equal(t, run(), run())
}
