package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// maxInput bounds what is read as a value, in bytes: enough to tell by how much a file is too large.
const maxInput = 16 << 20

func (a *app) stateSetCommand() *cobra.Command {
	var o api.WriteOptions
	var file string
	var ttl duration
	var version uint64
	var absent bool
	c := &cobra.Command{
		Use:   "set KEY VALUE|-",
		Short: "Set a key",
		Long: `Set a key to a value, which - reads from standard input and --file from a file, byte by byte.

The command returns when this node has stored the change; the others get it by themselves. --wait makes it wait for them.
--if-version and --if-absent are checked on this node: they are no consensus.`,
		Args: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("file") {
				return exactArgs("KEY")(c, args)
			}
			return exactArgs("KEY", "VALUE")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := checkWait(o.Wait); err != nil {
				return err
			}
			if o.IfVersion, err = ifVersion(c.Flags(), version, absent); err != nil {
				return err
			}
			value, err := a.readValue(args[1:], file)
			if err != nil {
				return err
			}
			o.TTL = ttl.d
			return a.write(c.Context(), o, func(ctx context.Context, node *api.Client, o api.WriteOptions) error {
				w, err := node.Set(ctx, args[0], value, o)
				if err != nil {
					return err
				}
				return a.showWritten(ctx, node, w)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&file, "file", "", "read the value from this file")
	f.Var(&ttl, "ttl", "delete the key after this time, such as 1h")
	f.Uint64Var(&version, "if-version", 0, "only when the key is at this version")
	f.BoolVar(&absent, "if-absent", false, "only when the key does not exist")
	f.StringVar(&o.Wait, "wait", "", "wait until so many members have it, a number or all")
	f.StringVar(&o.ContentType, "content-type", "", "media type kept with the value (default: text/plain for text)")
	return c
}

// checkWait wants a number above zero, or all.
func checkWait(s string) error {
	if s == "" || s == "all" {
		return nil
	}
	if n, err := strconv.Atoi(s); err != nil || n < 1 {
		return usageError("--wait %q: must be a number of members, or all", s)
	}
	return nil
}

// readValue is the value of the command line, of standard input or of a file.
func (a *app) readValue(args []string, file string) ([]byte, error) {
	switch {
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, usageError("--file: %v", err)
		}
		defer f.Close()
		return readBounded(f, file)
	case args[0] == "-":
		return readBounded(a.in, "standard input")
	default:
		return []byte(args[0]), nil
	}
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, usageError("read %s: %v", name, err)
	}
	if len(value) <= wire.MaxValue {
		return value, nil
	}
	has := size(len(value))
	if len(value) > maxInput {
		has = "more than " + size(maxInput)
	}
	return nil, node.NewError(node.CodeValueTooLarge, nil, fmt.Sprintf("value is %s, the limit is %s", has, size(wire.MaxValue)),
		"store it elsewhere and put its hash here")
}

// write bounds a write by --timeout. With --wait the node itself gives up in time, so that its answer can tell how far
// the write has come.
func (a *app) write(ctx context.Context, o api.WriteOptions, f func(context.Context, *api.Client, api.WriteOptions) error) error {
	limit := requestTimeout
	if a.timeout.set {
		limit = a.timeout.d
	}
	if o.Wait == "" {
		return a.ask(ctx, func(ctx context.Context, c *api.Client) error { return f(ctx, c, o) })
	}
	o.WaitTimeout = limit
	ctx, cancel := context.WithTimeout(ctx, limit+2*time.Second)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c, o)
}

func (a *app) showWritten(ctx context.Context, node *api.Client, w api.Written) error {
	switch {
	case a.json:
		return a.writeJSON(w)
	case a.quiet:
		return nil
	}
	who := names{node: node}
	a.printf("%s = %s  version %s  (%s, owner %s) %s\n", cell(w.Key, 60), quoted(w.Value, 60), w.Version, size(w.Size), who.of(ctx, w.Owner), reach(w))
	return nil
}

// quoted is text in quotes, or what the bytes are; cut to width.
func quoted(v api.Value, width int) string {
	if v.Text == nil {
		return "(binary)"
	}
	return `"` + cell(*v.Text, width) + `"`
}
