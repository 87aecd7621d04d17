package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// clockOffset is how far this node's wall clock is ahead of the median of those neighbours whose clock is known, less the time
// a beat travels; negative: behind. It is nil when none is known.
func clockOffset(members []replica.Member) *time.Duration {
	var offsets []time.Duration
	for _, m := range members {
		if m.ClockKnown && m.Status == "alive" {
			offsets = append(offsets, -m.Clock)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	slices.Sort(offsets)
	middle := offsets[len(offsets)/2]
	if len(offsets)%2 == 0 {
		middle = (middle + offsets[len(offsets)/2-1]) / 2
	}
	return &middle
}

// clockProblems warns of this node's own clock or, if that is right, of those that differ from it, by limit or more. Nothing is
// decided by wall clocks, but times that are shown, and keys that expire, are as wrong as the clock of the node that wrote them.
func clockProblems(members []replica.Member, limit time.Duration) []Problem {
	own := clockOffset(members)
	if own == nil {
		return nil
	}
	if own.Abs() >= limit {
		return []Problem{{
			Level: "warn", Code: CodeClockSkew, Hint: "p2pnode errors " + CodeClockSkew,
			Detail: fmt.Sprintf("this node's clock is %s %s the other members' clocks", own.Abs().Round(time.Second), aheadOrBehind(*own)),
		}}
	}
	var all []Problem
	for _, m := range members {
		if m.ClockKnown && m.Status == "alive" && m.Clock.Abs() >= limit {
			all = append(all, Problem{
				Level: "warn", Code: CodeClockSkew, Hint: "p2pnode errors " + CodeClockSkew,
				Detail: fmt.Sprintf("the clock of member %s is %s %s this node's", label(m), m.Clock.Abs().Round(time.Second), aheadOrBehind(m.Clock)),
			})
		}
	}
	return all
}

func aheadOrBehind(offset time.Duration) string {
	if offset < 0 {
		return "behind"
	}
	return "ahead of"
}
