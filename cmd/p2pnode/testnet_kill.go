package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetKillCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "kill nX",
		Short: "End a node by SIGKILL, as a crash would",
		Args:  exactArgs("nX"),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := testnet.Kill(c.Context(), a.testnetOptions(o), args[0])
			switch {
			case err != nil:
				return err
			case a.json:
				return a.writeJSON(n)
			case !a.quiet:
				a.printf("%s killed\n", n.Name)
			}
			return nil
		},
	}
}
