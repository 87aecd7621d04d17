package node

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/bootstrap"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

func statuses(checks []Check) map[string]string {
	all := map[string]string{}
	for _, c := range checks {
		all[c.Name] = c.Status
	}
	return all
}

func TestANodeIsReadyOnceItHasSyncedAndStaysSoWithoutPeers(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	require.Equal(t, map[string]string{"started": "ok", "identity": "ok", "storage": "ok", "sync": "ok"}, statuses(a.Readiness(t.Context())))
	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{a.address()}
	b := start(t, cfg) // it waits for the first sync, which comes at once
	require.Equal(t, map[string]string{"started": "ok", "identity": "ok", "storage": "ok", "sync": "ok"}, statuses(b.Readiness(t.Context())))
	b.awaitStatus(t, a.Info().ID, "alive")
	health := statuses(b.Health(t.Context()))
	require.Equal(t, map[string]string{
		"identity": "ok", "storage": "ok", "sync": "ok", "clock": "ok", "membership": "ok", "bootstrap": "ok",
	}, health)

	require.NoError(t, a.stop())
	b.awaitStatus(t, a.Info().ID, "left")
	require.Eventually(t, func() bool { return len(b.host.Network().Peers()) == 0 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, "ok", statuses(b.Readiness(t.Context()))["sync"], "it has what the network had")
}

func TestANodeThatHasStoppedIsNotReady(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	require.NoError(t, a.stop())
	require.Equal(t, map[string]string{"started": "fail"}, statuses(a.Readiness(t.Context())))
	require.Equal(t, map[string]string{"started": "fail"}, statuses(a.Health(t.Context())))
}

func TestTheIdentityIsCheckedAsTheNextStartWillReadIt(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	file := a.cfg.IdentityPath()
	identity := func() Check { return a.Health(t.Context())[0] }
	require.Equal(t, "key readable, mode 0600", identity().Detail)

	require.NoError(t, os.Chmod(file, 0o644))
	require.Equal(t, CheckFail, identity().Status)
	require.Contains(t, identity().Detail, "can be read by other users")
	require.Contains(t, identity().Hint, "chmod 600")

	require.NoError(t, os.Remove(file))
	require.Equal(t, CheckFail, identity().Status)
	require.Contains(t, identity().Detail, "is gone")
	_, err := MakeIdentity(file)
	require.NoError(t, err)
	require.Equal(t, CheckFail, identity().Status)
	require.Contains(t, identity().Detail, "another key")
}

func TestOnlyAnIdentityThatStoppedWritingFails(t *testing.T) {
	require.Equal(t, CheckOK, identityCheck(replica.Identity{}).Status)
	require.Equal(t, CheckOK, identityCheck(replica.Identity{Withdrawn: 3}).Status, "that is over")
	require.Equal(t, CheckWarn, identityCheck(replica.Identity{Moved: true}).Status)
	stopped := identityCheck(replica.Identity{Moved: true, Stopped: true})
	require.Equal(t, CheckFail, stopped.Status)
	require.Contains(t, stopped.Detail, "does not write any more")
}

func TestAFullDiskFailsTheStorageCheck(t *testing.T) {
	n := &Node{cfg: localConfig(t, "a")}
	require.NoError(t, os.Mkdir(n.cfg.DataDir, 0o700))
	require.NotEqual(t, CheckFail, n.diskCheck(nil).Status)
	full := n.diskCheck(&os.PathError{Op: "write", Path: "state.db", Err: syscall.ENOSPC})
	require.Equal(t, CheckFail, full.Status)
	require.Contains(t, full.Detail, "no space left in "+n.cfg.DataDir)
	broken := n.diskCheck(errors.New("input/output error"))
	require.Equal(t, CheckFail, broken.Status)
	require.Contains(t, broken.Detail, "input/output error")
	n.cfg.DataDir = filepath.Join(n.cfg.DataDir, "missing")
	require.Equal(t, CheckFail, n.diskCheck(nil).Status)
}

func TestNoSyncFailsOnlyWhereABootstrapPeerIsWanted(t *testing.T) {
	for name, c := range map[string]struct {
		synced bool
		state  bootstrap.State
		want   string
	}{
		"the first of its network":    {false, bootstrap.State{}, CheckOK},
		"not joined yet":              {false, bootstrap.State{Wanted: 2}, CheckFail},
		"connected, not synced":       {false, bootstrap.State{Wanted: 2, Connected: 1}, CheckFail},
		"synced":                      {true, bootstrap.State{Wanted: 2, Connected: 1}, CheckOK},
		"synced, and then left alone": {true, bootstrap.State{Wanted: 2}, CheckOK},
	} {
		require.Equal(t, c.want, syncCheck(c.synced, c.state, 0).Status, name)
	}
	require.Equal(t, "no sync with a peer yet; 7 peers of an earlier run are dialled", syncCheck(false, bootstrap.State{}, 7).Detail)
	require.Equal(t, "no sync with a peer yet; 1 of 2 bootstrap peers connected; 7 peers of an earlier run are dialled",
		syncCheck(false, bootstrap.State{Wanted: 2, Connected: 1}, 7).Detail)
}

func TestTheClockCheckWarnsFromTheLimitOn(t *testing.T) {
	members := []replica.Member{{Status: "alive", Clock: -time.Minute, ClockKnown: true}}
	require.Equal(t, Check{Name: "clock", Status: CheckOK, Detail: "+60.0 s against members' median (limit 61 s)"}, clockCheck(members, 61*time.Second))
	over := clockCheck(members, time.Minute)
	require.Equal(t, CheckWarn, over.Status)
	require.NotEmpty(t, over.Hint)
	members[0].Clock = 12 * time.Millisecond
	require.Equal(t, "-12 ms against members' median (limit 60 s)", clockCheck(members, time.Minute).Detail)
	require.Equal(t, CheckOK, clockCheck(nil, time.Minute).Status)
}

func TestMembershipWarnsBelowThreeQuartersAndFailsBelowThreeFifths(t *testing.T) {
	for _, c := range []struct {
		members    MemberCount
		warn, fail int
		want       string
	}{
		{MemberCount{Alive: 1}, 1, 1, CheckOK},
		{MemberCount{Alive: 1, Left: 9}, 1, 1, CheckOK}, // who has left is not missed
		{MemberCount{Alive: 12, Suspect: 1}, 10, 8, CheckOK},
		{MemberCount{Alive: 10, Dead: 3}, 10, 8, CheckOK},
		{MemberCount{Alive: 9, Dead: 4}, 10, 8, CheckWarn},
		{MemberCount{Alive: 8, Suspect: 5}, 10, 8, CheckWarn},
		{MemberCount{Alive: 7, Suspect: 1, Dead: 5}, 10, 8, CheckFail},
		{MemberCount{Alive: 2, Dead: 1}, 3, 2, CheckWarn},
		{MemberCount{Alive: 3, Dead: 1}, 3, 3, CheckOK},
	} {
		got := membershipCheck(c.members)
		require.Equal(t, c.want, got.Status, c.members)
		require.Equal(t, &Measure{"members_alive", c.members.Alive, c.warn, c.fail}, got.Measure)
	}
	require.Equal(t, "7 of 13 alive, 1 suspect, 5 dead", membershipCheck(MemberCount{Alive: 7, Suspect: 1, Dead: 5}).Detail)
}

func TestBootstrapFailsOnceADialWasInVainAndNoneIsConnected(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 24, 53, 0, time.UTC)
	const id = "/p2p/12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C"
	inVain := map[string]string{
		"/dns4/b2/udp/4747/quic-v1" + id: "no answer in 5 s", "/dns4/b1/tcp/4747" + id: "connection refused",
	}
	require.Equal(t, Check{Name: "bootstrap", Status: CheckOK, Detail: "none is wanted"}, bootstrapCheck(bootstrap.State{}, now))
	require.Equal(t, CheckWarn, bootstrapCheck(bootstrap.State{Wanted: 2, Alone: now}, now).Status)
	some := bootstrapCheck(bootstrap.State{Wanted: 2, Connected: 1, Failures: inVain}, now)
	require.Equal(t, CheckOK, some.Status)
	require.Len(t, some.Lines, 2)
	require.Equal(t, Check{
		Name: "bootstrap", Status: CheckOK, Detail: "0 of 2 bootstrap peers connected; there are enough other neighbours",
	}, bootstrapCheck(bootstrap.State{Wanted: 2, Spared: 1, Alone: now}, now))
	require.Equal(t, Check{
		Name: "bootstrap", Status: CheckFail, Detail: "0 of 2 bootstrap peers connected for 3m", Hint: "p2pnode errors bootstrap-unreachable",
		Lines: []string{"/dns4/b1/tcp/4747: connection refused", "/dns4/b2/udp/4747/quic-v1: no answer in 5 s"},
	}, bootstrapCheck(bootstrap.State{Wanted: 2, Failures: inVain, Alone: now.Add(-200 * time.Second)}, now))
}

func TestASuspectIsAProblemThatNamesItsAccusers(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 24, 53, 0, time.UTC)
	ids := make([]peer.ID, 14)
	members := make([]replica.Member, 14)
	for i := range members {
		key := [32]byte{byte(i + 1)}
		ids[i] = replica.PeerOf(key)
		members[i] = replica.Member{ID: ids[i], Status: "alive"}
	}
	members[12].Status, members[13].Status = "left", "dead"
	m := &members[3]
	m.Status, m.Phi, m.Since, m.Accusers = "suspect", 9.1, now.Add(-6*time.Second), ids[:3]
	p := suspected(*m, members, now)
	end := m.ID.String()[len(m.ID.String())-4:]
	require.Equal(t, Problem{
		Level: "warn", Code: CodeMemberSuspected, Hint: "p2pnode members " + end,
		Detail: "member " + m.ID.String()[:4] + "…" + end + " suspected for 6 s (phi 9.1) by 3 of 11",
	}, p)
	m.Name, m.Accusers = "n4", ids[4:12]
	require.Contains(t, suspected(*m, members, now).Detail, "member n4 suspected for 6 s (phi 9.1) by at least 8 of 11")

	members[0].Name = end // somebody is called as the id ends
	require.Equal(t, "p2pnode members "+m.ID.String()[len(m.ID.String())-5:], suspected(*m, members, now).Hint)
}

func TestReachFollowsFromTheAddressesThatAreTold(t *testing.T) {
	for status, addrs := range map[string][]string{
		ReachPublic:  {"/ip4/192.168.1.2/tcp/4747", "/ip4/8.8.8.8/udp/4747/quic-v1"},
		ReachPrivate: {"/ip4/127.0.0.1/tcp/4747", "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C/p2p-circuit"},
	} {
		all := make([]multiaddr.Multiaddr, len(addrs))
		for i, s := range addrs {
			all[i] = multiaddr.StringCast(s)
		}
		require.Equal(t, status, reachStatus(all))
	}
}

func TestMembersTellTheirAddressesAndWhatTheySpeak(t *testing.T) {
	a := start(t, localConfig(t, "a"))
	cfg := localConfig(t, "b")
	cfg.Network.Bootstrap = []string{a.address()}
	b := start(t, cfg)
	var told Reach
	require.Eventually(t, func() bool { // a tells its addresses soon after its start
		reach, err := b.Reach(deadline(t))
		told = reach[a.Info().ID]
		return err == nil && told.Protocol > 0
	}, time.Minute, 5*time.Millisecond)
	require.Equal(t, ReachPrivate, told.Status)
	require.Equal(t, 1, told.Protocol)
	require.Contains(t, told.Addrs, a.Info().Listen[0])
}

func TestPhiIsKeptForAMinuteAndThenDropped(t *testing.T) {
	var p phis
	require.Nil(t, p.of("a"))
	p.add(map[peer.ID]float64{"a": 1})
	p.add(map[peer.ID]float64{"b": 5})
	p.add(map[peer.ID]float64{"a": 3, "b": 6})
	require.Equal(t, []float64{1, 0, 3}, p.of("a"), "nothing spoke against it in between")
	require.Equal(t, []float64{5, 6}, p.of("b"))
	p.add(nil)
	require.Equal(t, []float64{5, 6, 0}, p.of("b"))
	for i := range phiSamples {
		p.add(map[peer.ID]float64{"a": float64(i)})
	}
	require.Len(t, p.of("a"), phiSamples)
	require.Equal(t, float64(phiSamples-1), p.of("a")[phiSamples-1])
	require.Nil(t, p.of("b"))
	require.Len(t, p.all, 1)
	require.Len(t, p.last, 1)
}
