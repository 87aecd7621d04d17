package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

func TestTheOwnClockIsComparedWithTheMedianOfTheOthers(t *testing.T) {
	known := func(name string, ahead time.Duration) replica.Member {
		return replica.Member{Name: name, Status: "alive", Clock: ahead, ClockKnown: true}
	}
	self := replica.Member{Name: "n1", Self: true, Status: "alive"}
	dead := known("n9", 100*time.Hour)
	dead.Status = "dead"
	for name, c := range map[string]struct {
		members []replica.Member
		offset  *time.Duration
		details []string
	}{
		"nobody is known": {members: []replica.Member{self, {Name: "n2", Status: "alive"}, dead}},
		"all agree": {
			members: []replica.Member{self, known("n2", 20*time.Millisecond), known("n3", -30*time.Millisecond), dead},
			offset:  new(5 * time.Millisecond),
		},
		"one of the others is wrong": {
			members: []replica.Member{self, known("n2", time.Second), known("n3", -time.Hour), known("n4", 0), known("n5", time.Minute)},
			offset:  new(-500 * time.Millisecond),
			details: []string{"the clock of member n3 is 1h0m0s behind this node's", "the clock of member n5 is 1m0s ahead of this node's"},
		},
		"this node is wrong": {
			members: []replica.Member{self, known("n2", 61*time.Second), known("n3", 62*time.Second), known("n4", 0)},
			offset:  new(-61 * time.Second),
			details: []string{"this node's clock is 1m1s behind the other members' clocks"},
		},
	} {
		require.Equal(t, c.offset, clockOffset(c.members), name)
		var details []string
		for _, p := range clockProblems(c.members, time.Minute) {
			require.Equal(t, CodeClockSkew, p.Code)
			details = append(details, p.Detail)
		}
		require.Equal(t, c.details, details, name)
	}
}
