//go:build race

package sim

import "flag"

// raced says that the race detector runs. It has nothing to find in a package without goroutines, and makes it ten times
// slower: runs are then smaller and fewer.
const raced = true

func init() {
	if err := flag.Set("rapid.checks", "10"); err != nil { // the command line still counts
		panic(err)
	}
}
