package api

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// pingInterval keeps proxies and readers sure that a quiet stream lives.
	pingInterval = 15 * time.Second
	// writeTimeout ends the stream of a reader that takes nothing for so long: one that stalls for some seconds may go on. One
	// that is gone without a word costs one stream until the buffers between are full, and so much longer. Guess.
	writeTimeout = time.Minute
)

const (
	eventStream = "text/event-stream"
	ndjson      = "application/x-ndjson"
)

// Ping is the data of ping.
type Ping struct {
	Time Time `json:"time"`
}

// Synced is the data of synced.
type Synced struct{}

// line is one event as NDJSON has it.
type line struct {
	Event string  `json:"event"`
	ID    *Uint64 `json:"id,omitempty"`
	Data  any     `json:"data"`
}

// sender writes events to one reader: as server-sent events, or as NDJSON when it asked for that.
type sender struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	ndjson bool
}

// send writes one event. An id of 0 is none. An error means that the reader is gone.
func (s *sender) send(event string, id uint64, data any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b) // ends with a line feed and writes no other
	encoder.SetEscapeHTML(false)
	if s.ndjson {
		l := line{Event: event, Data: data}
		if id > 0 {
			l.ID = (*Uint64)(&id)
		}
		if err := encoder.Encode(l); err != nil {
			return err
		}
	} else {
		if id > 0 {
			b.WriteString("id: " + strconv.FormatUint(id, 10) + "\n")
		}
		b.WriteString("event: " + event + "\ndata: ")
		if err := encoder.Encode(data); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return err
	}
	return s.rc.Flush()
}

// openStream begins the answer.
func openStream(ctx huma.Context) *sender {
	r, w := humago.Unwrap(ctx)
	s := &sender{w: w, rc: http.NewResponseController(w), ndjson: wantsNDJSON(r.Header.Get("Accept"))}
	contentType := eventStream
	if s.ndjson {
		contentType = ndjson
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	return s
}

func wantsNDJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		switch mediaType, _, _ := mime.ParseMediaType(part); mediaType {
		case ndjson:
			return true
		case eventStream:
			return false
		}
	}
	return false
}

// item is what a pump hands over.
type item[T any] struct {
	value T
	err   error
}

// pump runs seq in a goroutine, so that its reader can wait for other things too. The channel is unbuffered: a slow
// reader slows seq down, whose own bounded queue then drops and says so. stop ends the goroutine and waits for it.
func pump[T any](ctx context.Context, seq func(context.Context) iter.Seq2[T, error]) (items <-chan item[T], stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ch := make(chan item[T])
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(ch)
		for v, err := range seq(ctx) {
			select {
			case ch <- item[T]{v, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch, func() { cancel(); <-done }
}

// atMost yields the newest item of seq, at most once in interval, and the last one in any case.
func atMost[T any](ctx context.Context, interval time.Duration, seq func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		items, stop := pump(ctx, seq)
		defer stop()
		pause := time.NewTimer(interval)
		defer pause.Stop()
		var newest []T // none or one
		quiet := false // within interval of the last one
		for {
			select {
			case it, ok := <-items:
				if ok && it.err == nil {
					newest = append(newest[:0], it.value)
					break
				}
				if len(newest) > 0 && !yield(newest[0], nil) {
					return
				}
				if ok {
					yield(it.value, it.err)
				}
				return
			case <-pause.C:
				quiet = false
			}
			if quiet || len(newest) == 0 {
				continue
			}
			if !yield(newest[0], nil) {
				return
			}
			newest, quiet = newest[:0], true
			pause.Reset(interval)
		}
	}
}

// relay answers with a stream: it gives every item of seq to send, and a ping in every pause, until seq ends, the
// reader is gone, the server stops, or send reports that the stream is done. An error of seq goes out as the event
// error and ends the stream.
func relay[T any](s *Server, hc huma.Context, seq func(context.Context) iter.Seq2[T, error],
	send func(out *sender, v T) (done bool, err error),
) {
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	out := openStream(hc)
	if err := out.rc.Flush(); err != nil || hc.Method() == http.MethodHead {
		return // the reader is gone, or wants no more
	}
	defer out.rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	items, stop := pump(hc.Context(), seq)
	defer stop()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var done bool
		var err error
		select {
		case <-hc.Context().Done():
			return
		case <-s.closing:
			return
		case now := <-ping.C:
			err = out.send(EventPing, 0, Ping{Time: stamp(now)})
		case it, ok := <-items:
			switch {
			case !ok:
				return
			case it.err != nil:
				s.sendFailure(hc, out, it.err)
				return
			}
			ping.Reset(pingInterval)
			done, err = send(out, it.value)
		}
		if done || err != nil {
			return
		}
	}
}

// sendFailure ends a stream with the reason, if the reader is still there to hear it.
func (s *Server) sendFailure(hc huma.Context, out *sender, err error) {
	e := *s.fail(err, "")
	r, _ := humago.Unwrap(hc)
	complete(&e, r)
	_ = out.send(EventError, 0, e)
}

// registerStream registers an operation whose answer is a stream. prepare checks the request and gives what writes
// the stream; its error is an ordinary answer. events maps the names of the stream's own events to their data.
func registerStream[I any](api huma.API, op huma.Operation, events map[string]any,
	prepare func(ctx context.Context, in *I) (func(huma.Context), error),
) {
	op.Responses["200"] = &huma.Response{
		Description: "A stream that lasts until either side ends it. With Accept: application/x-ndjson it is one " +
			"JSON object a line with the members event, id and data.",
		Content: map[string]*huma.MediaType{eventStream: {Schema: eventSchema(api, events)}},
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		body, err := prepare(ctx, in)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: body}, nil
	})
}

// eventSchema describes a stream as huma's own package sse does: an array of events.
func eventSchema(api huma.API, events map[string]any) *huma.Schema {
	all := map[string]any{EventPing: Ping{}, EventError: Error{}}
	maps.Copy(all, events)
	oneOf := make([]*huma.Schema, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		oneOf = append(oneOf, &huma.Schema{
			Title: "Event " + name,
			Type:  huma.TypeObject,
			Properties: map[string]*huma.Schema{
				"id":    {Type: huma.TypeString, Description: "number of the event: node-local, it only grows"},
				"event": {Type: huma.TypeString, Extensions: map[string]any{"const": name}},
				"data":  api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(all[name]), true, name),
			},
			Required: []string{"event", "data"},
		})
	}
	return &huma.Schema{
		Type:        huma.TypeArray,
		Description: "each element is one server-sent event",
		Items:       &huma.Schema{OneOf: oneOf},
	}
}
