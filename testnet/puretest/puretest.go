// Package puretest proves that a package is pure: values in, values out, the same every time. It reads the package's
// own source, so a violation names the file and line.
package puretest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbidden imports and why. A trailing slash forbids the whole tree.
var forbidden = map[string]string{
	"context":                  "nothing here waits",
	"log":                      "events are returned, not logged",
	"log/":                     "events are returned, not logged",
	"net":                      "no network",
	"net/":                     "no network",
	"os":                       "no files, no environment",
	"os/":                      "no files, no environment",
	"sync":                     "one goroutine owns the value",
	"sync/":                    "one goroutine owns the value",
	"syscall":                  "no operating system",
	"crypto/rand":              "randomness is an argument",
	"math/rand":                "use math/rand/v2, given by the caller",
	"github.com/libp2p/":       "no libp2p type: an owner is a 32-byte key",
	"github.com/multiformats/": "no libp2p type",
	"github.com/ipfs/":         "no logger, no datastore",
	"go.etcd.io/":              "no files",
}

// clock lists the functions of package time that read or wait on the clock.
var clock = map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true}

// globalRand lists what of math/rand/v2 makes a generator; everything else there is the shared one or a type.
var globalRand = map[string]bool{"Int": true, "IntN": true, "Int32": true, "Int32N": true, "Int64": true, "Int64N": true,
	"Uint32": true, "Uint32N": true, "Uint64": true, "Uint64N": true, "UintN": true, "Float32": true, "Float64": true,
	"ExpFloat64": true, "NormFloat64": true, "Perm": true, "Shuffle": true, "N": true}

// Check fails t for every line of the package in dir (tests excluded) that reads a clock, uses shared randomness, starts a
// goroutine, uses a channel, or imports a package that could.
func Check(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if len(names) == 0 {
		t.Fatalf("no Go package in %s: nothing was checked", dir)
	}
	CheckFiles(t, nil, names...)
}

// CheckFiles is Check for some files of a package. Imports that begin with one of allowed are no violation.
func CheckFiles(t *testing.T, allowed []string, names ...string) {
	t.Helper()
	fset := token.NewFileSet()
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range violations(file) {
			if !slices.ContainsFunc(allowed, func(path string) bool { return strings.HasPrefix(v.what, "imports "+path) }) {
				t.Errorf("%s: %s", fset.Position(v.pos), v.what)
			}
		}
	}
}

type violation struct {
	pos  token.Pos
	what string
}

func violations(file *ast.File) []violation {
	var found []violation
	add := func(pos token.Pos, what string) { found = append(found, violation{pos, what}) }
	for _, imp := range file.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		for prefix, why := range forbidden {
			if path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) {
				add(imp.Pos(), "imports "+path+": "+why)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n.Pos(), "starts a goroutine")
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			add(n.Pos(), "uses a channel")
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && pkg.Obj == nil {
				switch {
				case pkg.Name == "time" && clock[n.Sel.Name]:
					add(n.Pos(), "reads the clock: time."+n.Sel.Name)
				case pkg.Name == "rand" && globalRand[n.Sel.Name]:
					add(n.Pos(), "uses shared randomness: rand."+n.Sel.Name)
				}
			}
		}
		return true
	})
	return found
}
