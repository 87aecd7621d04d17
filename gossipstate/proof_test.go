package gossipstate

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestEveryEntryCanBeProvedFromTheSignedDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAuthor(1)
		n := rapid.IntRange(1, 40).Draw(t, "keys")
		for i := range n {
			a.write(t, testStart, set(keyName(i), rapid.StringN(0, 4, -1).Draw(t, "value")))
			if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
				a.write(t, testStart, del(keyName(i)))
			}
		}
		d, _, _ := a.state.Digest(a.self.ID)
		for i := range n {
			p, ok := a.state.Prove(a.self.ID, keyName(i))
			require.True(t, ok)
			got, err := p.Verify(testDomain)
			require.NoError(t, err)
			require.Equal(t, d, got)
		}
		_, ok := a.state.Prove(a.self.ID, "not there")
		require.False(t, ok)
	})
}

func TestAProofOfAnythingElseIsRefused(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	for i := range 20 {
		a.write(t, testStart, set(keyName(i), "value"))
	}
	b.write(t, testStart, set(keyName(0), "value"))
	other, _ := b.state.Prove(b.self.ID, keyName(0))
	for name, c := range map[string]struct {
		change func(*Proof)
		want   error
	}{
		"another value":       {func(p *Proof) { p.Entry.Value = []byte("other") }, ErrRootMismatch},
		"another key":         {func(p *Proof) { p.Entry.Key = keyName(1) }, ErrRootMismatch},
		"a deletion":          {func(p *Proof) { p.Entry.Tombstone, p.Entry.Value = true, nil }, ErrRootMismatch},
		"another owner":       {func(p *Proof) { p.Signed = other.Signed }, ErrRootMismatch},
		"a path cut short":    {func(p *Proof) { p.Path = p.Path[:len(p.Path)-1] }, ErrRootMismatch},
		"another sibling":     {func(p *Proof) { p.Path[0].Sibling[0] ^= 1 }, ErrRootMismatch},
		"a path out of order": {func(p *Proof) { p.Path[0], p.Path[1] = p.Path[1], p.Path[0] }, wire.ErrMalformed},
		"a step twice":        {func(p *Proof) { p.Path = append(p.Path, p.Path[len(p.Path)-1]) }, wire.ErrMalformed},
		"a flipped signature": {func(p *Proof) { p.Signed.Signature[0] ^= 1 }, wire.ErrBadSignature},
		"no signature":        {func(p *Proof) { p.Signed.Signature = nil }, wire.ErrMalformed},
		"a digest cut short":  {func(p *Proof) { p.Signed.Digest = p.Signed.Digest[:10] }, wire.ErrMalformed},
		"an entry off limits": {func(p *Proof) { p.Entry.Value = make([]byte, wire.MaxValue+1) }, wire.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := a.state.Prove(a.self.ID, keyName(0))
			require.True(t, ok)
			require.Greater(t, len(p.Path), 2)
			p.Signed.Signature = append([]byte{}, p.Signed.Signature...)
			c.change(&p)
			_, err := p.Verify(testDomain)
			require.ErrorIs(t, err, c.want)
		})
	}
	p, _ := a.state.Prove(a.self.ID, keyName(0))
	_, err := p.Verify(wire.Domain{Network: "test", Topic: "other"})
	require.ErrorIs(t, err, wire.ErrBadSignature)
}

func FuzzProof(f *testing.F) {
	a := newAuthor(1)
	for i := range 20 {
		a.write(f, testStart, set(keyName(i), "value"))
	}
	good, _ := a.state.Prove(a.self.ID, keyName(0))
	f.Add(good.Entry.Key, good.Entry.Value, good.Path[0].Bit, good.Path[0].Sibling[:])
	f.Fuzz(func(t *testing.T, key string, value []byte, bit uint8, sibling []byte) {
		p, _ := a.state.Prove(a.self.ID, keyName(0))
		p.Entry.Key, p.Entry.Value = key, value
		p.Path[0].Bit = bit
		copy(p.Path[0].Sibling[:], sibling)
		if _, err := p.Verify(testDomain); err == nil {
			signed := a.state.GetOwned(a.self.ID, key)
			require.NotNil(t, signed.Entry)
			require.Equal(t, string(signed.Entry.Value), string(value))
		}
	})
}
