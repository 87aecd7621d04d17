package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) workWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch JOB",
		Short: "Follow a job until it has ended",
		Long:  "Follow a job until it has ended, with the exit code of 'work submit --wait'. Ctrl-C ends the watching, not the job.",
		Args:  exactArgs("JOB"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.talk(c.Context(), 0, func(ctx context.Context, node *api.Client) error {
				return a.follow(ctx, node, args[0])
			})
		},
	}
}
