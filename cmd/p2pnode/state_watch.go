package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateWatchCommand() *cobra.Command {
	var since uint64
	var initial bool
	c := &cobra.Command{
		Use:   "watch [PREFIX] [-- CMD ARG...]",
		Short: "Tell every change of keys, until Ctrl-C",
		Long: `Tell every change of keys, until Ctrl-C.

With CMD it runs once a change, one after another, with P2PNODE_EVENT (put, del or lost), P2PNODE_KEY, P2PNODE_VERSION and
P2PNODE_OWNER in its environment and the value on its standard input. Changes meanwhile wait; if too many do, P2PNODE_EVENT
is gap once, and what is there comes again.`,
		Args: func(c *cobra.Command, args []string) error {
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				if dash == len(args) {
					return usageError("CMD is missing after --")
				}
				args = args[:dash]
			}
			return argsBetween(0, "PREFIX")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			var argv []string
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				args, argv = args[:dash], args[dash:]
			}
			o := api.WatchOptions{Initial: initial}
			if len(args) == 1 {
				o.Prefix = args[0]
			}
			if c.Flags().Changed("since") {
				o.Since = &since
			}
			return a.talk(c.Context(), 0, func(ctx context.Context, node *api.Client) error {
				who := &names{node: node}
				show := func(e api.Event) error { return a.showEvent(ctx, e, who) }
				if argv != nil {
					show = func(e api.Event) error { return a.runFor(ctx, argv, e) }
				}
				for e, err := range node.WatchState(ctx, o) {
					if err != nil {
						return err
					}
					if err := show(e); err != nil {
						return err
					}
				}
				return ended(ctx)
			})
		},
	}
	c.Flags().Uint64Var(&since, "since", 0, "resume behind the event of this number, as --json shows it")
	c.Flags().BoolVar(&initial, "initial", false, "begin with the keys that are there")
	return c
}

// eventLine is one change as --json writes it.
type eventLine struct {
	Type   string      `json:"type"`
	ID     *api.Uint64 `json:"id,omitempty"`
	Value  *api.Value  `json:"value,omitempty"`
	Old    *api.Value  `json:"old,omitempty"`
	Remote bool        `json:"remote,omitempty"`
	Cause  string      `json:"cause,omitempty"`
	Why    string      `json:"why,omitempty"`
	Gap    *api.Gap    `json:"gap,omitempty"`
}

func (a *app) showEvent(ctx context.Context, e api.Event, who *names) error {
	if a.json {
		line := eventLine{Type: e.Kind}
		if e.ID != 0 {
			line.ID = &e.ID
		}
		switch e.Kind {
		case api.EventGap:
			line.Gap = &e.Gap
		case api.EventPut, api.EventDel, api.EventLost:
			line.Value, line.Old, line.Remote, line.Cause, line.Why = &e.Value, e.Old, e.Remote, e.Cause, e.Why
		}
		return a.writeJSON(line)
	}
	now := time.Now().Format(time.TimeOnly)
	key, owner := cell(e.Value.Key, 48), none
	if e.Value.Owner != "" {
		owner = who.of(ctx, e.Value.Owner)
	}
	switch e.Kind {
	case api.EventPut:
		value := "(binary)"
		if e.Value.Text != nil {
			value = cell(*e.Value.Text, 48)
		}
		a.printf("%s  put  %s  v%s  %s  %s\n", now, key, e.Value.Version, owner, value)
	case api.EventDel:
		a.printf("%s  del  %s  v%s  %s\n", now, key, e.Value.Version, owner)
	case api.EventLost:
		if e.Old != nil {
			winner := "a deletion by " + owner
			if !e.Value.Deleted {
				winner = quoted(e.Value, 24)
			}
			a.printf("%s  lost %s  %s  %s lost to %s (%s)\n", now, key, who.of(ctx, e.Old.Owner), quoted(*e.Old, 24), winner, plain(e.Why))
		}
	case api.EventGap:
		a.warn("some changes were missed; here is what holds now", "")
	}
	return nil
}

// runFor runs argv for one change and waits for it. A program that fails is told of and does not end the watch.
func (a *app) runFor(ctx context.Context, argv []string, e api.Event) error {
	if e.Kind == api.EventSynced {
		return nil
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "P2PNODE_EVENT="+e.Kind, "P2PNODE_KEY="+e.Value.Key,
		"P2PNODE_VERSION="+e.Value.Version.String(), "P2PNODE_OWNER="+e.Value.Owner)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(e.Value.Value), a.out, a.err
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		a.warn(argv[0]+" for "+plain(e.Value.Key)+": "+exit.Error(), "")
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return usageError("%v", err)
	}
	return nil
}
