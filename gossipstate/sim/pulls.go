package sim

import (
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	pullHold     = 100 * time.Millisecond // an early rumor waits for the one before it
	pullPauseMin = time.Second
	pullPauseMax = 5 * time.Minute
	maxPulls     = 1024
	maxPullTries = 8 // then the backstop has it
)

// pull fetches one owner's copy after a gap: first from the peer its digest came from, one at a time.
type pull struct {
	topic      *topic
	owner      wire.ID
	from       *link // nil or gone: any
	due        time.Time
	pause      time.Duration
	tries      int
	mismatches int // updates since that did not match
	running    bool
	dropped    bool // what was missing has come
}

// requestPullOf pulls what u announced: at once when it has no entries, else after a hold. False when too many wait.
func (p *process) requestPullOf(t *topic, u *wire.Update, from *link, now time.Time) bool {
	if len(u.Entries) > 0 {
		now = now.Add(pullHold)
	}
	return p.requestPull(t, u.Digest.Owner, from, now) != nil
}

// requestSnapshot follows a root mismatch: a fork, or an owner that lost its store. False when too many wait.
func (p *process) requestSnapshot(t *topic, owner wire.ID, from *link, now time.Time) bool {
	pl := p.requestPull(t, owner, from, now)
	if pl == nil {
		return false
	}
	pl.mismatches++
	pl.from = from // it has what does not match: others may not
	return true
}

func (p *process) requestPull(t *topic, owner wire.ID, from *link, due time.Time) *pull {
	for _, pl := range p.pulls {
		if pl.topic == t && pl.owner == owner {
			return pl
		}
	}
	if len(p.pulls) >= maxPulls {
		return nil
	}
	pl := &pull{topic: t, owner: owner, from: from, due: due, pause: pullPauseMin / 2}
	p.pulls = append(p.pulls, pl)
	return pl
}

// dropPull forgets the pull of an owner.
func (p *process) dropPull(t *topic, owner wire.ID) {
	p.pulls = slices.DeleteFunc(p.pulls, func(pl *pull) bool {
		pl.dropped = pl.dropped || pl.topic == t && pl.owner == owner
		return pl.dropped
	})
}

func (p *process) duePulls(now time.Time) {
	for _, pl := range slices.Clone(p.pulls) {
		if pl.running || pl.dropped || now.Before(pl.due) || p.pullsRunning >= maxSyncsStarted {
			continue
		}
		from := pl.from
		if pl.tries > 0 && pl.mismatches == 0 || from == nil || !p.has(from) {
			from = p.randomLink(func(*link) bool { return true })
		}
		p.startPull(pl, from)
	}
}

// startPull asks from for the owner's copy; from is nil when nobody is connected.
func (p *process) startPull(pl *pull, from *link) {
	pl.running = true
	pl.tries++
	p.pullsRunning++
	p.node.Pulls++
	if from == nil {
		p.pullDone(pl, false)
		return
	}
	want := pl.topic.wantOf(pl.owner, from)
	done := func(s *session, ok bool) { p.pullDone(pl, ok && s.repaired > 0) }
	p.startSession(from, &session{pull: &want, topic: pl.topic.index, done: done})
}

// pullDone ends one try. One that brought nothing is tried again after a longer pause, from another peer.
func (p *process) pullDone(pl *pull, repaired bool) {
	p.pullsRunning--
	pl.running = false
	if pl.dropped {
		return
	}
	if repaired && pl.topic.lags(pl.owner) {
		repaired = false // it brought something, not all
	}
	if repaired || pl.tries >= maxPullTries {
		delete(pl.topic.newest, pl.owner)
		p.dropPull(pl.topic, pl.owner)
		return
	}
	pl.pause = min(2*pl.pause, pullPauseMax)
	pl.due = p.s.now().Add(pl.pause)
}

// lags says whether a newer digest of owner was seen than is held.
func (t *topic) lags(owner wire.ID) bool {
	seen, ok := t.newest[owner]
	held, _, have := t.state.Digest(owner)
	return ok && (!have || held.Compare(&seen) < 0)
}
