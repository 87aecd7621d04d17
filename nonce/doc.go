// Package nonce holds what a network must agree on to search a range of numbers together: jobs, the cells they are cut
// into, who scans which cell, what has been scanned and what was found. It is pure: values in, values out.
//
// Everything is ordinary state, a key in the namespace of whoever says it. <job> is 32 lowercase hex digits, the first
// 16 bytes of SHA-256(submitter | value of work/<job>), so a definition can't change and nobody else can give it.
//
//	key                   owner      value (JSON, at most 64 KiB, unknown fields ignored, 64-bit numbers as decimal strings)
//	work/<job>            submitter  {"kind":"sha256d","payload":"<hex>","range":"2080000000:2090000000","target":"<64 hex>",
//	                                  "stop":"first","cell":"125000","name":"genesis","submitted":"1763823000000"}
//	                                 deleting it cancels the job
//	work/<job>/lease      worker     {"cells":"12,17:20","lost":"4"}: cells it scans now, and cells it died over before
//	work/<job>/done/<n>   worker     {"cells":"0:12,13","results":"1"}: cells it has scanned to the end, which count once it
//	                                 says so many results; the segments n = 0, 1, .. add up
//	work/<job>/found      worker     {"results":[{"nonce":"2083236893","hash":"<64 hex>"}]}; one hash checks each
//
// The range is half-open and cut into ceil(length / cell) cells, numbered from 0, whose lengths differ by at most 1:
//
//	range  start                                    end
//	       |--- 0 ---|--- 1 ---|--- 2 ---|--- 3 ---|
//	cell i = [start + i*length/cells, start + (i+1)*length/cells)
//
// Sets of cells are written as runs in order, "0:12,13" being 0 to 11 and 13; there is one text for one set.
//
// A [Board] takes these keys in any order and answers from them: the same keys, live workers and times give the same
// answers everywhere, so workers that see the same state never lease one cell twice.
package nonce
