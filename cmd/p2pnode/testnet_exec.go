package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/testnet"
)

func (a *app) testnetExecCommand(o *testnet.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "exec nX -- CMD...",
		Short: "Run a command that talks to a node",
		Long: `Run CMD in an environment in which p2pnode means the node nX. Standard input and exit code are those of CMD.

  p2pnode testnet exec n2 -- p2pnode state set hello world`,
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 1 || len(args) < 2 {
				return usageError("write exec nX -- CMD...")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return testnet.Exec(a.testnetOptions(o), args[0], args[1:])
		},
	}
}
