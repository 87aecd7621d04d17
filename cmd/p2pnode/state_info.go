package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateInfoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Sum up what this node holds of each topic",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				if a.topic != "" { // that there is such a topic
					if _, err := node.Digest(ctx); err != nil {
						return err
					}
				}
				st, err := node.Status(ctx)
				if err != nil {
					return err
				}
				return a.showTopics(st.Topics)
			})
		},
	}
}

func (a *app) showTopics(all []api.TopicStatus) error {
	var topics []api.TopicStatus
	for _, t := range all {
		if a.topic == "" || t.Topic == a.topic {
			topics = append(topics, t)
		}
	}
	switch {
	case a.json:
		return a.writeJSON(struct {
			Schema string            `json:"schema"`
			Topics []api.TopicStatus `json:"topics"`
		}{"p2pnode.state-info/v1", orEmpty(topics)})
	case a.quiet:
		for _, t := range topics {
			a.printf("%s\n", plain(t.Topic))
		}
		return nil
	}
	table := a.table("TOPIC", "DIGEST", "OWNERS", "KEYS", "TOMBSTONES", "SIZE", "AGREE")
	for _, t := range topics {
		table.row(plain(t.Topic), shortHash(t.Digest), t.Owners, t.Keys, t.Tombstones, size(t.Bytes), fmt.Sprintf("%d of %d", t.Agree, t.Of))
	}
	return table.write()
}
