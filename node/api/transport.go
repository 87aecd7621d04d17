package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/node"
)

const (
	// maxAnswer bounds what a client reads of one answer. A page of values is the largest: 1 MiB of them, twice
	// (base64 and text, whose every byte may take six as JSON), and as much again for the keys.
	maxAnswer = 32 << 20
	// maxEventLine bounds one line of a stream: two values of 64 KiB, each as base64 and text, and their fields.
	maxEventLine = 2 << 20
)

// etag is a version as it stands in ETag and If-Match.
func etag(v Uint64) string { return `"` + v.String() + `"` }

// Where keys are: each is the rest of a path.
const (
	stateKeys = "/v1/state/"
	proofKeys = "/v1/proof/"
)

// keyPath is the path of a key below prefix. A key that path cleaning would change goes with its slashes and dots escaped.
func keyPath(prefix, key string) string {
	if path.Clean("/"+key) != "/"+key {
		return prefix + strings.ReplaceAll(url.PathEscape(key), ".", "%2E")
	}
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return prefix + strings.Join(segments, "/")
}

// durationParam is d as a parameter, "" when it is zero.
func durationParam(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// params makes a query of name, value pairs; empty values are left out.
func params(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// params is params with the client's topic.
func (c *Client) params(pairs ...string) url.Values {
	v := params(pairs...)
	if c.topic != "" {
		v.Set("topic", c.topic)
	}
	return v
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	u := c.base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request %s %s: %w", method, path, err)
	}
	return req, nil
}

// get fetches path and decodes the answer.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	req, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		var none T
		return none, err
	}
	return do[T](c, req)
}

// do sends req and decodes the answer.
func do[T any](c *Client, req *http.Request) (T, error) {
	var v T
	body, err := c.roundTrip(req)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("answer of %s: %w", req.URL.Path, err)
	}
	return v, nil
}

// roundTrip sends req and gives the body of an answer that is no error.
func (c *Client) roundTrip(req *http.Request) ([]byte, error) {
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return c.readAll(req, resp)
}

// send sends req. What it returns is an answer with a status below 300.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(req, err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := c.readAll(req, resp)
	if err != nil {
		return nil, err
	}
	return nil, answerError(resp, body)
}

// failed tells a context that ended from a node that does not answer.
func (c *Client) failed(req *http.Request, err error) error {
	if ctxErr := req.Context().Err(); ctxErr != nil {
		return ctxErr
	}
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) {
		return unreachable
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, whose host means nothing on a unix socket
	}
	return &UnreachableError{Addr: c.addr, Err: err}
}

func (c *Client) readAll(req *http.Request, resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.failed(req, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("answer of %s is larger than %d MiB", req.URL.Path, maxAnswer>>20)
	}
	return body, nil
}

// answerError makes an *Error of an answer with an error status, whoever wrote it.
func answerError(resp *http.Response, body []byte) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType == "application/problem+json" {
		var e Error
		if err := json.Unmarshal(body, &e); err == nil && e.Code != "" {
			return &e
		}
	}
	e := problem(node.CodeInternal, fmt.Sprintf("the API answered %s: %s", resp.Status, clip(string(body))), "is it a p2pnode?")
	e.Status = resp.StatusCode
	return e
}

// rawEvent is one server-sent event.
type rawEvent struct {
	id   uint64
	name string
	data []byte
}

// errStreamEnded says that the node closed a stream which had not ended.
var errStreamEnded = errors.New("the node closed the stream")

// stream yields the events of a stream but its pings.
func (c *Client) stream(ctx context.Context, path string, query url.Values) iter.Seq2[rawEvent, error] {
	return func(yield func(rawEvent, error) bool) {
		fail := func(err error) {
			if ctx.Err() == nil {
				yield(rawEvent{}, err)
			}
		}
		req, err := c.request(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			fail(err)
			return
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := c.send(req)
		if err != nil {
			fail(err)
			return
		}
		defer resp.Body.Close()
		for e, err := range readEvents(resp.Body) {
			switch {
			case err != nil:
				fail(&UnreachableError{Addr: c.addr, Err: err})
				return
			case e.name == EventPing:
				continue
			case e.name == EventError:
				fail(decodeError(e))
				return
			case !yield(e, nil):
				return
			}
		}
		fail(&UnreachableError{Addr: c.addr, Err: errStreamEnded})
	}
}

// readEvents parses server-sent events as the HTML standard says, section 9.2.6, but for CR line ends.
func readEvents(r io.Reader) iter.Seq2[rawEvent, error] {
	return func(yield func(rawEvent, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxEventLine)
		e := rawEvent{}
		for lines.Scan() {
			line := lines.Bytes()
			if len(line) == 0 {
				if e.data != nil && !yield(e, nil) {
					return
				}
				e = rawEvent{}
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				e.name = string(value)
			case "id":
				e.id, _ = strconv.ParseUint(string(value), 10, 64) // another's id is none of ours
			case "data":
				if e.data != nil {
					e.data = append(e.data, '\n')
				}
				e.data = append(e.data, value...)
			}
		}
		if err := lines.Err(); err != nil {
			yield(rawEvent{}, err)
		}
	}
}

func decodeEvent[T any](e rawEvent) (T, error) {
	var v T
	if err := json.Unmarshal(e.data, &v); err != nil {
		return v, fmt.Errorf("event %s: %w", e.name, err)
	}
	return v, nil
}

func decodeError(e rawEvent) error {
	problem, err := decodeEvent[Error](e)
	if err != nil {
		return err
	}
	return &problem
}

// stateEvent decodes an event of /v1/watch/state.
func stateEvent(raw rawEvent) (Event, error) {
	e := Event{ID: Uint64(raw.id), Kind: raw.name}
	var err error
	switch raw.name {
	case EventPut, EventDel, EventLost:
		e.Change, err = decodeEvent[Change](raw)
	case EventGap:
		e.Gap, err = decodeEvent[Gap](raw)
	}
	return e, err
}
