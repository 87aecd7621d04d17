package gossipstate

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// testing.T and rapid.T alike.
type tester interface {
	require.TestingT
	Helper()
}

var (
	testDomain = wire.Domain{Network: "test", Topic: "main"}
	testStart  = time.Unix(1_700_000_000, 0)
)

// author is an owner with its key and the replica on which it writes, beside the history of everything it ever signed.
type author struct {
	self    Self
	sign    wire.Signer
	state   *State
	history map[moment]map[string]Entry
}

// moment is one digest of one owner. Roots tell apart what an owner of two minds signed.
type moment struct {
	generation Generation
	version    Version
	root       Root
}

func momentOf(d *Digest) moment { return moment{d.Generation, d.Version, d.Root} }

func newAuthor(seed byte) *author {
	key := testKey(seed)
	return &author{
		self:    Self{ID: ID(key.Public().(ed25519.PublicKey)), Generation: 1},
		sign:    func(message []byte) []byte { return signOnce(seed, key, message) },
		state:   New(DefaultConfig(testDomain)),
		history: map[moment]map[string]Entry{},
	}
}

// Random schedules make the same keys, signatures and updates again and again. Each is computed once, for it would be nearly
// all that they do.
var (
	testKeys   = map[byte]ed25519.PrivateKey{}
	signatures = map[signed][]byte{}
	verified   = map[string]wire.Verified{}
)

const maxRemembered = 1 << 14 // signatures and updates; then all are forgotten

type signed struct {
	seed    byte
	message string
}

func testKey(seed byte) ed25519.PrivateKey {
	if testKeys[seed] == nil {
		testKeys[seed] = ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	}
	return testKeys[seed]
}

func signOnce(seed byte, key ed25519.PrivateKey, message []byte) []byte {
	what := signed{seed, string(message)}
	signature, known := signatures[what]
	if !known {
		if len(signatures) >= maxRemembered {
			clear(signatures)
		}
		signature = ed25519.Sign(key, message)
		signatures[what] = signature
	}
	return signature
}

// write commits mutations and remembers the state they made.
func (a *author) write(t tester, now time.Time, mutations ...Mutation) Result {
	t.Helper()
	r, err := a.try(now, mutations...)
	require.NoError(t, err)
	return r
}

func (a *author) try(now time.Time, mutations ...Mutation) (Result, error) {
	return a.tryForgetting(now, 0, mutations...)
}

func (a *author) tryForgetting(now time.Time, forgetBefore uint64, mutations ...Mutation) (Result, error) {
	p, err := a.state.Prepare(a.self, mutations, a.sign, now, forgetBefore)
	if err != nil {
		return Result{}, err
	}
	r := a.state.Install(p)
	a.signed(p)
	return r, nil
}

// signed remembers what a signs.
func (a *author) signed(p *Pending) {
	d, entries := p.Digest(), map[string]Entry{}
	for _, e := range p.Entries() {
		entries[e.Key] = e
	}
	a.history[momentOf(&d)] = entries
}

// entriesOf is a replica's copy of owner as a plain map.
func entriesOf(s *State, owner ID) map[string]Entry {
	entries := map[string]Entry{}
	for _, rec := range s.ListOwned(owner, "") {
		entries[rec.Entry.Key] = *rec.Entry
	}
	return entries
}

// updates is what brings a replica that holds want up to date, over the wire: encoded, decoded and verified.
func (a *author) updates(t tester, want wire.Want, maxBytes int) []wire.Verified {
	t.Helper()
	want.Owner = a.self.ID
	var verified []wire.Verified
	for _, u := range a.state.Updates(want, maxBytes) {
		verified = append(verified, overWire(t, u))
	}
	return verified
}

func overWire(t tester, u Update) wire.Verified {
	t.Helper()
	encoded := wire.MarshalUpdate(&u)
	if v, known := verified[string(encoded)]; known {
		return v
	}
	decoded, err := wire.UnmarshalUpdate(encoded)
	require.NoError(t, err)
	v, err := wire.Verify(testDomain, decoded)
	require.NoError(t, err)
	if len(verified) >= maxRemembered {
		clear(verified)
	}
	if len(encoded) < wire.MaxRumor {
		verified[string(encoded)] = v
	}
	return v
}

// snapshot brings replica the whole copy of a.
func (a *author) snapshot(t tester, replica *State) Result {
	t.Helper()
	var last Result
	for _, v := range a.updates(t, wire.Want{}, wire.MaxFrame) {
		r, err := replica.Apply(&v, ID{}, testStart)
		require.NoError(t, err)
		last = r
	}
	return last
}

// requireExact checks the one promise of Apply: what replica holds of a is exactly what a signed at that digest.
func (a *author) requireExact(t tester, replica *State) {
	t.Helper()
	d, _, held := replica.Digest(a.self.ID)
	if !held {
		require.Empty(t, replica.ListOwned(a.self.ID, ""))
		return
	}
	signed, known := a.history[momentOf(&d)]
	require.True(t, known, "generation %d version %d was never signed", d.Generation, d.Version)
	require.True(t, maps.EqualFunc(signed, entriesOf(replica, a.self.ID), func(x, y Entry) bool { return sameEntry(&x, &y) }),
		"the copy is not the one that was signed")
}

// set is a mutation.
func set(key, value string) Mutation { return Mutation{Key: key, Value: []byte(value)} }

func del(key string) Mutation { return Mutation{Key: key, Delete: true} }

// read is the merged value of key, "" when it is absent.
func read(s *State, key string) string {
	if rec := s.Get(key); rec.Live() {
		return string(rec.Entry.Value)
	}
	return ""
}

func keyName(i int) string { return fmt.Sprintf("key/%d", i) }
