package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetDownCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop every node and remove their files",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			stopped, existed, err := testnet.Down(c.Context(), a.testnetOptions(o))
			switch {
			case err != nil:
				return err
			case a.json:
				return a.writeJSON(map[string]any{"name": o.Name, "stopped": stopped, "existed": existed})
			case a.quiet:
			case existed:
				a.printf("testnet %q: stopped %s\n", o.Name, count(stopped, "node"))
			default:
				a.printf("no testnet %q\n", o.Name)
			}
			return nil
		},
	}
}
