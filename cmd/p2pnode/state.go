package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) stateCommand() *cobra.Command {
	c := parent("state", "Read and write the replicated state",
		a.stateSetCommand(), a.stateGetCommand(), a.stateDelCommand(), a.stateLsCommand(), a.stateWatchCommand(), a.stateHistoryCommand(),
		a.stateRevertCommand(), a.stateInfoCommand(), a.stateDigestCommand(),
		a.stateExportCommand(), a.stateImportCommand(), a.stateVerifyCommand())
	a.topicFlag(c.PersistentFlags())
	return c
}

func (a *app) topicFlag(f *pflag.FlagSet) {
	f.StringVar(&a.topic, "topic", "", "state topic (default: the first one the node is on)")
}

// names knows what people call the members. It is a courtesy: without an answer, or for a stranger, there is the id.
type names struct {
	node *api.Client
	byID map[string]string
}

// of is a peer's name for a table, or its shortened id. A peer not seen before makes it ask the node again.
func (n *names) of(ctx context.Context, id string) string {
	if _, known := n.byID[id]; !known {
		n.byID = map[string]string{id: ""}
		members, err := n.node.Members(ctx, api.MemberFilter{})
		if err != nil {
			return shortID(id)
		}
		for _, m := range members {
			n.byID[m.ID] = m.Name
		}
	}
	if name := n.byID[id]; name != "" {
		return cell(name, 20)
	}
	return shortID(id)
}

// ifVersion turns the flags of a conditional write into the API's condition.
func ifVersion(f *pflag.FlagSet, version uint64, absent bool) (*uint64, error) {
	switch {
	case absent && f.Changed("if-version"):
		return nil, usageError("--if-absent and --if-version exclude each other")
	case absent:
		return new(uint64), nil
	case f.Changed("if-version"):
		return &version, nil
	default:
		return nil, nil
	}
}

// reach says how far a write has come.
func reach(w api.Written) string {
	if w.Wait == nil {
		return fmt.Sprintf("sent to %s", count(w.PeersSent, "peer"))
	}
	return fmt.Sprintf("seen by %d of %s in %s", w.Wait.Seen, count(w.Wait.Of, "member"), span(seconds(w.Wait.Seconds)))
}
