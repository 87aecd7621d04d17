package node

import (
	"strings"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

func TestEveryDropIsCountedWithAReason(t *testing.T) {
	tracer := newMeshTracer()
	tracer.RejectMessage(nil, pubsub.RejectValidationThrottled)
	tracer.RejectMessage(nil, pubsub.RejectValidationIgnored)
	tracer.RejectMessage(nil, pubsub.RejectValidationIgnored)
	tracer.UndeliverableMessage(nil)
	tracer.DropRPC(nil, "")
	var m metrics
	m.gossip(tracer.counted())
	m.replica([]replica.Count{
		{Name: replica.CountLagged, Label: "state", N: 5},
		{Name: replica.CountLagged, Label: "members", N: 6},
		{Name: replica.CountDropped, Label: "queue_full", N: 7},
	})
	dropped := map[string]float64{}
	for _, one := range m {
		for _, what := range []string{"dropped", "rejected", "undeliverable"} {
			if strings.Contains(one.Name, what) {
				require.Equal(t, Counter, one.Kind)
				dropped[strings.Join([]string{one.Name, one.Labels["stream"], one.Labels["reason"]}, " ")] = one.Value
			}
		}
	}
	require.Equal(t, map[string]float64{
		"gossipsub_messages_rejected_total  validation_throttled": 1,
		"gossipsub_messages_rejected_total  validation_ignored":   2,
		"gossipsub_messages_undeliverable_total  queue_full":      1,
		"gossipsub_rpc_dropped_total  queue_full":                 1,
		"p2pnode_events_dropped_total state slow_reader":          5,
		"p2pnode_events_dropped_total members slow_reader":        6,
		"p2pnode_state_dropped_total  queue_full":                 7,
	}, dropped)
}
