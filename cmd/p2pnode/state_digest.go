package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateDigestCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "digest",
		Short: "Show the fingerprint of the state; nodes that agree have the same",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				if !all {
					d, err := node.Digest(ctx)
					if err != nil {
						return err
					}
					return a.showDigest(d)
				}
				answers, err := node.Ask(ctx)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(answers)
				}
				self, err := node.Node(ctx)
				if err != nil {
					return err
				}
				return a.showAgreements(answers, self)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "ask every live member for its own")
	return c
}

func (a *app) showDigest(d api.Digest) error {
	switch {
	case a.json:
		return a.writeJSON(d)
	case a.quiet:
		a.printf("%s\n", d.Digest)
	default:
		a.printf("%s  topic %s, %s, %s, %s, %s\n", d.Digest, plain(d.Topic), count(d.Keys, "key"), count(d.Tombstones, "tombstone"), count(d.Owners, "owner"), size(d.Bytes))
	}
	return nil
}

func (a *app) showAgreements(all api.Agreements, self api.NodeInfo) error {
	t := a.table("MEMBER", "ID", "DIGEST", "OWNERS", "BEHIND", "")
	t.row(cell(self.Name, 20), shortID(self.ID), shortHash(all.Digest.Digest), all.Owners, none, "this node")
	for _, m := range all.Members {
		digest, owners, behind, note := none, none, none, ""
		if m.Digest != nil {
			digest, owners = shortHash(m.Digest.Digest), strconv.Itoa(m.Digest.Owners)
		}
		switch {
		case m.Error != "":
			note = plain(m.Error)
		case !m.Agrees:
			behind, note = count(m.Behind, "owner"), "differs"
		}
		t.row(cell(m.Name, 20), shortID(m.ID), digest, owners, behind, note)
	}
	if err := t.write(); err != nil {
		return err
	}
	a.printf("%d of %d agree\n", all.Agree, all.Of)
	return nil
}
