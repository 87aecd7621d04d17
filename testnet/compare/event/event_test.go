package event_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

func TestEventsAreReadAsWritten(t *testing.T) {
	var b bytes.Buffer
	w := event.NewWriter(&b)
	require.NoError(t, w.Tell(event.Alive, "n1"))
	require.NoError(t, w.Tell(event.Dead, "n2"))
	require.Equal(t, "{\"see\":\"alive\",\"node\":\"n1\"}\n{\"see\":\"dead\",\"node\":\"n2\"}\n", b.String())

	var got []event.Event
	require.NoError(t, event.Read(&b, func(e event.Event) { got = append(got, e) }))
	require.Equal(t, []event.Event{{See: event.Alive, Node: "n1"}, {See: event.Dead, Node: "n2"}}, got)
}

func TestWhatIsNoEventIsAnError(t *testing.T) {
	for _, line := range []string{"panic: at the disco", `{"see":"maybe","node":"n1"}`, strings.Repeat("x", 5000)} {
		got := 0
		require.Error(t, event.Read(strings.NewReader(`{"see":"alive","node":"n1"}`+"\n"+line+"\n"), func(event.Event) { got++ }))
		require.Equal(t, 1, got, "what came before counts")
	}
}
