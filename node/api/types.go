package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Uint64 is a 64-bit number that travels in JSON as a decimal string, since readers of JSON numbers lose what is
// above 2^53: clocks, versions, generations, nonces, event numbers.
type Uint64 uint64

// String is the number in decimal.
func (n Uint64) String() string { return strconv.FormatUint(uint64(n), 10) }

// MarshalText implements encoding.TextMarshaler.
func (n Uint64) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(n), 10), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes decimal digits only.
func (n *Uint64) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a decimal number below 2^64", clip(string(text)))
	}
	*n = Uint64(v)
	return nil
}

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time travels in JSON as RFC 3339 in UTC with milliseconds, the zero Time as null.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(t.UTC().Format(`"` + timeLayout + `"`)), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		*t = Time{}
		return nil
	}
	return json.Unmarshal(text, &t.Time)
}

// Page is every list of the API. NextCursor, when not null, is the cursor parameter of the next page.
type Page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// Protocol is the range of protocol versions a node understands and the one it speaks.
type Protocol struct {
	Speaks int `json:"speaks"`
	Min    int `json:"min"`
	Max    int `json:"max"`
}

// Version says which program answers.
type Version struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"` // "" when the build did not record it
	Go       string   `json:"go"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Protocol Protocol `json:"protocol"`
}

// NodeInfo says what the node is.
type NodeInfo struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Network string   `json:"network"`
	Profile string   `json:"profile"`
	Topics  []string `json:"topics"` // the first is the one meant when a request names none
	Version string   `json:"version"`
	Home    string   `json:"home"`
	Listen  []string `json:"listen"` // multiaddrs it listens on
	Addrs   []string `json:"addrs"`  // multiaddrs for others, each ends in /p2p/ID
	Started Time     `json:"started"`
	PID     int      `json:"pid"`
}

// Status sums the node up.
type Status struct {
	Schema    string        `json:"schema"` // p2pnode.status/v1
	Node      StatusNode    `json:"node"`
	Network   StatusNetwork `json:"network"`
	Joined    bool          `json:"joined"` // a peer is connected, or no bootstrap address was given
	Bootstrap Bootstrap     `json:"bootstrap"`
	Peers     int           `json:"peers"`
	Members   MemberCount   `json:"members"`
	Gossip    StatusGossip  `json:"gossip"`
	State     TopicStatus   `json:"state"`  // of the first topic the node was asked to be on
	Topics    []TopicStatus `json:"topics"` // of all, members first
	Work      []JobSummary  `json:"work"`   // running jobs of all topics
	Worker    Worker        `json:"worker"`
	// ClockOffset is how far the node's wall clock is ahead of the median of its neighbours'; null: none is known.
	ClockOffset *float64  `json:"clock_offset_seconds"`
	Counters    []Metric  `json:"counters"`
	Problems    []Problem `json:"problems"`
}

// StatusNode is the part of a Status that names the node.
type StatusNode struct {
	ID            string  `json:"id"`
	Name          string  `json:"name"`
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

// StatusNetwork is the part of a Status that names the network.
type StatusNetwork struct {
	Name        string   `json:"name"`
	Profile     string   `json:"profile"`
	Authorities []string `json:"authorities"` // empty: open
	Protocol    Protocol `json:"protocol"`
}

// StatusGossip is the part of a Status about gossipsub.
type StatusGossip struct {
	MeshPeers int `json:"mesh_peers"` // sum over topics
	Topics    int `json:"topics"`
}

// Bootstrap says how the bootstrap peers are.
type Bootstrap struct {
	Wanted    int               `json:"wanted"`
	Connected int               `json:"connected"`
	Failures  map[string]string `json:"failures"` // multiaddr to why, in plain words, of the last try
}

// MemberCount counts members by status.
type MemberCount struct {
	Alive   int `json:"alive"`
	Suspect int `json:"suspect"`
	Dead    int `json:"dead"`
	Left    int `json:"left"`
}

// TopicStatus sums up one state topic.
type TopicStatus struct {
	Topic      string `json:"topic"`
	Digest     string `json:"digest"` // fingerprint, 64 hex digits; equal on replicas that agree
	Owners     int    `json:"owners"`
	Keys       int    `json:"keys"`
	Tombstones int    `json:"tombstones"`
	Bytes      int    `json:"bytes"`
	Agree      int    `json:"agree"` // neighbours whose last beat showed this digest
	Of         int    `json:"of"`    // neighbours
	MeshPeers  int    `json:"mesh_peers"`
}

// Worker says what the node's own worker does.
type Worker struct {
	Enabled  bool    `json:"enabled"`
	Rate     float64 `json:"rate"` // nonces/s scanned here over the last 10 s
	Running  int     `json:"running"`
	Done     int     `json:"done"`
	Canceled int     `json:"canceled"`
}

// Problem is something an operator may want to act on.
type Problem struct {
	Level  string `json:"level" enum:"warn,error"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
}

// Metric is one number of the node, as in /metrics.
type Metric struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind" enum:"counter,gauge"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// Peer is one libp2p peer the node has a connection to.
type Peer struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Direction  string   `json:"direction" enum:"in,out"`
	Transport  string   `json:"transport"` // tcp, quic-v1
	Path       string   `json:"path" enum:"direct,relay"`
	Addr       string   `json:"addr"`
	RTTSeconds *float64 `json:"rtt_seconds"` // null: not measured
	Mesh       []string `json:"mesh"`        // topics in whose mesh it is
	Agent      string   `json:"agent"`
	Since      Time     `json:"since"`
}

// Member is one owner as the failure detector sees it.
type Member struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Self         bool              `json:"self"`
	Status       string            `json:"status" enum:"alive,suspect,dead,left"`
	Phi          float64           `json:"phi"`
	LastHeard    Time              `json:"last_heard"` // null: never, or this node
	Generation   Uint64            `json:"generation"`
	StateVersion Uint64            `json:"state_version"` // of its own state on the topic members
	Version      string            `json:"version"`       // of its program, "" when unknown
	Agent        string            `json:"agent"`
	Neighbour    bool              `json:"neighbour"`            // beats run between it and this node
	Agrees       bool              `json:"agrees"`               // its last beat showed this node's digests; of neighbours only
	Equivocated  bool              `json:"equivocated"`          // it is proved that it signed two histories
	ClockOffset  *float64          `json:"clock_offset_seconds"` // its wall clock's, ahead of this node's; null: not a neighbour
	Since        Time              `json:"since"`                // when it came into its status
	SuspectedBy  []string          `json:"suspected_by"`         // ids of members whose accusations of it stand, at most 8
	Refuter      string            `json:"refuter"`              // who brought the proof of life that last ended a suspicion or death; "": nobody
	RefutedAt    Time              `json:"refuted_at"`           // null: never
	Tags         map[string]string `json:"tags"`

	Began        Time     `json:"began"`        // when that life began by its own clock, as the generation tells; null: it tells none
	Reachability string   `json:"reachability"` // by the addresses it tells: public, private; "": it tells none
	Addrs        []string `json:"addrs"`        // multiaddrs it tells, at most 16
	Protocol     *int     `json:"protocol"`     // the newest version of the sync protocol that it speaks; null: never connected
	ClockSkewed  bool     `json:"clock_skewed"` // clock_offset_seconds is one to warn of
	StateLag     *int     `json:"state_lag"`    // 0: it holds what this node holds; null: not known, or it differs
}

// MemberStory is a member with what became of it since this node started: at most its last 16 changes, oldest first.
type MemberStory struct {
	Member
	Story       []Transition `json:"story"`
	PhiHistory  []float64    `json:"phi_history"`          // over the last minute, oldest first; empty: neither a neighbour nor suspected
	PhiInterval float64      `json:"phi_interval_seconds"` // between two of those
}

// Transition is a change of a member's status. From is "" when the member is new.
type Transition struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Phi      float64  `json:"phi"`
	Accusers []string `json:"accusers"`        // at a suspicion or death: ids of members whose accusations stand, at most 8
	Timeout  float64  `json:"timeout_seconds"` // of the suspicion that begins, or has ended in death; else 0
	Refuter  string   `json:"refuter"`         // at the end of a suspicion or death: who brought the larger proof of life; "": it came as state
	Reason   string   `json:"reason"`
	At       Time     `json:"at"`
}

// Value is one entry of the replicated state.
type Value struct {
	Key          string  `json:"key"`
	Owner        string  `json:"owner"`
	Version      Uint64  `json:"version"`       // the key's clock, also its ETag
	OwnerVersion Uint64  `json:"owner_version"` // the owner's version that wrote it
	Value        []byte  `json:"value"`         // base64; null when deleted
	Encoding     string  `json:"encoding" enum:"base64"`
	Text         *string `json:"text,omitempty"` // the value once more when it is printable UTF-8
	Size         int     `json:"size"`           // bytes of the value
	ContentType  string  `json:"content_type"`
	Written      Time    `json:"written"` // the owner's claim; null when it made none
	Expires      Time    `json:"expires"` // null: never
	Digest       string  `json:"digest"`  // root of the owner's state that holds it, 64 hex digits
	Deleted      bool    `json:"deleted"`
}

// PastValue is what stood under a key once, or stands there now.
type PastValue struct {
	Value
	Current bool `json:"current"` // it stands now
}

// Versions is what a node remembers of one key, newest first; of one version that two owners wrote, the one that won is first.
type Versions struct {
	Items      []PastValue `json:"items"`
	NextCursor *string     `json:"next_cursor"` // always null: they are few
	Cut        bool        `json:"cut"`         // older ones were dropped for want of room
}

// Wait says how far a write had come when the answer was sent.
type Wait struct {
	Seen    int     `json:"seen"` // live members that hold it, this node not counted
	Of      int     `json:"of"`   // live members, this node not counted
	Seconds float64 `json:"seconds"`
}

// Written says what a write did.
type Written struct {
	Value
	PeersSent int   `json:"peers_sent"`     // peers the rumor was handed to; 0 is no error
	Wait      *Wait `json:"wait,omitempty"` // when the request asked to wait
}

// Digest sums up what a replica holds of one topic.
type Digest struct {
	Topic      string `json:"topic"`
	Digest     string `json:"digest"` // fingerprint, 64 hex digits; equal on replicas that agree
	Owners     int    `json:"owners"`
	Keys       int    `json:"keys"`
	Tombstones int    `json:"tombstones"`
	Bytes      int    `json:"bytes"`
}

// Agreement is one member's answer when it was asked for its digest.
type Agreement struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Digest *MemberDigest `json:"digest"` // null: it could not be asked
	Agrees bool          `json:"agrees"`
	Behind int           `json:"behind"` // owners of which it holds less than this node
	Error  string        `json:"error,omitempty"`
}

// MemberDigest is what another member says about what it holds of a topic.
type MemberDigest struct {
	Digest string `json:"digest"` // as Digest.Digest
	Owners int    `json:"owners"`
}

// Agreements is the digest of this node and those of all live members. Where they were not asked for, only the digest
// is in the JSON.
type Agreements struct {
	Digest
	Members []Agreement `json:"members,omitzero"` // by id, this node not among them
	Agree   int         `json:"agree,omitzero"`   // of all live members, this node included
	Of      int         `json:"of,omitzero"`
}

// Range is a half-open range of nonces.
type Range struct {
	Start Uint64 `json:"start"`
	End   Uint64 `json:"end"`
}

// JobSpec defines a job.
type JobSpec struct {
	Kind    string `json:"kind" maxLength:"32" doc:"what to do with each nonce: sha256d"`
	Payload string `json:"payload" maxLength:"65536" doc:"hex, white space allowed; for sha256d a block header of 76 bytes, or of 80 whose nonce is ignored"`
	Range   Range  `json:"range" doc:"nonces to search"`
	Target  string `json:"target,omitempty" maxLength:"128" doc:"largest hash that counts, 64 hex digits, most significant first; default: what the header's own bits say"`
	Stop    string `json:"stop,omitempty" enum:"first,all" default:"first" doc:"end with the first result, or search the whole range"`
	Chunk   Uint64 `json:"chunk,omitempty" doc:"nonces in one cell, at most; 0 or absent: chosen by the node"`
	Name    string `json:"name,omitempty" maxLength:"64" doc:"a label for people"`
}

// States of a job.
const (
	JobRunning   = "running"
	JobDone      = "done"      // stop first: something is found; stop all: the whole range is searched
	JobExhausted = "exhausted" // stop first, and the whole range was searched in vain
	JobCanceled  = "canceled"  // its submitter withdrew it
	JobFailed    = "failed"    // all that is left are cells that several workers died over
)

// JobSummary is what Status says about a running job.
type JobSummary struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Topic       string   `json:"topic"`
	State       string   `json:"state" enum:"running,done,exhausted,canceled,failed"`
	Done        Uint64   `json:"done"`         // nonces searched
	Total       Uint64   `json:"total"`        // nonces of the range
	Rate        float64  `json:"rate"`         // nonces/s searched by this node over the last 10 s
	NetworkRate *float64 `json:"network_rate"` // nonces/s of all workers, in streams, over their last 10 s; else null
	ETASeconds  *float64 `json:"eta_seconds"`  // at network_rate; null while that is unknown or 0
}

// Job is one job and how far it is.
type Job struct {
	JobSummary
	Submitter  string  `json:"submitter"`
	Submitted  Time    `json:"submitted"` // the submitter's claim
	Kind       string  `json:"kind"`
	Range      Range   `json:"range"`
	Target     string  `json:"target"` // 64 hex digits, most significant first
	Stop       string  `json:"stop" enum:"first,all"`
	Chunk      Uint64  `json:"chunk"`      // nonces in one cell, at most
	Cells      Uint64  `json:"cells"`      // cells of the range
	Leased     Uint64  `json:"leased"`     // nonces in cells that workers hold now
	Duplicates Uint64  `json:"duplicates"` // nonces searched by more than one worker, once for each after the first
	Workers    int     `json:"workers"`    // workers that hold cells now
	Failed     []Range `json:"failed"`     // cells given up
	Found      []Found `json:"found"`      // checked by this node, by nonce
}

// Ended reports whether the job will not change any more.
func (j *Job) Ended() bool { return j.State != JobRunning }

// Found is one nonce that meets the target.
type Found struct {
	Nonce  Uint64 `json:"nonce"`
	Hash   string `json:"hash"`   // 64 hex digits, most significant first, as block explorers show it
	Worker string `json:"worker"` // "" when not known
}

// Kinds of an Event, also the names of the events of the stream.
const (
	EventPut    = "put"    // the key has a new value
	EventDel    = "del"    // the key is gone
	EventLost   = "lost"   // another owner's value won over a live one
	EventSynced = "synced" // the snapshot is complete, changes follow
	EventGap    = "gap"    // events are missing; a fresh snapshot and synced follow
	EventPing   = "ping"   // the stream is alive; the client swallows it
	EventMember = "member" // a member's status changed
	EventJob    = "job"    // a job's progress
	EventError  = "error"  // the stream ends because of this
)

// Event is one thing that WatchState yields.
type Event struct {
	ID   Uint64 // node-local number of the change, what WatchOptions.Since takes; 0 in a snapshot and of EventGap
	Kind string // EventPut, EventDel, EventLost, EventSynced or EventGap
	Change
	Gap Gap // of EventGap
}

// Change is the data of put, del and lost.
type Change struct {
	Value  Value  `json:"value"`         // what holds now; of del the tombstone
	Old    *Value `json:"old,omitempty"` // what held before; of lost the loser
	Remote bool   `json:"remote"`        // it came from a peer
	Cause  string `json:"cause,omitempty" doc:"write, rumor, sync, import, expired or forgotten; others may come; absent in a snapshot"`
	Why    string `json:"why,omitempty" doc:"of lost: what decided, for people"`
}

// Gap is the data of gap: the changes From..To, both included, were not sent. None were missed when To is below From.
type Gap struct {
	From Uint64 `json:"from"`
	To   Uint64 `json:"to"`
}
