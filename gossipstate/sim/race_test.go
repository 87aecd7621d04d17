//go:build race

package sim

// raced says that the race detector runs. It has nothing to find in a package without goroutines, and makes it ten times
// slower: the large runs are then smaller.
const raced = true
