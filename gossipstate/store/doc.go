// Package store keeps the durable copy of replicated state: of every owner on every topic what its owner signed, with the
// entries under it; which owners were forgotten, and which have contradicted themselves ([Note]); and this node's own
// generation. One bbolt file, one process at a time.
//
//	meta                 "format"      u32  version of this layout
//	                     "generation"  u64  the last one given out
//	topic/<name> crc32c  owner         last life (i64 unix ms, 0 unknown) | u16 length, digest bytes | signature
//	                     owner | key   entry, as it stands inside an Update
//
//	quarantine crc32c    owner         generation u64 | version u64 | beat u32 | since (i64 unix ms): an owner that was forgotten
//	proof/<name> crc32c  owner         two of u16 length, digest bytes | signature: that it signed two histories
//
// Integers are big-endian. One record per key, so that one changed key rewrites one record, beside its owner's digest.
// Every record ends in a CRC-32C over its bucket, key and bytes, since bbolt checks nothing but its two header pages.
//
// What is promised. A [Store.Commit] that returned nil survives a crash of the process and, as far as the disk honours
// fsync, of the machine; one that did not is there whole or not at all. Nothing damaged is taken for good, and nothing is
// lost in silence: [Open] walks the pages of the whole file before bbolt maps it (bbolt trusts them, and a wrong one is a
// fault that no caller can catch) and moves a damaged file aside, where the newest three are kept; a record that its
// checksum refuses is named in [Copy.Damaged]. A generation is never given out twice, even when either header page is
// lost.
//
// What is not. Signatures, roots and the rules of entries in a copy are the caller's to check before it believes it. An
// older file put back in place of a newer one looks like the older one. Checksums find accidents, not an attacker who can
// write the file.
//
// For operators. The file is no backup of itself: copied while it is open it is a damaged one. A backup is an export,
// which every reader can check ('p2pnode state export', [replica.Replica.Export]). A damaged file costs what no peer and
// no export has: a node that starts without its file takes its own state back from its peers before it writes, and signs
// under a larger generation, so that it never contradicts itself. The files moved aside may be deleted at any time. When
// the disk is full a commit fails with syscall.ENOSPC and nothing of it is seen by anybody; the store goes on once there
// is room.
//
// [replica.Replica.Export]: https://pkg.go.dev/github.com/p2pnode/p2pnode/gossipstate/replica#Replica.Export
package store
