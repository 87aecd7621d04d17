package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) workCancelCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "cancel JOB",
		Short: "Withdraw a job that this node submitted",
		Args:  exactArgs("JOB"),
		RunE: func(c *cobra.Command, args []string) error {
			if !yes {
				if err := a.confirm("cancel job " + plain(args[0]) + "?"); err != nil {
					return err
				}
			}
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				j, err := node.CancelJob(ctx, args[0])
				switch {
				case err != nil:
					return err
				case a.json:
					return a.writeJSON(j)
				case !a.quiet:
					a.printf("%s cancelled with %s of %s nonces searched\n", j.ID, group(uint64(j.Done)), group(uint64(j.Total)))
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// confirm asks a person for a yes. Where nobody can be asked it wants --yes.
func (a *app) confirm(question string) error {
	if !isTerminal(a.in) || !isTerminal(a.err) {
		return usageError("%s nobody is here to ask: say --yes", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // no line is no yes
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return usageError("nothing was done")
}
