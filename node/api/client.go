package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Client talks to the API of one node. It may be used concurrently.
//
// Its methods return *Error for what the node answered, *UnreachableError when no node answers, and the context's
// error when that ends first. Arguments that name a peer take a full peer id, a node's name, or a suffix of the id
// of at least 4 characters that fits one member only; arguments that name a job take its id, its name, or a prefix
// of the id of at least 4 digits, likewise unique.
type Client struct {
	addr  string
	base  string // scheme and host of every URL
	http  *http.Client
	topic string
}

// UnreachableError says that no node answers at Addr.
type UnreachableError struct {
	Addr string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no node answers at %s: %v", e.Addr, e.Err)
}

// Unwrap gives the error of the connection.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Stale reports whether something is there that refuses: the socket of a node that died.
func (e *UnreachableError) Stale() bool { return errors.Is(e.Err, syscall.ECONNREFUSED) }

// NewClient makes a client of the node at addr: unix:PATH, tcp://HOST:PORT or http://HOST:PORT. It does not connect.
func NewClient(addr string) (*Client, error) {
	l, err := parseListen(addr)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, l.network, l.address)
			if err != nil && ctx.Err() == nil {
				return nil, &UnreachableError{Addr: addr, Err: err}
			}
			return conn, err
		},
		DisableCompression:    true, // the other end is this machine
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   4,
		ResponseHeaderTimeout: 0, // wait=all takes as long as the caller's context allows
	}
	return &Client{addr: addr, base: "http://" + l.host(), http: &http.Client{Transport: transport}}, nil
}

// Addr is the address the client was made with.
func (c *Client) Addr() string { return c.addr }

// WithTopic returns a client of the same node whose state and work methods mean that topic. "" is the first topic
// the node was asked to be on.
func (c *Client) WithTopic(topic string) *Client {
	d := *c
	d.topic = topic
	return &d
}

// Close drops idle connections. Calls under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Livez reports whether the process serves requests.
func (c *Client) Livez(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/livez", nil)
}

// Readyz reports whether the node is of use to others. When it is not, the Health says why and the error is an *Error with the
// code not-ready.
func (c *Client) Readyz(ctx context.Context) (Health, error) {
	req, err := c.request(ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return Health{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Health{}, c.failed(req, err)
	}
	defer resp.Body.Close()
	body, err := c.readAll(req, resp)
	if err != nil {
		return Health{}, err
	}
	var h Health
	if err := json.Unmarshal(body, &h); err != nil || h.Checks == nil {
		return Health{}, answerError(resp, body) // not a Health: what went wrong instead
	}
	return h, h.notReady()
}

// Health tells all that an operator may have to act on. That a check failed is no error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/v1/health", nil)
}

// Status sums the node up.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Node says what the node is.
func (c *Client) Node(ctx context.Context) (NodeInfo, error) {
	return get[NodeInfo](ctx, c, "/v1/node", nil)
}

// Version says which program answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

// Peers lists the connected peers by id.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	page, err := get[Page[Peer]](ctx, c, "/v1/peers", nil)
	return page.Items, err
}

// MemberFilter chooses members. The zero value chooses all.
type MemberFilter struct {
	Status string // alive, suspect, dead or left; "": all
	Tag    string // NAME, or NAME=VALUE
}

// Members lists the members of the network, this node included, by id.
func (c *Client) Members(ctx context.Context, f MemberFilter) ([]Member, error) {
	page, err := get[Page[Member]](ctx, c, "/v1/members", params("status", f.Status, "tag", f.Tag))
	return page.Items, err
}

// Member gives one member and its story.
func (c *Client) Member(ctx context.Context, who string) (MemberStory, error) {
	return get[MemberStory](ctx, c, "/v1/members/"+url.PathEscape(who), nil)
}

// WatchMembers yields every change of a member's status from now on, until ctx ends or the caller stops. An error is
// the last thing it yields; when ctx ends there is none.
func (c *Client) WatchMembers(ctx context.Context) iter.Seq2[Transition, error] {
	return func(yield func(Transition, error) bool) {
		for e, err := range c.stream(ctx, "/v1/events", params("types", EventMember)) {
			if err != nil {
				yield(Transition{}, err)
				return
			}
			if e.name != EventMember {
				continue
			}
			t, err := decodeEvent[Transition](e)
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Get reads a key: of the merged view when owner is "", else that owner's entry. A key that is absent or deleted is
// an *Error with the code not-found.
func (c *Client) Get(ctx context.Context, key, owner string) (Value, error) {
	return get[Value](ctx, c, keyPath(stateKeys, key), c.params("owner", owner))
}

// At reads a key as it was at an earlier version. One that the node does not remember is an *Error with the code not-found.
func (c *Client) At(ctx context.Context, key, owner string, version uint64) (Value, error) {
	return get[Value](ctx, c, keyPath(stateKeys, key), c.params("owner", owner, "at", strconv.FormatUint(version, 10)))
}

// History gives what the node remembers of a key: what stands now, what other owners wrote and lost, and what was replaced
// since the node started. Nothing is an *Error with the code not-found.
func (c *Client) History(ctx context.Context, key, owner string) (Versions, error) {
	return get[Versions](ctx, c, keyPath(stateKeys, key), c.params("owner", owner, "history", "true"))
}

// Revert writes what a key held at an earlier version as its newest; o is as in Set, but the content type is the old one.
// A version that the node does not remember is an *Error with the code not-found.
func (c *Client) Revert(ctx context.Context, key string, version uint64, o WriteOptions) (Written, error) {
	old, err := c.At(ctx, key, "", version)
	if err != nil {
		return Written{}, err
	}
	o.ContentType = old.ContentType
	return c.Set(ctx, key, old.Value, o)
}

// Prove gives the proof of the entry that Get would read, or of the tombstone in its place: anybody can check it without a
// node, see Proof.Verify. The client does not check it. A key under which there is neither is an *Error with the code
// not-found.
func (c *Client) Prove(ctx context.Context, key, owner string) (Proof, error) {
	return get[Proof](ctx, c, keyPath(proofKeys, key), c.params("owner", owner))
}

// WriteOptions refine Set and Delete. The zero value writes unconditionally, for ever, and waits for nobody.
type WriteOptions struct {
	ContentType string        // "": text/plain when the value is UTF-8, else application/octet-stream; not of Delete
	TTL         time.Duration // 0: never expires; at least 1 s; not of Delete
	IfVersion   *uint64       // write only while the key is at this version, 0 meaning absent; else code version-conflict
	Wait        string        // "": none; a number, or "all": return when so many live members beside this node hold it
	WaitTimeout time.Duration // 0: 10 s; when it passes the error has the code timeout, and the write stands
}

// Set writes a key of this node's own namespace, the merged view's new winner.
func (c *Client) Set(ctx context.Context, key string, value []byte, o WriteOptions) (Written, error) {
	return c.write(ctx, http.MethodPut, key, value, o)
}

// Delete leaves a tombstone under the key. A key that is absent is an *Error with the code not-found.
func (c *Client) Delete(ctx context.Context, key string, o WriteOptions) (Written, error) {
	return c.write(ctx, http.MethodDelete, key, nil, o)
}

func (c *Client) write(ctx context.Context, method, key string, value []byte, o WriteOptions) (Written, error) {
	query := c.params("ttl", durationParam(o.TTL), "wait", o.Wait, "wait_timeout", durationParam(o.WaitTimeout))
	req, err := c.request(ctx, method, keyPath(stateKeys, key), query, value)
	if err != nil {
		return Written{}, err
	}
	if o.ContentType != "" {
		req.Header.Set("Content-Type", o.ContentType)
	}
	switch {
	case o.IfVersion == nil:
	case *o.IfVersion == 0:
		req.Header.Set("If-None-Match", "*")
	default:
		req.Header.Set("If-Match", etag(Uint64(*o.IfVersion)))
	}
	return do[Written](c, req)
}

// ListOptions choose entries. The zero value chooses every live key.
type ListOptions struct {
	Prefix     string
	Owner      string // "": the merged view and, of keys without one, every owner's entry; else this owner's entries
	Tombstones bool   // include deleted keys that are still remembered
}

// listPage is how many entries List asks for at a time.
const listPage = 1000

// List gives the entries chosen, by key, then owner. It reads page by page, so an entry that is written meanwhile may
// be in it or not.
func (c *Client) List(ctx context.Context, o ListOptions) ([]Value, error) {
	query := c.params("prefix", o.Prefix, "owner", o.Owner, "limit", strconv.Itoa(listPage))
	if o.Tombstones {
		query.Set("tombstones", "true")
	}
	var all []Value
	for {
		page, err := get[Page[Value]](ctx, c, "/v1/state", query)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all, nil
		}
		query.Set("cursor", *page.NextCursor)
	}
}

// WatchOptions choose what WatchState yields. The zero value: every change from now on.
type WatchOptions struct {
	Prefix  string
	Initial bool    // begin with the entries that are there, as EventPut, closed by EventSynced
	Since   *uint64 // resume behind the event of this number; EventGap when not all since are remembered, then as with Initial
}

// WatchState yields changes of the topic in order, until ctx ends or the caller stops. An error is the last thing it
// yields; when ctx ends there is none. EventSynced comes once before the changes, and again after each EventGap and
// the snapshot that follows it. Any call is allowed inside the loop.
func (c *Client) WatchState(ctx context.Context, o WatchOptions) iter.Seq2[Event, error] {
	query := c.params("prefix", o.Prefix)
	if o.Initial {
		query.Set("initial", "true")
	}
	if o.Since != nil {
		query.Set("since", strconv.FormatUint(*o.Since, 10))
	}
	return func(yield func(Event, error) bool) {
		for raw, err := range c.stream(ctx, "/v1/watch/state", query) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			e, err := stateEvent(raw)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Digest sums up what the node holds of the topic.
func (c *Client) Digest(ctx context.Context) (Digest, error) {
	return get[Digest](ctx, c, "/v1/digest", c.params())
}

// Ask asks every live member for its digest of the topic and compares.
func (c *Client) Ask(ctx context.Context) (Agreements, error) {
	return get[Agreements](ctx, c, "/v1/digest", c.params("all", "true"))
}

// SubmitJob gives the network a job. Each call is a new job, unless spec names an idempotency key that was used before.
func (c *Client) SubmitJob(ctx context.Context, spec JobSpec) (Job, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return Job{}, fmt.Errorf("encode job: %w", err)
	}
	req, err := c.request(ctx, http.MethodPost, "/v1/jobs", c.params(), body)
	if err != nil {
		return Job{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	return do[Job](c, req)
}

// Jobs lists the jobs of the topic by id.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	page, err := get[Page[Job]](ctx, c, "/v1/jobs", c.params())
	return page.Items, err
}

// Job gives one job.
func (c *Client) Job(ctx context.Context, job string) (Job, error) {
	return get[Job](ctx, c, "/v1/jobs/"+url.PathEscape(job), c.params())
}

// WatchJob yields the job as it is and then, at most twice a second, as it changes. It ends after a job that has
// Ended, when ctx ends or when the caller stops. An error is the last thing it yields; when ctx ends there is none.
func (c *Client) WatchJob(ctx context.Context, job string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for e, err := range c.stream(ctx, "/v1/jobs/"+url.PathEscape(job)+"/events", c.params()) {
			if err != nil {
				yield(Job{}, err)
				return
			}
			if e.name != EventJob {
				continue
			}
			j, err := decodeEvent[Job](e)
			if !yield(j, err) || err != nil || j.Ended() {
				return
			}
		}
	}
}

// CancelJob withdraws a job that this node submitted. A job of another submitter is an *Error with the code
// not-allowed.
func (c *Client) CancelJob(ctx context.Context, job string) (Job, error) {
	req, err := c.request(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(job)+"/cancel", c.params(), nil)
	if err != nil {
		return Job{}, err
	}
	return do[Job](c, req)
}

// Stop asks the node to leave its network and end. It returns when the node has agreed to, not when it has ended.
func (c *Client) Stop(ctx context.Context) error {
	req, err := c.request(ctx, http.MethodPost, "/v1/stop", nil, nil)
	if err != nil {
		return err
	}
	_, err = do[json.RawMessage](c, req)
	return err
}

// Metrics gives what the node counts in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	req, err := c.request(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return nil, err
	}
	return c.roundTrip(req)
}
