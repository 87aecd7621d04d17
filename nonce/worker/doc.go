// Package worker works on the jobs of package nonce: it reads all that the network says about them through a State, takes
// cells, scans them on a few threads, and writes what it leases, has done and has found back as this node's own keys. It
// knows nothing of how state travels.
//
//	State -- Watch: everybody's keys --> loop -- Put: this node's keys --> State
//	                                     |  ^
//	                               cells |  | cells done, results
//	                                     v  |
//	                                   scanner: threads, each one slice of at most 5 ms after the other
//
// One goroutine, the loop, owns the board and everything that is published. Scanning never waits for a Put: what can't be
// written is kept and tried again, so a slow or failing State delays the others' knowledge and loses nothing.
//
// A cell is done once every nonce in it was tried; that, the lease it leaves and a result found in it go into one Put. So a
// worker that dies leaves either the trace of its work or none, and whatever it left open is scanned again by others: each
// nonce is tried at least once.
package worker
