package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) idCommand() *cobra.Command {
	var addrs bool
	c := &cobra.Command{
		Use:   "id",
		Short: "Show the node's peer id",
		Long:  "Show the node's peer id, whether it runs or not. --addrs shows the addresses for others to join through, of a running node.",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			// What answers at an API is asked there; its files may be elsewhere.
			if addrs || a.api != "" {
				return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
					info, err := node.Node(ctx)
					if err != nil {
						return err
					}
					return a.showID(info, addrs)
				})
			}
			cfg, err := a.loadConfig("", nil)
			if err != nil {
				return err
			}
			key, err := node.LoadIdentity(cfg.IdentityPath())
			if errors.Is(err, fs.ErrNotExist) {
				return node.NewError(node.CodeNotFound, err, "no identity yet: "+cfg.IdentityPath()+" does not exist", "make one with 'p2pnode init', or just 'p2pnode run'")
			}
			if err != nil {
				return err
			}
			id, err := peer.IDFromPrivateKey(key)
			if err != nil {
				return fmt.Errorf("peer id: %w", err)
			}
			return a.showID(api.NodeInfo{ID: id.String()}, false)
		},
	}
	c.Flags().BoolVar(&addrs, "addrs", false, "show the addresses for others to join through")
	return c
}

func (a *app) showID(info api.NodeInfo, addrs bool) error {
	switch {
	case a.json && addrs:
		return a.writeJSON(map[string]any{"id": info.ID, "addrs": orEmpty(info.Addrs)})
	case a.json:
		return a.writeJSON(map[string]any{"id": info.ID})
	case addrs:
		for _, addr := range info.Addrs {
			a.printf("%s\n", addr)
		}
	default:
		a.printf("%s\n", info.ID)
	}
	return nil
}
