package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

func TestEventsAreShownInOneLineEach(t *testing.T) {
	text := func(s string) api.Value { return api.Value{Key: "app/color", Version: 7, Owner: "id2", Text: &s} }
	red := text("red")
	red.Owner = "id1"
	for _, c := range []struct {
		event api.Event
		want  string
	}{
		{api.Event{Kind: api.EventPut, Change: api.Change{Value: text("teal")}}, "  put  app/color  v7  n2  teal\n"},
		{
			api.Event{Kind: api.EventPut, Change: api.Change{Value: api.Value{Key: "app/color", Version: 7, Owner: "id2"}}},
			"  put  app/color  v7  n2  (binary)\n",
		},
		{
			api.Event{Kind: api.EventDel, Change: api.Change{Value: api.Value{Key: "app/color", Version: 8, Owner: "id2", Deleted: true}}},
			"  del  app/color  v8  n2\n",
		},
		{
			api.Event{Kind: api.EventLost, Change: api.Change{Value: text("teal"), Old: &red, Why: "same clock, higher id wins"}},
			"  lost app/color  n1  \"red\" lost to \"teal\" (same clock, higher id wins)\n",
		},
		{
			api.Event{Kind: api.EventLost, Change: api.Change{
				Value: api.Value{Key: "app/color", Version: 7, Owner: "id2", Deleted: true}, Old: &red, Why: "it came when version 7 was here",
			}},
			"  lost app/color  n1  \"red\" lost to a deletion by n2 (it came when version 7 was here)\n",
		},
		{api.Event{Kind: api.EventSynced}, ""},
	} {
		var out bytes.Buffer
		a := &app{out: &out, err: &out}
		who := &names{byID: map[string]string{"id1": "n1", "id2": "n2"}}
		require.NoError(t, a.showEvent(t.Context(), c.event, who))
		if c.want != "" {
			require.Equal(t, c.want, out.String()[len("15:04:05"):])
		} else {
			require.Empty(t, out.String())
		}
	}
}
