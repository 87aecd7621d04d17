package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateImportCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take in an export",
		Long: `Take in what 'p2pnode state export' wrote, from a file or, with -, from standard input, at a node of the same network. Every
line is checked and applied as what a peer sends: what the node holds already, or newer, stays. So an import never takes
anything back, and doing it twice does nothing.

--dry-run changes nothing and says what would happen.

Exit code 5 when a line was not taken in; the others were.`,
		Args: exactArgs("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if a.topic != "" {
				return usageError("--topic does not go with import: it takes the topics that the file holds")
			}
			in, name, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			return a.talk(c.Context(), 0, func(ctx context.Context, node *api.Client) error {
				report, err := node.Import(ctx, in, dryRun)
				if err != nil {
					return err
				}
				return a.showImport(name, report)
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing, only say what would happen")
	return c
}

func (a *app) showImport(name string, r api.ImportReport) error {
	if a.json {
		if err := a.writeJSON(r); err != nil {
			return err
		}
	} else {
		a.showImportLines(name, r)
	}
	if r.Complete() {
		return nil
	}
	n := len(r.Problems) + r.Omitted
	return node.NewError(node.CodeImportIncomplete, nil, fmt.Sprintf("%s: %s not taken in", plain(name), plural(n, "line was", "lines were")), "")
}

func (a *app) showImportLines(name string, r api.ImportReport) {
	for _, p := range r.Problems {
		of := ""
		if p.Owner != "" {
			of = fmt.Sprintf("%s on %s: ", shortID(p.Owner), plain(p.Topic))
		}
		fmt.Fprintf(a.err, "%s: line %d: %s%s\n", plain(name), p.Line, of, plain(p.Detail))
	}
	if r.Omitted > 0 {
		fmt.Fprintf(a.err, "%s: and %s more\n", plain(name), plural(r.Omitted, "line", "lines"))
	}
	if a.quiet {
		return
	}
	did := "imported"
	if r.DryRun {
		did = "would import"
	}
	a.printf("%s %s, %d held already", did, plural(r.Applied, "state", "states"), r.Stale)
	for _, c := range []struct {
		n    int
		what string
	}{
		{r.Forgotten, "forgotten"}, {r.OwnerUnknown, "of unknown owners"}, {r.OwnChanged, "of this node itself, changed since"},
		{r.Refused, "refused"}, {r.UnknownTopic, "of other topics"}, {r.Bad, "bad"},
	} {
		if c.n > 0 {
			a.printf(", %d %s", c.n, c.what)
		}
	}
	a.printf("\n")
}

// perTopic lists topics with their counts.
func perTopic(topics map[string]int) string {
	if len(topics) == 0 {
		return "no owners"
	}
	var all []string
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		all = append(all, fmt.Sprintf("%s on %s", count(topics[topic], "owner"), plain(topic)))
	}
	return strings.Join(all, ", ")
}

// plural is n with the words for one or for many.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
