package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetCommand() *cobra.Command {
	var o testnet.Options
	c := parent("testnet", "Run a whole network on this machine",
		a.testnetUpCommand(&o), a.testnetDownCommand(&o), a.testnetStatusCommand(&o), a.testnetKillCommand(&o),
		a.testnetRestartCommand(&o), a.testnetLogsCommand(&o), a.testnetExecCommand(&o))
	c.PersistentFlags().StringVar(&o.Name, "name", testnet.DefaultName, "name of the testnet; several may run side by side")
	return c
}

// testnetOptions adds to the flags of the testnet how long --timeout allows.
func (a *app) testnetOptions(o *testnet.Options) testnet.Options {
	with := *o
	with.Deadline = a.timeout.d
	return with
}

func (a *app) showReport(r testnet.Report) error {
	if a.json {
		return r.WriteJSON(a.out)
	}
	if a.quiet {
		return nil
	}
	return r.WriteText(a.out)
}
