package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateLsCommand() *cobra.Command {
	var o api.ListOptions
	var sort string
	c := &cobra.Command{
		Use:   "ls [PREFIX]",
		Short: "List keys",
		Args:  argsBetween(0, "PREFIX"),
		RunE: func(c *cobra.Command, args []string) error {
			order, ok := entryOrders[sort]
			if !ok {
				return usageError("--sort %q: must be key, updated or size", sort)
			}
			if len(args) == 1 {
				o.Prefix = args[0]
			}
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				entries, err := node.List(ctx, o)
				if err != nil {
					return err
				}
				slices.SortStableFunc(entries, order)
				if a.json {
					return a.writeJSON(struct {
						Schema  string      `json:"schema"`
						Entries []api.Value `json:"entries"`
					}{"p2pnode.state/v1", orEmpty(entries)})
				}
				if a.quiet {
					for _, e := range entries {
						a.printf("%s\n", plain(e.Key))
					}
					return nil
				}
				return a.showEntries(ctx, entries, &names{node: node}, time.Now())
			})
		},
	}
	c.Flags().StringVar(&o.Owner, "owner", "", "only this peer's entries: its name, id, or an ending of the id")
	c.Flags().BoolVar(&o.Tombstones, "tombstones", false, "list deleted keys too, while they are remembered")
	c.Flags().StringVar(&sort, "sort", "key", "order: key, updated (newest first) or size (largest first)")
	return c
}

var entryOrders = map[string]func(x, y api.Value) int{
	"key":     func(x, y api.Value) int { return cmp.Or(cmp.Compare(x.Key, y.Key), cmp.Compare(x.Owner, y.Owner)) },
	"updated": func(x, y api.Value) int { return y.Written.Compare(x.Written.Time) },
	"size":    func(x, y api.Value) int { return cmp.Compare(y.Size, x.Size) },
}

func (a *app) showEntries(ctx context.Context, entries []api.Value, who *names, now time.Time) error {
	if len(entries) == 0 {
		a.note("no keys")
		return nil
	}
	t := a.table("KEY", "VER", "OWNER", "SIZE", "UPDATED", "VALUE")
	for _, e := range entries {
		bytes, value := size(e.Size), "(binary)"
		switch {
		case e.Deleted:
			bytes, value = none, "(deleted)"
		case e.Text != nil:
			value = cell(*e.Text, 32)
		}
		t.row(cell(e.Key, 48), e.Version, who.of(ctx, e.Owner), bytes, age(e.Written.Time, now), value)
	}
	return t.write()
}
