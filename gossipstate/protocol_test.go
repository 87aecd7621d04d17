package gossipstate_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// What PROTOCOL.md says in numbers is compared with the code, so that neither drifts from the other.

func protocolText(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("PROTOCOL.md")
	require.NoError(t, err)
	return string(b)
}

// packageDirs are where the packages of the tables of constants are. Their source is read, not imported: most constants are
// their own business.
var packageDirs = map[string]string{
	"gossipstate": ".", "wire": "wire", "liveness": "liveness", "replica": "replica", "reconcile": "reconcile", "nonce": "../nonce",
}

// limitRow is a row of a table of constants: `package.Name` | value |
var limitRow = regexp.MustCompile("(?m)^\\| `([a-z]+)\\.([A-Za-z]+)` \\| ([0-9,]+)( [A-Za-z]+)? \\|")

var units = map[string]int64{
	"": 1, "KiB": 1 << 10, "MiB": 1 << 20,
	"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute), "days": int64(24 * time.Hour),
}

func TestTheLimitsOfTheProtocolAreThoseOfTheCode(t *testing.T) {
	code := map[string]constants{}
	for name, dir := range packageDirs {
		code[name] = readConstants(t, dir)
	}
	listed := map[string]bool{}
	for _, row := range limitRow.FindAllStringSubmatch(protocolText(t), -1) {
		pkg, name := row[1], row[2]
		number, err := strconv.ParseInt(strings.ReplaceAll(row[3], ",", ""), 10, 64)
		require.NoError(t, err)
		unit, known := units[strings.TrimSpace(row[4])]
		require.True(t, known, "%s.%s: unit %q", pkg, name, row[4])
		require.Contains(t, code, pkg)
		have, err := code[pkg].value(name, code)
		require.NoError(t, err, "%s.%s", pkg, name)
		require.Equal(t, strconv.FormatInt(number*unit, 10), have.ExactString(), "%s.%s", pkg, name)
		require.False(t, listed[pkg+"."+name], "%s.%s is listed twice", pkg, name)
		listed[pkg+"."+name] = true
	}
	limit := regexp.MustCompile(`^(Max|Min)[A-Z]`)
	for _, pkg := range []string{"wire", "liveness", "nonce"} {
		for name := range code[pkg] {
			if limit.MatchString(name) {
				require.True(t, listed[pkg+"."+name], "%s.%s is a limit that PROTOCOL.md does not list", pkg, name)
			}
		}
	}
	require.Greater(t, len(listed), 60, "the tables were not recognised")
}

// constants are the expressions of a package's constants by name, local ones included.
type constants map[string]ast.Expr

func readConstants(t *testing.T, dir string) constants {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no Go package in %s", dir)
	found := constants{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
				found.add(decl)
			}
			return true
		})
	}
	return found
}

func (c constants) add(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		values := spec.(*ast.ValueSpec)
		for i := range values.Values {
			c[values.Names[i].Name] = values.Values[i]
		}
	}
}

// value evaluates the constant called name.
func (c constants) value(name string, all map[string]constants) (constant.Value, error) {
	if e, ok := c[name]; ok {
		return c.eval(e, all)
	}
	return nil, fmt.Errorf("there is no constant %s", name)
}

var durations = map[string]time.Duration{
	"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

func (c constants) eval(e ast.Expr, all map[string]constants) (constant.Value, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), nil
	case *ast.ParenExpr:
		return c.eval(e.X, all)
	case *ast.Ident:
		return c.value(e.Name, all)
	case *ast.SelectorExpr:
		pkg := e.X.(*ast.Ident).Name
		if pkg == "time" {
			return constant.MakeInt64(int64(durations[e.Sel.Name])), nil
		}
		return all[pkg].value(e.Sel.Name, all)
	case *ast.BinaryExpr:
		x, err := c.eval(e.X, all)
		if err != nil {
			return nil, err
		}
		y, err := c.eval(e.Y, all)
		if err != nil {
			return nil, err
		}
		switch e.Op {
		case token.SHL:
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n)), nil
		case token.QUO:
			return constant.BinaryOp(x, token.QUO_ASSIGN, y), nil // of integers
		}
		return constant.BinaryOp(x, e.Op, y), nil
	}
	return nil, fmt.Errorf("expression %T is beyond this test", e)
}

// shown looks things up in PROTOCOL.md, in whatever groups and lines they stand there. It does not print the page on failure.
type shown struct {
	t    *testing.T
	text string // without white space
}

func (s shown) words(what, text string) {
	s.t.Helper()
	require.True(s.t, strings.Contains(s.text, squeezed(text)), "PROTOCOL.md does not show %s: %s", what, text)
}

func (s shown) bytes(what string, b []byte) {
	s.t.Helper()
	require.NotEmpty(s.t, b)
	s.words(what, hex.EncodeToString(b))
}

func squeezed(text string) string { return strings.Join(strings.Fields(text), "") }

func TestTheExampleOfTheProtocolIsWhatTheCodeMakes(t *testing.T) {
	text := shown{t, squeezed(protocolText(t))}
	alice, key := namedOwner("alice")
	entries := []wire.Entry{
		{Key: "color", Value: []byte("teal"), Version: 1, Clock: 1, ContentType: "text/plain", Written: 1_760_000_000_000},
		{Key: "size", Value: []byte("42"), Version: 2, Clock: 1},
		{Key: "shape", Version: 3, Clock: 2, Tombstone: true},
	}
	leaves, size := map[string][32]byte{}, 0
	for _, e := range entries {
		keyHash := wire.KeyHash(e.Key)
		leaf := wire.LeafHash(keyHash, &e)
		text.bytes("entry", wire.AppendEntry(nil, &e))
		text.bytes("key hash", keyHash[:])
		text.bytes("canonical entry", wire.AppendCanonical(nil, &e))
		text.bytes("leaf", leaf[:])
		leaves[e.Key] = leaf
		size += e.Size()
	}
	node := wire.NodeHash(leaves["size"], leaves["shape"])
	root := wire.NodeHash(leaves["color"], node)
	text.bytes("node", node[:])

	domain := wire.Domain{Network: "p2pnode-test", Topic: "main"}
	d := wire.Digest{Owner: alice, Generation: 115343360004660, Version: 3, Root: root, Entries: 3, Bytes: uint64(size)}
	signed := wire.Sign(domain, &d, func(m []byte) []byte { return ed25519.Sign(key, m) })
	text.bytes("owner", alice[:])
	text.bytes("root", root[:])
	text.bytes("digest", signed.Digest)
	text.bytes("what is signed", domain.SigningBytes(nil))
	text.bytes("signature", signed.Signature)
	text.words("counts", fmt.Sprintf("(%d entries, %d bytes, running)", d.Entries, d.Bytes))

	bob, _ := namedOwner("bob")
	saltA, saltB := salt(0x00), salt(0x10)
	link := reconcile.LinkKey(alice, saltA, bob, saltB)
	item := wire.Item{Owner: alice, Generation: d.Generation, Version: d.Version, Root: root}
	items, other := reconcile.NewItems(rand.New(rand.NewPCG(1, 1))), reconcile.NewItems(rand.New(rand.NewPCG(1, 1)))
	items.Put(item)
	sketch := items.Link(link, 0)
	text.bytes("alice's salt", saltA[:])
	text.bytes("bob's salt", saltB[:])
	text.bytes("link key", link[:])
	text.words("fingerprint", fmt.Sprintf("%016x", sketch.Fingerprint()))
	item.Owner = bob
	other.Put(item)
	text.words("fingerprint", fmt.Sprintf("%016x", other.Link(link, 0).Fingerprint()))
	items.Put(item)
	text.words("fingerprint", fmt.Sprintf("%016x", sketch.Fingerprint()))

	var counting wire.ID
	for i := range counting {
		counting[i] = byte(i)
	}
	seed := salt(0xa0)
	chain := liveness.NewChain(counting, 0x0102030405060708, seed, 4)
	anchor := chain.Anchor()
	text.bytes("anchor", anchor[:])
	text.words("anchor name", fmt.Sprintf("0x%08x", anchor.Name()))
	for k := uint32(1); k <= 4; k++ {
		b := chain.Beat(k)
		text.words("beat", fmt.Sprintf("beat %d %x", k, b.Preimage))
	}
}

// namedOwner is an owner of the vectors: its seed is SHA-256 of its name.
func namedOwner(name string) (wire.ID, ed25519.PrivateKey) {
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	return wire.ID(key.Public().(ed25519.PublicKey)), key
}

// salt is 16 bytes counting up from first.
func salt(first byte) (s wire.Salt) {
	for i := range s {
		s[i] = first + byte(i)
	}
	return s
}
