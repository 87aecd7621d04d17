// Package liveness decides who is alive. It is pure: beats, digests, connection news and the time go in; a member table
// and its transitions come out.
//
// # Beats
//
// An owner proves that it is alive by revealing, one after the other, the preimages of a hash chain whose end (the
// anchor) it has signed in its digest on the topic "members". A beat costs its checker one hash, nobody but the owner
// can make one before it is revealed, and anybody may pass it on.
//
//	tag    = SHA-256("p2pnode/beat/1" | owner (32 bytes) | generation (8, big-endian))
//	x(0)   = seed, 16 random secret bytes
//	x(i+1) = first 16 bytes of SHA-256(x(i) (16) | tag (32) | i (4, big-endian))
//	anchor = x(length)
//	beat k = x(length-k), k = 1..length <= 4096; "beat 0" is the anchor
//
// Owner and generation enter through the tag, so that the 52 bytes of a step fill one SHA-256 block: 95 ns against 145
// for two. A chain for another owner or generation has nothing in common with this one. Vector: owner 000102..1f,
// generation 0x0102030405060708, seed a0a1..af, length 4:
//
//	tag    11503733dcb867801c05333f09b1b25ee6d5be8a1f02c49f8b2a13a55027e628
//	beat 4 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf    (the seed)
//	beat 3 949a3020bf0a9322c0e6df0246987a0e
//	beat 2 1d081c5486eaaaa4b6a449fb3def8182
//	beat 1 a04febce4aac848ec7b81251082ba28d
//	anchor 57f9a3f9cae2e9d1db859ff9c0a6bdd7    (beats refer to it as 0x57f9a3f9)
//
// # Proof of life
//
// What is known of an owner's life is ordered by (generation, version, beat index): see Proof. A beat counts with the
// newest digest held, and only if that digest carries its anchor. The order uses no clock, so replaying or reordering
// old proofs changes nothing, and nodes that hold the same digests and newest beats hold the same proofs.
//
// # Status
//
//	                   accused                  enough accusers
//	first digest     by anybody                for long enough
//	------------> alive ----------> suspect ------------------> dead
//	                ^                  |                          |
//	                +------------------+--------------------------+   any larger proof of life, at once
//	left: the newest digest says LEAVING, whatever the status was; a newer one that says RUNNING is alive again
//
// A table holds one generation per owner, the largest. Left comes from the signed status alone; beats do not end it.
//
// The verdict follows from the state. Each node publishes whom it accuses, with the newest proof of life it knew (see
// Accusation and SuspectsKey). An accusation stands while no larger proof is known. Whoever is accused by a member is
// suspect. Dead is who is accused by
//
//	max(1, min(3, n))   live accusers, n = live members other than the accused
//
// for a timeout: SuspicionMin and one beat interval, or three intervals if that is longer; half as long again with one
// accuser and a fifth with two (suspicionTimeout), and longer while this node is ill (Ill). Without the interval when enough of them
// were refused by the port of the accused, and then RefusedTimeout if members are trusted and this node does not itself
// hear the accused in time: three liars could otherwise have anybody dead, again and again, until its next beat. (Where it
// is not heard directly they can.) Live accusers are alive in this table, known to it for Probation or since its own first
// Probation, and not ignored. A member that has been suspect for its own timeout and lacks but accusers is not among the n.
// So tables that hold the same state and newest beats show the same statuses within one timeout, and Probation more while
// an accuser is new to one of them or ignored by it. Death stays until a
// larger proof of life.
//
// Who makes identities can make suspects. To kill a member it needs a quorum of them that everybody has known for
// Probation, and the member must not be heard for the timeout: while one honest path to it is open it refutes each
// accusation with its next beat. After eight accusations within Probation that the very next beats refuted, an accuser is ignored
// for Probation.
//
// # Accusing
//
// A node accuses a neighbour whose beats stop (phi), or whose connection broke and cannot be made again; and a far member
// for which it is chosen (see chosen) when others accuse it or nothing has been heard of it for three background periods.
// Before that it asks other neighbours and dials: see Probe. It accuses nobody whom enough others accuse already.
//
// Silence is judged by one measure, phi, in two clockworks. A neighbour that beat to this node directly is watched: its
// interval is the mean of its last arrivals, never less than it signed. Every other member is far: its interval is the
// background period, in which relayed beats reach most once. Phi is 0 during the first interval and, for regular arrivals,
// grows by 4 per further one; so the default threshold, 8, is three intervals. Jitter stretches that, up to ten signed
// intervals. (Over the raw interval, phi = silence / (interval * ln 10), 8 would be 18 intervals: too slow for beats that
// come as regularly as these.) Less than three intervals never count.
//
// A digest is passed on by others, so the first one of an owner does not prove that the owner is alive now, whether it
// came from a peer or from disk. The owner is listed as alive and its silence begins: it proves itself or, being far,
// ages to suspect and dead. Until the first beat of a chain is checked, a far member gets half a second more per member of
// the table, which is what checking everyone's first beat takes within HashRate of a single neighbour.
package liveness
