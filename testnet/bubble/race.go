//go:build race

package bubble

import "runtime"

// One processor at a time: bubbles crash under the race detector otherwise. Goroutines of a bubble that find a timer due run it
// themselves, all under the bubble's one race context, and that context is not safe for two at one time (golang/go issue 78156;
// go 1.26.8: 6 of 6 runs of 8 goroutines that receive from time.After(0) died, in runtime.(*timer).maybeRunChan or within the
// detector; none of 6 with one processor). Races are found all the same: the detector looks at what orders two accesses, not at
// when they happen.
func init() { runtime.GOMAXPROCS(1) }
