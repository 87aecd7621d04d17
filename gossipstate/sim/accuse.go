package sim

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// accuseEvery is how long at least whom a node accuses gathers before it is written.
const accuseEvery = publishEvery

// heed gives the failure detector whom owner accuses, as its copy of members says it now. Before this node takes part itself it
// heeds nobody: what it has on disk may long be withdrawn.
func (p *process) heed(owner wire.ID, now time.Time) {
	if p.node.follows || !p.me.published {
		return
	}
	var list []liveness.Accusation
	if rec := p.topic[members].state.GetOwned(owner, liveness.SuspectsKey); rec.Live() {
		var err error
		if list, err = liveness.UnmarshalAccusations(rec.Entry.Value); err != nil {
			p.s.fail("node %d signed accusations that do not decode: %v", p.s.byID[owner].index, err)
		}
	}
	p.transitions(p.live.Accuses(owner, list, now))
}

// heedAll is heed of everyone, this node included.
func (p *process) heedAll(now time.Time) {
	for _, item := range p.topic[members].state.Items() {
		p.heed(item.Owner, now)
	}
}

// react does what the failure detector has come up with by what it was told.
func (p *process) react() {
	if !p.stirred || p.node.follows || p.s.violation != nil {
		return
	}
	p.stirred = false
	now := p.s.now()
	p.accuse(now)
	p.askAbout(now)
	p.hasten(now)
}

// accuse publishes whom this node accuses when that has changed, or a renewed digest when it must refute a quorum.
func (p *process) accuse(now time.Time) {
	if !p.takesPart() || now.Before(p.nextAccuse) {
		return
	}
	var mutations []gossipstate.Mutation
	list, changed := p.live.Suspects()
	if p.node.slanders {
		list, changed = p.slander(now), true
	}
	switch {
	case changed:
		mutations = append(mutations, accusing(list))
		p.node.Accusations++
	case p.live.MustSign(now):
		p.node.Refutations++
	default:
		return
	}
	p.nextAccuse = now.Add(accuseEvery)
	if p.node.slanders {
		p.nextAccuse = now.Add(slanderEvery)
	}
	p.commitOwn(p.topic[members], mutations, now)
}

func accusing(list []liveness.Accusation) gossipstate.Mutation {
	return gossipstate.Mutation{Key: liveness.SuspectsKey, Value: liveness.MarshalAccusations(list)}
}

// acquitting withdraws what this node has published against others: nil when that is nothing.
func (p *process) acquitting() []gossipstate.Mutation {
	rec := p.topic[members].state.GetOwned(p.node.id, liveness.SuspectsKey)
	if !rec.Live() || len(rec.Entry.Value) == 0 {
		return nil
	}
	return []gossipstate.Mutation{accusing(nil)}
}

// slanderEvery is how often a liar changes its list.
const slanderEvery = time.Second

// slander is the list of a liar: of everybody in turn, each after the newest sign of life that it knows, and refused.
func (p *process) slander(now time.Time) []liveness.Accusation {
	var list []liveness.Accusation
	all := p.live.Members(now)
	for range min(len(all), liveness.MaxAccusations) {
		m := &all[p.slandered%len(all)]
		p.slandered++
		if m.Owner == p.node.id || m.Status == liveness.Left {
			continue
		}
		a := liveness.Accusation{
			Owner: m.Owner, Last: liveness.Proof{Generation: m.Generation, Version: m.Version, Index: m.BeatIndex}, Refused: true,
		}
		if b, known := p.live.NewestBeat(m.Owner); known {
			a.Preimage = b.Preimage
		}
		list = append(list, a)
	}
	return list
}
