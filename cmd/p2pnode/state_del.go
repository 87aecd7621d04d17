package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateDelCommand() *cobra.Command {
	var o api.WriteOptions
	var version uint64
	c := &cobra.Command{
		Use:   "del KEY",
		Short: "Delete a key",
		Long:  "Delete a key. A tombstone takes its place for a while, so that the deletion reaches nodes that are away.",
		Args:  exactArgs("KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := checkWait(o.Wait); err != nil {
				return err
			}
			if o.IfVersion, err = ifVersion(c.Flags(), version, false); err != nil {
				return err
			}
			return a.write(c.Context(), o, func(ctx context.Context, node *api.Client, o api.WriteOptions) error {
				w, err := node.Delete(ctx, args[0], o)
				switch {
				case err != nil:
					return err
				case a.json:
					return a.writeJSON(w)
				case !a.quiet:
					a.printf("%s deleted  version %s  %s\n", cell(w.Key, 60), w.Version, reach(w))
				}
				return nil
			})
		},
	}
	c.Flags().Uint64Var(&version, "if-version", 0, "only when the key is at this version")
	c.Flags().StringVar(&o.Wait, "wait", "", "wait until so many members have it, a number or all")
	return c
}
