package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateHistoryCommand() *cobra.Command {
	var owner string
	c := &cobra.Command{
		Use:   "history KEY",
		Short: "List what stood under a key",
		Long: `List what is known to have stood under a key, newest first: what stands now, what other nodes wrote and lost, and what was
replaced or deleted since this node started. It remembers the newest values of each key, as many as state.history in config.toml
says, in memory: a restart ends that.

'p2pnode state get KEY --at VERSION' reads one, 'p2pnode state revert KEY VERSION' brings it back.`,
		Args: exactArgs("KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				versions, err := node.History(ctx, args[0], owner)
				if err != nil {
					return err
				}
				return a.showVersions(ctx, versions, &names{node: node}, time.Now())
			})
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "of a key that is its writer's alone: whose, by name, id, or an ending of the id")
	return c
}

func (a *app) showVersions(ctx context.Context, versions api.Versions, who *names, now time.Time) error {
	if a.json {
		return a.writeJSON(struct {
			Schema   string          `json:"schema"`
			Versions []api.PastValue `json:"versions"`
			Cut      bool            `json:"cut"`
		}{"p2pnode.history/v1", orEmpty(versions.Items), versions.Cut})
	}
	if a.quiet {
		for _, v := range versions.Items {
			a.printf("%s\n", v.Version)
		}
		return nil
	}
	t := a.table("VER", "OWNER", "SIZE", "WRITTEN", "VALUE", "")
	for _, v := range versions.Items {
		bytes, value, note := size(v.Size), "(binary)", ""
		switch {
		case v.Deleted:
			bytes, value = none, "(deleted)"
		case v.Text != nil:
			value = cell(*v.Text, 32)
		}
		if v.Current {
			note = "now"
		}
		t.row(v.Version, who.of(ctx, v.Owner), bytes, age(v.Written.Time, now), value, note)
	}
	if err := t.write(); err != nil {
		return err
	}
	if versions.Cut {
		a.note("older versions are not remembered")
	}
	return nil
}

func (a *app) stateRevertCommand() *cobra.Command {
	var o api.WriteOptions
	var ttl duration
	var version uint64
	c := &cobra.Command{
		Use:   "revert KEY VERSION",
		Short: "Set a key to what it was at an earlier version",
		Long: `Set a key to what it was at an earlier version, one of those that 'p2pnode state history KEY' lists. That makes a new version:
nothing is undone, and the history goes on.`,
		Args: exactArgs("KEY", "VERSION"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if err := checkWait(o.Wait); err != nil {
				return err
			}
			to, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil || to == 0 {
				return usageError("VERSION %q: must be a number from 1 on", args[1])
			}
			if o.IfVersion, err = ifVersion(c.Flags(), version, false); err != nil {
				return err
			}
			o.TTL = ttl.d
			return a.write(c.Context(), o, func(ctx context.Context, node *api.Client, o api.WriteOptions) error {
				w, err := node.Revert(ctx, args[0], to, o)
				if err != nil {
					return err
				}
				return a.showWritten(ctx, node, w)
			})
		},
	}
	f := c.Flags()
	f.Var(&ttl, "ttl", "delete the key after this time, such as 1h")
	f.Uint64Var(&version, "if-version", 0, "only when the key is at this version")
	f.StringVar(&o.Wait, "wait", "", "wait until so many members have it, a number or all")
	return c
}
