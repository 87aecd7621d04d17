package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
)

type explanation struct {
	Code string `json:"code"`
	Exit int    `json:"exit"`
	Text string `json:"text"`
}

func (a *app) errorsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "errors [SLUG]",
		Short: "Explain an error code, or list all",
		Long: `Explain the code of an error, as it stands in --json and in the API's answers, or list all codes.

Exit codes: 0 done, 1 unexpected, 2 usage or configuration, 3 no node answers, 4 not found, 5 check failed, 6 refused,
7 timed out, 8 conflict, 9 local resource, 130 and 143 ended by a signal. Exit 0 marks a warning: no command ends with it.`,
		Args: argsBetween(0, "SLUG"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listErrors()
			}
			e, ok := node.Explain(args[0])
			if !ok {
				var codes []string
				for _, e := range node.Explanations() {
					codes = append(codes, e.Code)
				}
				return node.NewError(node.CodeNotFound, nil, "no error code \""+plain(args[0])+"\""+didYouMean(args[0], codes), "'p2pnode errors' lists all")
			}
			if a.json {
				return a.writeJSON(explanation{e.Code, e.Exit, e.Text})
			}
			a.printf("%s (exit %d): %s\n", e.Code, e.Exit, e.Text)
			return nil
		},
	}
}

func (a *app) listErrors() error {
	t := a.table("CODE", "EXIT", "MEANING")
	for _, e := range node.Explanations() {
		if a.json {
			if err := a.writeJSON(explanation{e.Code, e.Exit, e.Text}); err != nil {
				return err
			}
			continue
		}
		t.row(e.Code, e.Exit, e.Text)
	}
	if a.json {
		return nil
	}
	return t.write()
}
