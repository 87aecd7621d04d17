package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// fail writes err to stderr and returns the exit code it stands for.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, args []string, err error) int {
	if sig := (*signalError)(nil); errors.As(context.Cause(ctx), &sig) && errors.Is(err, context.Canceled) {
		return signalExit(sig.signal)
	}
	if said := (saidError{}); errors.As(err, &said) {
		return said.exit
	}
	e := explain(err, a)
	if a.json || wantsJSON(args) {
		text, err := json.Marshal(errorLine{errorFields{e.Code, e.Detail, e.Hint, e.Exit}})
		if err != nil {
			panic(fmt.Sprintf("encode error: %v", err))
		}
		fmt.Fprintf(a.err, "%s\n", text)
		return e.Exit
	}
	fmt.Fprintf(a.err, "p2pnode: error: %s\n", e.Detail)
	if a.verbose && e.Err != nil && e.Err.Error() != e.Detail {
		fmt.Fprintf(a.err, "p2pnode: cause: %v\n", e.Err)
	}
	switch {
	case e.Hint != "":
		fmt.Fprintf(a.err, "p2pnode: hint: %s\n", e.Hint)
	case e.Code == node.CodeBadUsage && cmd != nil:
		fmt.Fprintf(a.err, "p2pnode: hint: see '%s --help'\n", cmd.CommandPath())
	}
	return e.Exit
}

// saidError is a failure that stdout has told already: only its exit code is left.
type saidError struct{ exit int }

func (e saidError) Error() string { return fmt.Sprintf("exit code %d", e.exit) }

// errorLine is an error as --json writes it.
type errorLine struct {
	Error errorFields `json:"error"`
}

type errorFields struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
	Exit   int    `json:"exit"`
}

// wantsJSON looks for --json in a command line whose flags could not be read.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// explain makes of any error the one that is shown.
func explain(err error, a *app) *node.Error {
	var (
		own         *node.Error
		answer      *api.Error
		unreachable *api.UnreachableError
		address     *api.ListenError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &answer):
		return answerError(answer)
	case errors.As(err, &unreachable):
		return unreachableError(unreachable, a)
	case errors.As(err, &address):
		return addressError(address)
	case errors.Is(err, context.DeadlineExceeded):
		return node.NewError(node.CodeTimeout, err, "no answer in time", "allow more with --timeout")
	case errors.Is(err, syscall.ENOSPC):
		return node.NewError(node.CodeDiskFull, err, err.Error(), "")
	default:
		return node.NewError(node.CodeInternal, err, err.Error(), "this is a bug in p2pnode: please report it with the command line and this message")
	}
}

// answerError is what the node answered. A code that this program does not know is of a newer node.
func answerError(e *api.Error) *node.Error {
	detail := e.Error()
	if _, known := node.Explain(e.Code); known {
		return node.NewError(e.Code, e, detail, e.Hint)
	}
	exit := node.ExitInternal
	if e.Status >= 400 && e.Status < 500 {
		exit = node.ExitUsage
	}
	return &node.Error{Code: e.Code, Detail: detail, Hint: e.Hint, Exit: exit, Err: e}
}

func unreachableError(e *api.UnreachableError, a *app) *node.Error {
	where := e.Addr
	if a.api == "" {
		if p, err := a.paths(); err == nil {
			where = p.Data
		}
	}
	const hint = "start it with 'p2pnode run', or point at another one with --home, --node, --api or P2PNODE_API"
	detail := "no node is running for " + where
	switch {
	case e.Stale():
		detail = fmt.Sprintf("no node answers at %s: a node that died left its socket there", e.Addr)
	case errors.Is(e.Err, syscall.EACCES):
		detail = fmt.Sprintf("the API at %s belongs to another user", e.Addr)
	}
	return node.NewError(node.CodeAPINotRunning, e, detail, hint)
}

// addressError is about where the API is, or should be.
func addressError(e *api.ListenError) *node.Error {
	code := node.CodeListenLost
	switch {
	case e.Err == nil:
		code = node.CodeBadUsage
	case e.InUse:
		code = node.CodePortInUse
	}
	return node.NewError(code, e, e.Error(), e.Hint)
}

// usageError is a command line that is wrong.
func usageError(format string, args ...any) error {
	return node.NewError(node.CodeBadUsage, nil, fmt.Sprintf(format, args...), "")
}

// didYouMean is a suffix for an error about a misspelt word, or nothing when no candidate is close.
func didYouMean(word string, candidates []string) string {
	if best := closest(word, candidates); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return ""
}

// closest is the candidate nearest to word by edits, if they are few enough for a slip of the fingers.
func closest(word string, candidates []string) string {
	best, fewest := "", max(1, min(3, len(word)/2))+1
	for _, c := range candidates {
		if n := edits(strings.ToLower(word), strings.ToLower(c)); n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours that make b of a (optimal string
// alignment distance).
func edits(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
