package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
)

const (
	// pageBytes is how many bytes of values a page of the list holds, but for its first entry.
	pageBytes = 1 << 20
	maxWait   = 10 * time.Minute // a guess: longer waits are a script's mistake
)

// TopicParam is the parameter that all state and work operations take. It and its like below are exported since huma
// reads embedded fields of exported types only.
type TopicParam struct {
	Topic string `query:"topic" maxLength:"32" doc:"state topic; default: the first the node was asked to be on"`
}

func (s *Server) registerState(api huma.API) {
	huma.Register(api, operation(api, http.MethodGet, "/v1/state", "state-list", "Entries by key, then owner"), s.list)
	one := operation(api, http.MethodGet, "/v1/state/{key...}", "state-get", "One entry, or with history all that is known to have stood there")
	one.Responses["200"] = &huma.Response{
		Description: "the entry; with history, what is known to have stood under the key",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: oneOf(api, Value{}, Versions{})}},
	}
	huma.Register(api, one, s.get)
	put := operation(api, http.MethodPut, "/v1/state/{key...}", "state-set",
		"Write a key; the body is the value, byte by byte")
	put.MaxBodyBytes = wire.MaxValue + 1 // huma refuses a body that fills the limit
	put.RequestBody = &huma.RequestBody{}
	huma.Register(api, put, s.set)
	put.RequestBody.Required = false // an empty value is one
	huma.Register(api, operation(api, http.MethodDelete, "/v1/state/{key...}", "state-delete", "Leave a tombstone"), s.delete)
	huma.Register(api, operation(api, http.MethodGet, "/v1/proof/{key...}", "state-prove",
		"One entry, or the tombstone in its place, with all that shows without a node that its owner signed it"), s.prove)
	huma.Register(api, operation(api, http.MethodGet, "/v1/digest", "digest",
		"What the node holds of the topic; with all, what every live member says it holds"), s.digest)
}

// topic finds the topic that a request names.
func (s *Server) topic(name string) (Topic, error) {
	t, err := s.node.Topic(name)
	if err != nil {
		return nil, s.fail(err, "")
	}
	return t, nil
}

// owner finds the owner that a request names, "" for "".
func (s *Server) owner(ctx context.Context, who string) (peer.ID, error) {
	if who == "" {
		return "", nil
	}
	return s.resolve(ctx, who)
}

type listInput struct {
	TopicParam
	Prefix     string `query:"prefix" maxLength:"256"`
	Owner      string `query:"owner" maxLength:"128" doc:"only this owner's entries: peer id, node name, or unique suffix of the id; default: the merged view"`
	Tombstones bool   `query:"tombstones" doc:"with deleted keys that are still remembered"`
	Limit      int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"a page also ends after 1 MiB of values"`
	Cursor     string `query:"cursor" maxLength:"600" doc:"next_cursor of the page before"`
}

func (s *Server) list(ctx context.Context, in *listInput) (*output[Page[Value]], error) {
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	owner, err := s.owner(ctx, in.Owner)
	if err != nil {
		return nil, err
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	all, err := t.List(ctx, replica.ListOptions{Prefix: in.Prefix, Owner: owner, Tombstones: in.Tombstones})
	if err != nil {
		return nil, s.fail(err, "")
	}
	for after != (cursor{}) && len(all) > 0 && !after.before(all[0]) {
		all = all[1:]
	}
	page := Page[Value]{Items: []Value{}}
	var size int
	for i, v := range all {
		if i == in.Limit || i > 0 && size+len(v.Value) > pageBytes {
			next := cursor{all[i-1].Key, all[i-1].Owner}.String()
			page.NextCursor = &next
			break
		}
		size += len(v.Value)
		page.Items = append(page.Items, valueOf(v))
	}
	return &output[Page[Value]]{page}, nil
}

// cursor is the last entry of a page. The next page begins behind it, whatever has changed meanwhile.
type cursor struct {
	key   string
	owner peer.ID
}

// before reports whether c comes before v in the order of a list.
func (c cursor) before(v replica.Value) bool {
	return cmp.Or(strings.Compare(c.key, v.Key), strings.Compare(string(c.owner), string(v.Owner))) < 0
}

// String is opaque to clients: the owner's id in bytes, its length before it, and the key, as base64.
func (c cursor) String() string {
	b := append([]byte{byte(len(c.owner))}, c.owner...)
	return base64.RawURLEncoding.EncodeToString(append(b, c.key...))
}

func parseCursor(s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 1 || len(b) < 2+int(b[0]) {
		return cursor{}, invalid("query.cursor", s, "is not a next_cursor of this API")
	}
	key := 1 + int(b[0])
	return cursor{owner: peer.ID(b[1:key]), key: string(b[key:])}, nil
}

// KeyParam is what operations on one key take.
type KeyParam struct {
	TopicParam
	Key string `path:"key" doc:"the rest of the path, slashes included"`
}

// GetParams are what reading one entry takes.
type GetParams struct {
	KeyParam
	Owner string `query:"owner" maxLength:"128" doc:"this owner's entry: peer id, node name, or unique suffix of the id; default: the merged view"`
}

type oneInput struct {
	GetParams
	History bool   `query:"history" doc:"all versions that this node remembers: those of other owners that lost, and those replaced since it started"`
	At      string `query:"at" pattern:"^[1-9][0-9]{0,19}$" patternDescription:"decimal digits" doc:"the entry as it was at this version, if this node remembers it"`
}

// valueOutput is an entry and its ETag, or what was under its key.
type valueOutput struct {
	ETag string `header:"ETag"`
	Body any
}

func (s *Server) get(ctx context.Context, in *oneInput) (*valueOutput, error) {
	if in.History && in.At != "" {
		return nil, invalid("query.at", in.At, "excludes history")
	}
	owner, err := s.owner(ctx, in.Owner)
	if err != nil {
		return nil, err
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	if in.History || in.At != "" {
		return s.past(ctx, t, in, owner)
	}
	v, err := t.Get(ctx, in.Key, owner)
	if err == nil && v.Deleted {
		err = replica.ErrNotFound
	}
	if err != nil {
		return nil, s.fail(err, in.Key)
	}
	return &valueOutput{etag(Uint64(v.Clock)), valueOf(v)}, nil
}

// past answers what stood under a key: all of it, or one version.
func (s *Server) past(ctx context.Context, t Topic, in *oneInput, owner peer.ID) (*valueOutput, error) {
	versions, err := t.History(ctx, in.Key, owner)
	if err != nil {
		return nil, s.fail(err, in.Key)
	}
	if in.History {
		return &valueOutput{Body: versionsOf(versions)}, nil
	}
	at, err := strconv.ParseUint(in.At, 10, 64)
	if err != nil {
		return nil, invalid("query.at", in.At, "is not a number below 2^64")
	}
	v, ok := versions.At(gossipstate.Clock(at))
	if !ok || v.Deleted {
		detail := fmt.Sprintf("this node remembers no version %d of %s", at, clip(in.Key))
		if ok {
			detail = fmt.Sprintf("version %d of %s is a deletion", at, clip(in.Key))
		}
		e := problem(node.CodeNotFound, detail, "p2pnode state history KEY")
		e.Key = clip(in.Key)
		return nil, e
	}
	return &valueOutput{etag(Uint64(v.Clock)), valueOf(v)}, nil
}

func (s *Server) prove(ctx context.Context, in *GetParams) (*output[Proof], error) {
	owner, err := s.owner(ctx, in.Owner)
	if err != nil {
		return nil, err
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	signed, err := t.Prove(ctx, in.Key, owner)
	if err != nil {
		return nil, s.fail(err, in.Key)
	}
	p, err := proofOf(s.node.Info().Network, t.Name(), signed)
	if err != nil {
		return nil, s.fail(err, in.Key)
	}
	return &output[Proof]{p}, nil
}

// WriteParams is what PUT and DELETE of a key take.
type WriteParams struct {
	KeyParam
	IfMatch     string `header:"If-Match" doc:"write only while the key is at this version, an ETag"`
	IfNoneMatch string `header:"If-None-Match" enum:"*" doc:"write only while the key is absent"`
	Wait        string `query:"wait" pattern:"^(all|[1-9][0-9]{0,4})$" patternDescription:"a number of members, or all" doc:"answer when so many live members beside this node hold the write"`
	WaitTimeout string `query:"wait_timeout" maxLength:"16" default:"10s" doc:"how long to wait, at most 10m; then 504 not-seen, and the write stands"`
}

type setInput struct {
	WriteParams
	ContentType string `header:"Content-Type" maxLength:"255" doc:"kept with the value; a form's (what curl -d sends), or none, means: text/plain when the value is UTF-8, else application/octet-stream"`
	TTL         string `query:"ttl" maxLength:"16" doc:"life of the key, at least 1s, such as 90m; default: for ever"`
	RawBody     []byte
}

type writtenOutput struct {
	ETag string `header:"ETag"`
	Body Written
}

func (s *Server) set(ctx context.Context, in *setInput) (*writtenOutput, error) {
	o := replica.WriteOptions{ContentType: contentType(in.ContentType, in.RawBody)}
	if in.TTL != "" {
		ttl, err := time.ParseDuration(in.TTL)
		if err != nil || ttl < time.Second {
			return nil, invalid("query.ttl", in.TTL, "is not a duration of at least 1s, such as 90m")
		}
		o.TTL = ttl
	}
	value := bytes.Clone(in.RawBody) // huma uses the buffer again
	return s.write(ctx, &in.WriteParams, o, func(t Topic, o replica.WriteOptions) (replica.Written, error) {
		return t.Set(ctx, in.Key, value, o)
	})
}

func (s *Server) delete(ctx context.Context, in *WriteParams) (*writtenOutput, error) {
	return s.write(ctx, in, replica.WriteOptions{}, func(t Topic, o replica.WriteOptions) (replica.Written, error) {
		return t.Delete(ctx, in.Key, o)
	})
}

// write does what PUT and DELETE have in common: conditions before do, waiting after it.
func (s *Server) write(ctx context.Context, in *WriteParams, o replica.WriteOptions,
	do func(Topic, replica.WriteOptions) (replica.Written, error),
) (*writtenOutput, error) {
	var err error
	if o.IfClock, err = in.condition(); err != nil {
		return nil, err
	}
	timeout, err := time.ParseDuration(in.WaitTimeout)
	if err != nil || timeout <= 0 || timeout > maxWait {
		return nil, invalid("query.wait_timeout", in.WaitTimeout, "is not a duration up to 10m, such as 30s")
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	w, err := do(t, o)
	if err != nil {
		return nil, s.fail(err, in.Key)
	}
	out := &writtenOutput{etag(Uint64(w.Value.Clock)), Written{Value: valueOf(w.Value), PeersSent: w.PeersSent}}
	if in.Wait != "" {
		if out.Body.Wait, err = s.waitSeen(ctx, t, w.Value, in.Wait, timeout); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// condition reads If-Match and If-None-Match: nil is none, 0 that the key must be absent.
func (in *WriteParams) condition() (*gossipstate.Clock, error) {
	switch {
	case in.IfMatch != "" && in.IfNoneMatch != "":
		return nil, invalid("header.If-None-Match", in.IfNoneMatch, "contradicts If-Match")
	case in.IfNoneMatch != "":
		return new(gossipstate.Clock), nil
	case in.IfMatch == "":
		return nil, nil
	}
	digits, opened := strings.CutPrefix(in.IfMatch, `"`)
	digits, closed := strings.CutSuffix(digits, `"`)
	clock, err := strconv.ParseUint(digits, 10, 64)
	if !opened || !closed || err != nil || clock == 0 {
		return nil, invalid("header.If-Match", in.IfMatch, `is not the ETag of one version, such as "7"`)
	}
	c := gossipstate.Clock(clock)
	return &c, nil
}

// waitSeen waits until as many live members as want says hold v, and reports how far it came.
func (s *Server) waitSeen(ctx context.Context, t Topic, v replica.Value, want string, timeout time.Duration) (*Wait, error) {
	n := -1
	if want != "all" {
		n, _ = strconv.Atoi(want) // the pattern admits digits only
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer s.cancelAtClose(cancel)()
	start := time.Now()
	seen, of, err := t.WaitSeen(ctx, v.Version, n)
	took := time.Since(start).Round(time.Millisecond)
	switch {
	case err == nil:
		return &Wait{Seen: seen, Of: of, Seconds: took.Seconds()}, nil
	case errors.Is(err, context.DeadlineExceeded):
		e := problem(node.CodeNotSeen, fmt.Sprintf("%s is written as version %d, but seen by %d of %d members only in %s",
			clip(v.Key), v.Clock, seen, of, took), "the others get it when they are reached: p2pnode state digest --all")
		clock := Uint64(v.Clock)
		e.Version, e.Key = &clock, clip(v.Key)
		return nil, e
	}
	return nil, s.fail(err, v.Key)
}

// cancelAtClose calls cancel when the server stops, until the function it returns is called.
func (s *Server) cancelAtClose(cancel context.CancelFunc) (release func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-s.closing:
			cancel()
		case <-done:
		}
	}()
	return func() { close(done); <-ended }
}

// contentType is what a value is stored with.
func contentType(header string, value []byte) string {
	if header != "" && !strings.HasPrefix(header, "application/x-www-form-urlencoded") {
		return header
	}
	if printable(value) {
		return "text/plain"
	}
	return "application/octet-stream"
}

type digestInput struct {
	TopicParam
	All bool `query:"all" doc:"ask every live member and compare"`
}

func (s *Server) digest(ctx context.Context, in *digestInput) (*output[Agreements], error) {
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	own, err := t.Digest(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	if !in.All {
		return &output[Agreements]{Agreements{Digest: digestOf(own)}}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.cancelAtClose(cancel)()
	answers, err := t.Ask(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	members, err := s.node.Members(ctx)
	if err != nil {
		return nil, s.fail(err, "")
	}
	names := make(map[peer.ID]string, len(members))
	for _, m := range members {
		names[m.ID] = m.Name
	}
	if own, err = t.Digest(ctx); err != nil { // what others are compared with is as new as their answers
		return nil, s.fail(err, "")
	}
	return &output[Agreements]{agreementsOf(own, answers, names)}, nil
}
