// This file becomes part of package time in the p2pnode whose clock is wrong: see clocks_test.go.

package time

import "sync/atomic"

// wallLook is how often the file is read again.
const wallLook = 10 * Millisecond

// wallAhead is by how many seconds the wall clock is ahead: what the file "clock" in the working directory says.
var wallAhead atomic.Int64

func init() {
	lookAtClock()
	go func() { // Now itself must not: it is also called where nothing may block
		for {
			Sleep(wallLook)
			lookAtClock()
		}
	}()
}

func lookAtClock() {
	fd, err := open("clock")
	if err != nil {
		return
	}
	defer closefd(fd)
	var text [32]byte
	n, err := read(fd, text[:])
	if err != nil {
		return
	}
	if seconds, err := atoi(text[:n]); err == nil {
		wallAhead.Store(int64(seconds))
	}
}
