package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetUpCommand(o *testnet.Options) *cobra.Command {
	var n int
	c := &cobra.Command{
		Use:   "up -n N",
		Short: "Start N nodes and return when all hold the same state",
		Long: `Start N nodes on loopback, each a process of its own on free ports, and return when all hold the same state.

Other commands talk to one of them with --node nX, or --node NAME/nX.`,
		Args: exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := testnet.Up(c.Context(), a.testnetOptions(o), n)
			if err != nil {
				return err
			}
			return a.showReport(r)
		},
	}
	c.Flags().IntVarP(&n, "nodes", "n", 5, "number of nodes")
	return c
}
