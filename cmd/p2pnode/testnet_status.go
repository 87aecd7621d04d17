package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetStatusCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show each node and whether it agrees with the others",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := a.deadline(c.Context(), requestTimeout)
			defer cancel()
			r, err := testnet.Status(ctx, a.testnetOptions(o))
			if err != nil {
				return err
			}
			return a.showReport(r)
		},
	}
}
