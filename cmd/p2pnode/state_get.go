package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateGetCommand() *cobra.Command {
	var raw, proof bool
	var owner string
	var at uint64
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Read a key",
		Long: `Read a key. The value is written with a line end; --raw writes exactly its bytes.

--proof writes one JSON document instead: the entry, or the tombstone of a deleted key, with all that shows that its owner
signed it. 'p2pnode state verify' checks it anywhere, without a node.

--at reads an earlier version, one of those that 'p2pnode state history' lists.`,
		Args: exactArgs("KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			if proof && raw {
				return usageError("--proof and --raw exclude each other")
			}
			past := c.Flags().Changed("at")
			switch {
			case past && proof:
				return usageError("--proof and --at exclude each other")
			case past && at == 0:
				return usageError("--at 0: versions count from 1")
			}
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				if proof {
					p, err := node.Prove(ctx, args[0], owner)
					if err != nil {
						return err
					}
					return a.writeJSON(p)
				}
				read := node.Get
				if past {
					read = func(ctx context.Context, key, owner string) (api.Value, error) { return node.At(ctx, key, owner, at) }
				}
				v, err := read(ctx, args[0], owner)
				if err != nil {
					return err
				}
				return a.showValue(v, raw)
			})
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "write exactly the value's bytes")
	c.Flags().BoolVar(&proof, "proof", false, "write a proof that its owner signed it, as JSON")
	c.Flags().Uint64Var(&at, "at", 0, "read the key as it was at this version")
	c.Flags().StringVar(&owner, "owner", "", "read this peer's own entry, not the winner of all: its name, id, or an ending of the id")
	return c
}

func (a *app) showValue(v api.Value, raw bool) error {
	switch {
	case a.json:
		return a.writeJSON(v)
	case raw:
		_, err := a.out.Write(v.Value)
		return err
	}
	text := string(v.Value)
	if a.terminal() && strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && unprintable(r) }) {
		return node.NewError(node.CodeBadUsage, nil, "the value of "+plain(v.Key)+" is "+size(len(v.Value))+" that a terminal can't show",
			"write it to a file with --raw, or see it as base64 with --json")
	}
	a.printf("%s\n", text)
	return nil
}
