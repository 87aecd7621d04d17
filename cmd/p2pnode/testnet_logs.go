package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetLogsCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "logs nX",
		Short: "Write what a node has said, over all its restarts",
		Args:  exactArgs("nX"),
		RunE: func(c *cobra.Command, args []string) error {
			return testnet.Logs(c.Context(), a.testnetOptions(o), args[0], a.out)
		},
	}
}
