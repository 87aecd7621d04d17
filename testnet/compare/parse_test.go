package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcessNameDoesNotMisleadTheStatParser(t *testing.T) {
	// proc(5): pid, comm, state, then numbers; here utime 250, stime 50, rss 1000 pages.
	const stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0 12345 1000000 1000 18446744073709551615 1 1 0\n"
	u, err := parseStat(stat, 4096)
	require.NoError(t, err)
	require.Equal(t, usage{cpu: 3 * time.Second, rss: 4096000}, u)
	for _, bad := range []string{"", "42 (x) S 1 2", "42 no parentheses", strings.Replace(stat, "250", "many", 1)} {
		_, err := parseStat(bad, 4096)
		require.Error(t, err, bad)
	}
}

func TestSentBytesAreReadOfTheRightInterface(t *testing.T) {
	const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      200       1    0    0    0     0       0          0
  eth0: 1234567    9876    0    0    0     0          0         0   7654321    6789    0    0    0     0       0          0
`
	n, err := parseSent(strings.NewReader(dev), "eth0")
	require.NoError(t, err)
	require.EqualValues(t, 7654321, n)
	_, err = parseSent(strings.NewReader(dev), "eth1")
	require.Error(t, err)
}

func TestSettingIsFoundWhereverItStands(t *testing.T) {
	const config = `profile = "lan"  # quiet = no

[node]
# name = ""  # quiet

[membership]
# beat_interval = "700ms"
# quiet = false   # costs less
`
	require.Equal(t, "P2PNODE_MEMBERSHIP_QUIET", findSetting(config, "quiet"))
	require.Equal(t, "P2PNODE_PROFILE", findSetting(config, "profile"))
	require.Empty(t, findSetting(config, "loud"))
}

func TestLastWordsOfACrashAreItsReason(t *testing.T) {
	require.Equal(t, "panic: boom", lastWords("started\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n"))
	require.Equal(t, "fatal error: all goroutines are asleep", lastWords("fatal error: all goroutines are asleep\n\ngoroutine 1\n"))
	require.Equal(t, "port 7 is taken", lastWords("started\nport 7 is taken\n"))
	require.Empty(t, lastWords(""))
}

func TestRingGivesEachNodeAnEvenNumberOfConnections(t *testing.T) {
	for _, c := range []struct{ n, degree, want int }{{128, 8, 8}, {128, 9, 8}, {5, 8, 4}, {4, 8, 2}, {2, 8, 0}, {128, 1, 0}} {
		require.Equal(t, c.want, ringDegree(c.n, c.degree), c)
	}
}

func TestRingDialsEachPairOnceInWhateverOrderItsNodesCome(t *testing.T) {
	const n, degree = 10, 4
	r := newRing(n, degree)
	connections := map[string]int{}
	for _, i := range []int{3, 0, 9, 1, 8, 2, 7, 4, 6, 5} {
		require.NoError(t, r.add(i, nodeName(i), func(addr string) error {
			connections[nodeName(i)]++
			connections[addr]++
			return nil
		}))
	}
	require.Len(t, connections, n)
	for name, degreeHere := range connections {
		require.Equal(t, degree, degreeHere, name)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, bad := range [][]string{
		{"-nodes", "1"}, {"-nodes", "-3"}, {"-faults", "0"}, {"-net", "wan"}, {"-loss", "120"}, {"-idle", "0s"}, {"extra"},
	} {
		_, err := parseFlags(bad)
		require.Error(t, err, bad)
	}
	o, err := parseFlags(nil)
	require.NoError(t, err)
	require.Equal(t, 5, o.faults)
	var names []string
	for _, m := range measures(o) {
		names = append(names, m.name)
	}
	require.Equal(t, []string{"crash", "silent", "freeze", "loss", "idle"}, names)
}

func TestNamesChooseInTheOrderOfAll(t *testing.T) {
	all, self := []string{"a", "b", "c"}, func(s string) string { return s }
	got, err := named(all, self, "c,a")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "c"}, got)
	got, err = named(all, self, "")
	require.NoError(t, err)
	require.Equal(t, all, got)
	_, err = named(all, self, "a,d")
	require.Error(t, err)
}
