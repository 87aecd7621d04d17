package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

func (s *Server) registerWatch(api huma.API) {
	registerStream(api, operation(api, http.MethodGet, "/v1/watch/state", "state-watch", "Changes of the state, as they come"),
		map[string]any{EventPut: Change{}, EventDel: Change{}, EventLost: Change{}, EventSynced: Synced{}, EventGap: Gap{}},
		s.watchState)
	registerStream(api, operation(api, http.MethodGet, "/v1/events", "events", "What happens on the node, as it comes"),
		map[string]any{EventMember: Transition{}}, s.watchEvents)
}

type watchInput struct {
	TopicParam
	Prefix      string `query:"prefix" maxLength:"256"`
	Initial     bool   `query:"initial" doc:"begin with what is there, as put, closed by synced; of no effect with since"`
	Since       string `query:"since" pattern:"^[0-9]{1,20}$" patternDescription:"decimal digits" doc:"resume behind the event of this id: synced and what came after it; if the node does not remember all of that, gap, then as with initial"`
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,20}$" patternDescription:"decimal digits" doc:"as since, which has precedence; browsers send it when they reconnect"`
}

func (s *Server) watchState(_ context.Context, in *watchInput) (func(huma.Context), error) {
	w := stateWriter{server: s, snapshot: in.Initial}
	begin := func(ctx context.Context, t Topic) iter.Seq2[replica.Event, error] { return t.Watch(ctx, in.Prefix) }
	location, text := "query.since", in.Since
	if text == "" {
		location, text = "header.Last-Event-ID", in.LastEventID
	}
	if text != "" {
		since, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, invalid(location, text, "is not a number below 2^64")
		}
		w.last = since
		begin = func(ctx context.Context, t Topic) iter.Seq2[replica.Event, error] {
			return t.Resume(ctx, in.Prefix, since)
		}
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	return func(hc huma.Context) {
		w := w // one for each stream
		relay(s, hc, func(ctx context.Context) iter.Seq2[replica.Event, error] { return begin(ctx, t) }, w.write)
	}, nil
}

// stateWriter turns the events of one Watch into those of one stream.
type stateWriter struct {
	server   *Server
	last     uint64 // newest number the reader has seen
	behind   bool   // the reader has missed what came after last, and is not told yet
	snapshot bool   // the reader wants the snapshot that comes now
	live     bool   // synced: what comes is changes
}

// write sends e. Changes and synced carry numbers; what is in a snapshot does not, so that a reader who leaves in the
// middle of one does not resume behind it.
func (w *stateWriter) write(out *sender, e replica.Event) (done bool, err error) {
	if e.Kind == replica.Lagged {
		w.server.metrics.gaps.Inc()
		w.behind, w.snapshot, w.live = true, true, false
		return false, nil
	}
	if w.behind {
		w.behind = false
		if err := out.send(EventGap, 0, w.gap(e.Seq)); err != nil {
			return false, err
		}
	}
	if e.Kind == replica.Synced {
		w.live, w.last = true, e.Seq
		return false, out.send(EventSynced, e.Seq, Synced{})
	}
	if !w.live {
		if !w.snapshot {
			return false, nil
		}
		return false, out.send(EventPut, 0, changeOf(e))
	}
	w.last = e.Seq
	switch e.Kind {
	case replica.Put:
		return false, out.send(EventPut, e.Seq, changeOf(e))
	case replica.Deleted:
		return false, out.send(EventDel, e.Seq, changeOf(e))
	case replica.Lost:
		return false, out.send(EventLost, e.Seq, changeOf(e))
	}
	return false, nil
}

// gap is what the reader has missed when the snapshot that follows is of the number now. A reader that knows a larger
// number saw it in an earlier life of the node, whose numbers say nothing in this one.
func (w *stateWriter) gap(now uint64) Gap {
	if w.last > now {
		return Gap{From: 1, To: Uint64(now)}
	}
	return Gap{From: Uint64(w.last + 1), To: Uint64(now)}
}

// eventTypes are what /v1/events can tell.
var eventTypes = []string{EventMember}

type eventsInput struct {
	Types string `query:"types" maxLength:"256" doc:"comma-separated: member; default: all"`
}

func (s *Server) watchEvents(_ context.Context, in *eventsInput) (func(huma.Context), error) {
	if in.Types != "" {
		for name := range strings.SplitSeq(in.Types, ",") {
			if !slices.Contains(eventTypes, name) {
				return nil, invalid("query.types", name, fmt.Sprintf("is not one of %s", strings.Join(eventTypes, ", ")))
			}
		}
	}
	return func(hc huma.Context) {
		relay(s, hc, s.node.WatchMembers, func(out *sender, t replica.Transition) (bool, error) {
			return false, out.send(EventMember, 0, transitionOf(t))
		})
	}, nil
}
