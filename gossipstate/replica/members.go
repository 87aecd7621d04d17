package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Keys on members under which every node describes itself.
const (
	keyName  = "node.name"  // UTF-8
	keyAgent = "node.agent" // UTF-8
	keyTags  = "node.tags"  // JSON object of strings
	keyAddrs = "node.addrs" // libp2p signed peer record

	maxName  = 64      // bytes
	maxTags  = 1024    // bytes of JSON
	maxAddrs = 4 << 10 // bytes; libp2p's own limit for a signed record is larger
)

// Description is what a node tells about itself. Empty fields are not told.
type Description struct {
	Name  string // at most 64 bytes
	Agent string // program and version, at most 64 bytes
	Tags  map[string]string
	Addrs []byte // signed peer record, as libp2p marshals its envelope
}

// values are the entries that tell d, in a fixed order; a nil value tells nothing.
func (d *Description) values() []gossipstate.Mutation {
	var tags []byte
	if len(d.Tags) > 0 {
		var err error
		if tags, err = json.Marshal(d.Tags); err != nil {
			panic("replica: strings always have a JSON form: " + err.Error())
		}
	}
	return []gossipstate.Mutation{
		{Key: keyName, Value: []byte(d.Name)}, {Key: keyAgent, Value: []byte(d.Agent)},
		{Key: keyTags, Value: tags}, {Key: keyAddrs, Value: d.Addrs},
	}
}

// longest is how many bytes a node may tell under key.
func longest(key string) int {
	switch key {
	case keyName, keyAgent:
		return maxName
	case keyTags:
		return maxTags
	case keyAddrs:
		return maxAddrs
	default:
		return wire.MaxValue
	}
}

// Validate reports a field that is too long as *gossipstate.KeyError; nil when there is none.
func (d *Description) Validate() error {
	for _, m := range d.values() {
		if limit := longest(m.Key); len(m.Value) > limit {
			return &gossipstate.KeyError{Key: m.Key, Reason: fmt.Sprintf("%d bytes, the limit is %d", len(m.Value), limit)}
		}
	}
	return nil
}

// Describe makes d what this node tells about itself on "members"; what is as it was is not written again. Errors:
// *gossipstate.KeyError, ErrIdentityConflict, ErrStopped.
func (r *Replica) Describe(ctx context.Context, d Description) error {
	if err := d.Validate(); err != nil {
		return err
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.idle:
		return ErrStopped
	}
	var err error
	stopped := r.do(ctx, func(t *table) { err = t.describe(&d) })
	return errors.Join(stopped, err)
}

func (t *table) describe(d *Description) error {
	mutations := t.undescribed(d)
	if len(mutations) == 0 {
		return nil
	}
	_, err := t.commit(t.members(), mutations, time.Now())
	return err
}

// undescribed is what must be written so that this node tells d.
func (t *table) undescribed(d *Description) []gossipstate.Mutation {
	var mutations []gossipstate.Mutation
	for _, m := range d.values() {
		rec := t.members().state.GetOwned(t.r.self, m.Key)
		switch {
		case len(m.Value) == 0 && rec.Live():
			mutations = append(mutations, gossipstate.Mutation{Key: m.Key, Delete: true})
		case len(m.Value) > 0 && (!rec.Live() || !bytes.Equal(rec.Entry.Value, m.Value)):
			mutations = append(mutations, m)
		}
	}
	return mutations
}

// describedAs is what owner tells under one of the keys of a Description; nil when that is nothing, or too long.
func (t *table) describedAs(owner gossipstate.ID, key string) []byte {
	if rec := t.members().state.GetOwned(owner, key); rec.Live() && len(rec.Entry.Value) <= longest(key) {
		return rec.Entry.Value
	}
	return nil
}

func (t *table) nameOf(owner gossipstate.ID) string {
	return string(t.describedAs(owner, keyName))
}

// Members is the member table, this node included, sorted by owner key.
func (r *Replica) Members(ctx context.Context) (members []Member, err error) {
	err = r.do(ctx, func(t *table) {
		for _, m := range t.live.Members(time.Now()) {
			out := Member{
				ID: PeerOf(m.Owner), Name: t.nameOf(m.Owner), Self: m.Owner == r.self, Status: m.Status.String(), Phi: m.Phi,
				Heard: m.Heard, Generation: m.Generation, Version: m.Version, Agent: string(t.describedAs(m.Owner, keyAgent)),
				Since: m.Since, Accusers: peersOf(m.Accusers), Refuter: peerOrNone(m.Refuter), Refuted: m.Refuted,
			}
			// Tags that do not decode are an owner's own fault and shown as none.
			_ = json.Unmarshal(t.describedAs(m.Owner, keyTags), &out.Tags)
			out.Equivocated = t.flagged(m.Owner)
			out.Clock, out.ClockKnown = m.Clock, m.ClockKnown
			if l := t.links[out.ID]; l != nil && l.beats != nil {
				out.Neighbour, out.Agrees = true, l.beats.agrees
			}
			members = append(members, out)
		}
	})
	return members, err
}

// Phis is the suspicion level of each neighbour, and of who is suspect or dead; of others it says little.
func (r *Replica) Phis(ctx context.Context) (map[peer.ID]float64, error) {
	phis := map[peer.ID]float64{}
	err := r.do(ctx, func(t *table) {
		for _, m := range t.live.Members(time.Now()) {
			if m.Owner != r.self && (m.Neighbour || m.Status == liveness.Suspect || m.Status == liveness.Dead) {
				phis[PeerOf(m.Owner)] = m.Phi
			}
		}
	})
	return phis, err
}

// Story is what has become of a member in this process, at most its last 16 changes, oldest first. ErrNotFound when it is not in
// the member table.
func (r *Replica) Story(ctx context.Context, member peer.ID) (story []Transition, err error) {
	owner, err := OwnerOf(member)
	if err != nil {
		return nil, err
	}
	known := false
	stopped := r.do(ctx, func(t *table) {
		known = t.live.Status(owner) != 0
		all := t.live.Story(owner)
		for i := range all {
			story = append(story, t.transition(&all[i]))
		}
	})
	switch {
	case stopped != nil:
		return nil, stopped
	case !known:
		return nil, ErrNotFound
	}
	return story, nil
}

// Agreement with neighbours on one topic, as their last beats showed it.
func (t *table) agreement() (agree, of int) {
	for _, l := range t.links {
		if l.beats != nil && l.beats.theirTopics != nil {
			of++
			if l.beats.agrees {
				agree++
			}
		}
	}
	return agree, of
}

// Neighbours counts the neighbours whose last beat showed this node's fingerprints, and all of them.
func (r *Replica) Neighbours(ctx context.Context) (agree, of int, err error) {
	err = r.do(ctx, func(t *table) { agree, of = t.agreement() })
	return agree, of, err
}

const (
	leavePeers   = 3 // peers that must have heard it
	leaveTimeout = 5 * time.Second
	leaveGrace   = 500 * time.Millisecond // for the other connected peers, once three know it
)

// Leave tells the network that this node stops on purpose, and waits until three peers know it, or all that are connected,
// at most 5 s. Run goes on until Close.
func (r *Replica) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	var peers []peer.ID
	var last gossipstate.Version
	var err error
	if stopped := r.do(ctx, func(t *table) { peers, last, err = t.sayLeaving() }); stopped != nil {
		return stopped
	}
	if err != nil || len(peers) == 0 {
		return err
	}
	told := make(chan struct{}, len(peers))
	var g errgroup.Group
	g.SetLimit(2 * leavePeers)
	for _, p := range peers {
		g.Go(func() error {
			if r.tell(ctx, p, last) == nil {
				told <- struct{}{}
			}
			if len(told) >= leavePeers { // enough to spread it; the others should not find a closed port first
				time.AfterFunc(leaveGrace, cancel)
			}
			return nil
		})
	}
	_ = g.Wait() // failures show in how many were told
	if need := min(leavePeers, len(peers)); len(told) < need {
		return fmt.Errorf("only %d of %d peers were told that this node leaves", len(told), need)
	}
	return nil
}

// tell syncs with p and asks it whether it has this node's state at version v: what was only sent may be lost when this
// process ends.
func (r *Replica) tell(ctx context.Context, p peer.ID, v gossipstate.Version) error {
	_, err := r.openSession(ctx, p, r.topics, func(ctx context.Context, s *session) error {
		if err := s.syncAll(ctx); err != nil {
			return err
		}
		return s.hasOwn(wire.Members, v)
	})
	return err
}

// sayLeaving signs the last digest of this process and returns the peers to tell and the version to tell them.
func (t *table) sayLeaving() ([]peer.ID, gossipstate.Version, error) {
	if !t.me.published || t.me.conflict {
		return nil, 0, nil
	}
	t.me.status = wire.Leaving
	if _, err := t.commit(t.members(), t.acquitting(), time.Now()); err != nil {
		return nil, 0, err
	}
	var peers []peer.ID
	for _, l := range t.links {
		if l.speaks {
			peers = append(peers, l.peer)
		}
	}
	last, _, _ := t.members().state.Digest(t.r.self)
	return peers, last.Version, nil
}
