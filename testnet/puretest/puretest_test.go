package puretest

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestViolationsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want string
	}{
		"a clock":           {`import "time"; func f() time.Time { return time.Now() }`, "reads the clock: time.Now"},
		"shared randomness": {`import "math/rand/v2"; func f() int { return rand.IntN(3) }`, "uses shared randomness: rand.IntN"},
		"a goroutine":       {`func f() { go f() }`, "starts a goroutine"},
		"a channel":         {`var c chan int`, "uses a channel"},
		"a lock":            {`import "sync"; var m sync.Mutex`, "imports sync: one goroutine owns the value"},
		"an atomic":         {`import "sync/atomic"; var m atomic.Int64`, "imports sync/atomic: one goroutine owns the value"},
		"a libp2p type":     {`import "github.com/libp2p/go-libp2p/core/peer"; var p peer.ID`, "imports github.com/libp2p/go-libp2p/core/peer: no libp2p type: an owner is a 32-byte key"},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+c.body, 0)
			require.NoError(t, err)
			found := violations(file)
			require.Len(t, found, 1)
			require.Equal(t, c.want, found[0].what)
		})
	}
}

func TestPureCodePasses(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go",
		`package x; import ("math/rand/v2"; "time"); func f(now time.Time, r *rand.Rand) time.Time { return now.Add(time.Duration(r.IntN(3))) }`, 0)
	require.NoError(t, err)
	require.Empty(t, violations(file))
}
