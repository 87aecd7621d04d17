package node

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplanationsAreSortedAndUnique(t *testing.T) {
	all := Explanations()
	require.True(t, slices.IsSortedFunc(all, func(a, b Explanation) int { return strings.Compare(a.Code, b.Code) }))
	for i, e := range all {
		if i > 0 {
			require.NotEqual(t, all[i-1].Code, e.Code)
		}
		require.NotEmpty(t, e.Text, e.Code)
		require.NotContains(t, e.Text, "\n", e.Code)
		require.False(t, strings.HasSuffix(e.Text, "."), "%s: no full stop", e.Code)
		require.LessOrEqual(t, e.Exit, ExitResource, e.Code)
	}
}

// Every constant Code... of the package has its explanation, so NewError cannot panic for one of them.
func TestEveryCodeIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		code, err := strconv.Unquote(lit.Value)
		require.NoError(t, err)
		got, known := Explain(code)
		require.True(t, known, "%s = %q", spec.Names[0].Name, code)
		require.Equal(t, code, got.Code)
		codes++
		return true
	})
	require.Equal(t, len(explanations), codes)
}

func TestExplainUnknown(t *testing.T) {
	_, ok := Explain("no-such-slug")
	require.False(t, ok)
	require.Panics(t, func() { _ = NewError("no-such-slug", nil, "x", "") })
}

func TestErrorKeepsItsCause(t *testing.T) {
	err := fmt.Errorf("start: %w", NewError(CodeKeyUnreadable, fs.ErrPermission, "identity.key belongs to uid 0", "run as uid 0"))
	require.ErrorIs(t, err, fs.ErrPermission)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "identity.key belongs to uid 0", e.Error())
	require.Equal(t, fs.ErrPermission.Error(), (&Error{Err: fs.ErrPermission}).Error())
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("boom"), 1},
		{NewError(CodeBadMultiaddr, nil, "x", ""), 2},
		{NewError(CodeAPINotRunning, nil, "x", ""), 3},
		{fmt.Errorf("get: %w", NewError(CodeNotFound, nil, "x", "")), 4},
		{NewError(CodeNotConverged, nil, "x", ""), 5},
		{NewError(CodeReservedKey, nil, "x", ""), 6},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), 7},
		{NewError(CodePortInUse, nil, "x", ""), 8},
		{NewError(CodeKeyPermissions, nil, "x", ""), 9},
	} {
		require.Equal(t, c.want, ExitCode(c.err), "%v", c.err)
	}
}
