package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// maxPayload bounds what is read as a payload, in bytes. A header in hex has 160.
const maxPayload = 8 << 10

func (a *app) workSubmitCommand() *cobra.Command {
	var spec api.JobSpec
	var span, payload string
	var chunk count64
	var wait bool
	c := &cobra.Command{
		Use:   "submit --payload HEX|@FILE|- --range A:B",
		Short: "Give the network a range of nonces to search",
		Long: `Give the network a range of nonces to search.

The payload of sha256d is a block header in hex: 76 bytes without its nonce, or 80 whose nonce is ignored; white space around
it is allowed. The range holds A and not B. The target, the largest hash that counts, is the header's own unless given.
A nonce may be searched more than once, never less: nodes that die or part are made good.

With --wait the command ends with the result: exit code 0, or 4 when --stop is first and the whole range held nothing.`,
		Args: exactArgs(),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if spec.Stop != "first" && spec.Stop != "all" {
				return usageError("--stop %q: must be first or all", spec.Stop)
			}
			if !c.Flags().Changed("payload") {
				return usageError("--payload is missing")
			}
			if !c.Flags().Changed("range") {
				return usageError("--range is missing")
			}
			if spec.Range, err = parseRange(span); err != nil {
				return err
			}
			if spec.Payload, err = a.readPayload(payload); err != nil {
				return err
			}
			spec.Chunk = api.Uint64(chunk)
			return a.submit(c.Context(), spec, wait)
		},
	}
	f := c.Flags()
	f.StringVar(&spec.Kind, "algo", "sha256d", "what to do with each nonce: sha256d, the hash of Bitcoin's block headers")
	f.StringVar(&payload, "payload", "", "block header in hex; @FILE reads it from a file, - from standard input")
	f.StringVar(&span, "range", "", "nonces to search, A:B in decimal")
	f.StringVar(&spec.Target, "target", "", "largest hash that counts, hex (default: what the header's bits say)")
	f.Var(&chunk, "chunk", "nonces in one cell, such as 1Mi (default: chosen by the node)")
	f.StringVar(&spec.Stop, "stop", "first", "end at the first hit, or search all")
	f.StringVar(&spec.Name, "name", "", "label for people")
	f.BoolVar(&wait, "wait", false, "wait for the result")
	return c
}

func (a *app) submit(ctx context.Context, spec api.JobSpec, wait bool) error {
	var job api.Job
	err := a.ask(ctx, func(ctx context.Context, c *api.Client) (err error) {
		job, err = c.SubmitJob(ctx, spec)
		return err
	})
	if err != nil {
		return err
	}
	if wait {
		return a.talk(ctx, 0, func(ctx context.Context, c *api.Client) error { return a.follow(ctx, c, job.ID) })
	}
	switch {
	case a.json:
		return a.writeJSON(job)
	case a.quiet:
		a.printf("%s\n", job.ID)
	default:
		a.printf("%s submitted: %s, %s nonces\n", job.ID, job.Kind, group(uint64(job.Total)))
		a.note("next: p2pnode work watch %s", job.ID)
	}
	return nil
}

// readPayload is the payload of the flag, of a file or of standard input, without white space around it.
func (a *app) readPayload(s string) (string, error) {
	r, name := io.Reader(nil), "standard input"
	switch file, isFile := strings.CutPrefix(s, "@"); {
	case isFile:
		f, err := os.Open(file)
		if err != nil {
			return "", usageError("--payload: %v", err)
		}
		defer f.Close()
		r, name = f, file
	case s == "-":
		r = a.in
	default:
		return strings.TrimSpace(s), nil
	}
	text, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil {
		return "", usageError("--payload: read %s: %v", name, err)
	}
	if len(text) > maxPayload {
		return "", node.NewError(node.CodeBadHeader, nil, name+" has more than 8 KiB: it is no block header in hex", "a header is 152 or 160 hex digits")
	}
	return strings.TrimSpace(string(text)), nil
}

// parseRange reads A:B.
func parseRange(s string) (api.Range, error) {
	bad := func(format string, args ...any) (api.Range, error) {
		return api.Range{}, node.NewError(node.CodeBadRange, nil, fmt.Sprintf("range %q ", s)+fmt.Sprintf(format, args...), "write --range A:B, the first nonce and the one after the last, such as 0:4294967296")
	}
	first, last, ok := strings.Cut(s, ":")
	if !ok {
		return bad("is not A:B")
	}
	start, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return bad("starts with %q, which is not a number from 0 to 2^64-1", first)
	}
	end, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return bad("ends with %q, which is not a number from 0 to 2^64-1", last)
	}
	switch {
	case start == end:
		return bad("is empty")
	case start > end:
		return bad("is reversed")
	}
	return api.Range{Start: api.Uint64(start), End: api.Uint64(end)}, nil
}

// count64 is a flag of a number above zero that may have a suffix: Ki, Mi, Gi.
type count64 uint64

func (n *count64) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

func (n *count64) Set(s string) error {
	digits, shift := s, 0
	for suffix, bits := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, shift = d, bits
		}
	}
	v, err := strconv.ParseUint(digits, 10, 64-shift)
	if err != nil || v == 0 {
		return fmt.Errorf("must be a number above zero, such as 4096, 64Ki or 1Mi")
	}
	*n = count64(v << shift)
	return nil
}

func (n *count64) Type() string { return "count" }
