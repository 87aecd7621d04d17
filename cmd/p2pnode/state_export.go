package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateExportCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "export [PREFIX]",
		Short: "Write every owner's signed state, one a line",
		Long: `Write the state of every owner that the node holds, as the owner signed it: NDJSON with a head, one line for each owner and
topic, and a last line that shows that nothing was cut. 'p2pnode state verify' checks it anywhere, without a node, and 'p2pnode
state import' takes it in at a node of the same network. It is the backup of a network's state.

An owner signs all of its state at once, so a part of it could not be checked. PREFIX therefore chooses owners: those that have
a key under it, deleted ones included, with all their keys. --topic exports that topic, and of members the owners that it needs.

Left out are owners that were silent for long when this node started: it holds their state back until it hears of them again.

With -o the file is replaced once the export is whole; before that it is as it was.`,
		Args: argsBetween(0, "PREFIX"),
		RunE: func(c *cobra.Command, args []string) error {
			var prefix string
			if len(args) == 1 {
				prefix = args[0]
			}
			return a.talk(c.Context(), 0, func(ctx context.Context, node *api.Client) error {
				if file == "" || file == "-" {
					return node.Export(ctx, prefix, a.out)
				}
				return replaceFile(file, func(out io.Writer) error { return node.Export(ctx, prefix, out) })
			})
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "file to write, with mode 0600 (default: standard output)")
	return c
}

// replaceFile puts what write writes in the place of the file at path, whole or not at all.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeTo(path, write) // a device or a pipe
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return fileError(path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return fileError(path, err)
	}
	return fileError(path, os.Rename(f.Name(), path))
}

func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fileError(path, err)
	}
	return fileError(path, errors.Join(write(f), f.Close()))
}

// fileError says what is wrong with a file that was to be written; other errors come back as they are.
func fileError(path string, err error) error {
	var where *fs.PathError
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return node.NewError(node.CodeDiskFull, err, "no space left to write "+plain(path), "what was there before is unchanged")
	case errors.As(err, &where):
		return usageError("cannot write %s: %v", plain(path), where.Err)
	}
	return err
}

// verifyExport checks every line of an export and tells those that do not hold.
func (a *app) verifyExport(in io.Reader, name, network string) error {
	r, err := api.NewExportReader(in)
	if bad := (*api.LineError)(nil); errors.As(err, &bad) {
		return node.NewError(node.CodeNotVerified, err, plain(name)+": "+bad.Error(), "'p2pnode state export' writes an export")
	}
	if err != nil {
		return usageError("%v", err)
	}
	if network != "" && r.Head.Network != network {
		return node.NewError(node.CodeNotVerified, nil, fmt.Sprintf("%s is an export of network %s, not %s", plain(name), plain(r.Head.Network), network), "")
	}
	sum := exportSummary{Schema: "p2pnode.verified-export/v1", Network: r.Head.Network, Topics: map[string]int{}}
	for {
		s, err := r.Next()
		var bad *api.LineError
		switch {
		case errors.Is(err, io.EOF):
			return a.showExport(name, sum)
		case errors.As(err, &bad):
			sum.Bad++
			a.showBadLine(name, bad)
			if bad.Fatal {
				return a.showExport(name, sum)
			}
		case err != nil:
			return usageError("%v", err)
		default:
			sum.Owners++
			sum.Topics[s.Topic()]++
		}
	}
}

// exportSummary is what was found in an export, as --json writes it.
type exportSummary struct {
	Schema  string         `json:"schema"`
	Network string         `json:"network"`
	Topics  map[string]int `json:"topics"` // lines that hold
	Owners  int            `json:"owners"` // lines that hold, of all topics
	Bad     int            `json:"bad"`
}

// badLine is a line that does not hold, as --json writes it.
type badLine struct {
	Type   string `json:"type"` // bad
	Line   int    `json:"line"`
	Detail string `json:"detail"`
}

func (a *app) showBadLine(name string, bad *api.LineError) {
	if a.json {
		_ = a.writeJSON(badLine{"bad", bad.Line, bad.Err.Error()})
		return
	}
	fmt.Fprintf(a.err, "%s: %s\n", plain(name), plain(bad.Error()))
}

func (a *app) showExport(name string, sum exportSummary) error {
	switch {
	case a.json:
		if err := a.writeJSON(sum); err != nil {
			return err
		}
	case !a.quiet:
		a.printf("%s verified, as signed for network %s: %s\n", count(sum.Owners, "line"), plain(sum.Network), perTopic(sum.Topics))
	}
	if sum.Bad > 0 {
		return node.NewError(node.CodeNotVerified, nil, fmt.Sprintf("%s: %s not hold", plain(name), plural(sum.Bad, "line does", "lines do")),
			"'p2pnode state import' leaves them out and takes the others")
	}
	return nil
}
