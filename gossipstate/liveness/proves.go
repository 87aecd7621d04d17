package liveness

import "github.com/p2pnode/p2pnode/gossipstate/wire"

// Proves reports whether b is a beat of the chain that d signs. It takes b.Index hashes, at most wire.MaxBeats (0.4 ms): the
// caller bounds how often a peer can make it do so.
func Proves(d *wire.Digest, b wire.Beat) bool {
	v := newVerifier(d)
	return b.Anchor == d.BeatAnchor.Name() && v.length > 0 && v.proves(b)
}

// NewestBeat is the newest beat known of owner under the digest held of it; ok is false when there is none.
func (t *Table) NewestBeat(owner wire.ID) (b wire.Beat, ok bool) {
	m := t.members[owner]
	if m == nil || m.verifier.index == 0 {
		return wire.Beat{}, false
	}
	return wire.Beat{Anchor: m.digest.BeatAnchor.Name(), Index: m.verifier.index, Preimage: m.verifier.preimage}, true
}
