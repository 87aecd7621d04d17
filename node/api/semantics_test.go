package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// model is a topic as its events alone tell it, however they came.
type model struct {
	live   map[string]string // value by owner and key
	told   []string          // changes since synced, with their numbers
	synced bool
}

// take replays one event. What an event says was there before must be what the model has.
func (m *model) take(t *testing.T, kind string, id uint64, c Change) {
	key := c.Value.Owner + " " + c.Value.Key
	if !strings.HasPrefix(c.Value.Key, "~/") {
		key = c.Value.Key
	}
	old := ""
	if c.Old != nil {
		old = string(c.Old.Value)
	}
	if m.synced && kind != EventSynced {
		m.told = append(m.told, fmt.Sprintf("%d %s %s=%s before %q %s v%d", id, kind, key, c.Value.Value, old, c.Cause, c.Value.Version))
	}
	switch kind {
	case EventSynced:
		m.synced = true
	case EventPut:
		require.Equal(t, m.live[key], old)
		m.live[key] = string(c.Value.Value)
	case EventDel:
		require.Equal(t, m.live[key], old)
		delete(m.live, key)
	}
}

// eventName is the kind of a library event as the API calls it.
var eventName = map[replica.EventKind]string{
	replica.Put: EventPut, replica.Deleted: EventDel, replica.Lost: EventLost, replica.Synced: EventSynced,
}

// The library's Watch and the API's stream tell the same, number by number, although their readers write while they read and
// the stream breaks off and is resumed.
func TestTheLibraryAndTheStreamTellTheSame(t *testing.T) {
	const asks = 12
	n, client, _ := realNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	topic, err := n.Topic("main")
	require.NoError(t, err)
	library, stream := model{live: map[string]string{}}, model{live: map[string]string{}}
	synced, answered, ended := make(chan string, 2), make(chan string, 2*asks), make(chan error, 2)
	// step follows up one event inside the loop that reads it: any call is allowed there. It says whether that was the last.
	step := func(who string, m *model, kind string, v *Value, write func(key string) error) (last bool, err error) {
		switch {
		case kind == EventSynced && len(m.told) == 0:
			synced <- who
		case kind == EventPut && strings.HasPrefix(v.Key, "ask/"):
			err = write(who + "/" + v.Key)
			answered <- who
		}
		return kind == EventPut && v.Key == "end", err
	}
	go func() {
		ended <- func() error {
			for e, err := range topic.Watch(ctx, "") {
				if err != nil {
					return err
				}
				c := changeOf(e)
				library.take(t, eventName[e.Kind], e.Seq, c)
				last, err := step("library", &library, eventName[e.Kind], &c.Value, func(key string) error {
					_, err := topic.Set(ctx, key, []byte("x"), replica.WriteOptions{})
					return err
				})
				if last || err != nil {
					return err
				}
			}
			return errors.New("the loop has ended")
		}()
	}()
	go func() {
		ended <- func() error {
			o, left := WatchOptions{Initial: true}, 0
			for {
				for e, err := range client.WatchState(ctx, o) {
					if err != nil {
						return err
					}
					if e.Kind == EventGap {
						return errors.New("a gap")
					}
					stream.take(t, e.Kind, uint64(e.ID), e.Change)
					last, err := step("stream", &stream, e.Kind, &e.Value, func(key string) error {
						_, err := client.Set(ctx, key, []byte("x"), WriteOptions{})
						return err
					})
					if last || err != nil {
						return err
					}
					if len(stream.told) >= 40*(left+1) { // now and then it breaks off
						left++
						o = WatchOptions{Since: new(uint64(e.ID))}
						break
					}
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}()
	}()
	require.ElementsMatch(t, []string{"library", "stream"}, []string{<-synced, <-synced})
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 20 * asks {
		key := fmt.Sprintf("%s%d", []string{"k/", "~/"}[rng.IntN(2)], rng.IntN(6))
		var err error
		if rng.IntN(3) == 0 {
			_, err = client.Delete(ctx, key, WriteOptions{})
		} else {
			_, err = client.Set(ctx, key, fmt.Append(nil, i), WriteOptions{})
		}
		if err != nil {
			require.Equal(t, node.CodeNotFound, codeOf(t, err))
		}
		if i%20 == 0 {
			set(t, client, fmt.Sprintf("ask/%d", i/20), "?")
			<-answered
			<-answered
		}
	}
	set(t, client, "end", "")
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	require.Greater(t, len(stream.told), 150)
	require.Equal(t, library.told, stream.told)
	require.Equal(t, library.live, stream.live)
	all, err := client.List(ctx, ListOptions{})
	require.NoError(t, err)
	listed := model{live: map[string]string{}}
	for _, v := range all {
		listed.take(t, EventPut, 0, Change{Value: v})
	}
	require.Equal(t, listed.live, stream.live)
}
