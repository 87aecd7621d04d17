package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetRestartCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "restart nX",
		Short: "Start a node again, on its own files and ports",
		Args:  exactArgs("nX"),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := testnet.Restart(c.Context(), a.testnetOptions(o), args[0])
			switch {
			case err != nil:
				return err
			case a.json:
				return a.writeJSON(n)
			case !a.quiet:
				a.printf("%s runs again (pid %d)\n", n.Name, n.PID)
			}
			return nil
		},
	}
}
