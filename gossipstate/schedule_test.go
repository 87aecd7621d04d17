package gossipstate

import (
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// schedule is a random run of a few replicas, of which some write, over a network that parts, and that loses, repeats,
// reorders and cuts everything. Each replica is compared with its slow model after every step that changed it.
type schedule struct {
	replicas []*replica
	owners   []*author   // one of each identity; its history is that of all who sign with its key
	strayed  map[ID]bool // identities that lost their store or are of two minds: their versions may begin again
	flying   []message
	now      time.Time
}

// replica is one node: a state, the model that it must equal, and, unless it only reads, who writes there.
type replica struct {
	name    ID // as sender of parts
	state   *State
	model   *slowState
	owner   *author // nil: it only reads
	side    int     // of a partition
	changed bool    // since it was compared with its model
}

// message is an update under way.
type message struct {
	from *replica
	v    wire.Verified
}

const (
	maxReplicas = 6
	maxFlying   = 30
	grace       = time.Hour // tombstones are kept for it
)

// larger is a value with which a rumor does not repeat all that came before.
var larger = strings.Repeat("x", reach)

func newSchedule(t *rapid.T) *schedule {
	s := &schedule{now: testStart, strayed: map[ID]bool{}}
	replicas := rapid.IntRange(2, maxReplicas).Draw(t, "replicas")
	for i := range rapid.IntRange(1, min(3, replicas)).Draw(t, "owners") {
		s.owners = append(s.owners, newAuthor(byte(i+1)))
		s.join(s.owners[i])
	}
	for len(s.replicas) < replicas {
		s.join(nil)
	}
	return s
}

func (s *schedule) join(owner *author) *replica {
	r := &replica{name: ID{byte(len(s.replicas) + 1)}, state: New(DefaultConfig(testDomain)), model: newSlowState(), owner: owner}
	if owner != nil {
		owner.state = r.state
	}
	s.replicas = append(s.replicas, r)
	return r
}

func (s *schedule) any(t *rapid.T) *replica {
	return s.replicas[rapid.IntRange(0, len(s.replicas)-1).Draw(t, "replica")]
}

func (s *schedule) anyWriter(t *rapid.T) *replica {
	writers := slices.DeleteFunc(slices.Clone(s.replicas), func(r *replica) bool { return r.owner == nil })
	return writers[rapid.IntRange(0, len(writers)-1).Draw(t, "writer")]
}

func (s *schedule) anyOwner(t *rapid.T) *author {
	return s.owners[rapid.IntRange(0, len(s.owners)-1).Draw(t, "owner")]
}

// actions are what may happen next; rapid picks.
func (s *schedule) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"write":     s.write,
		"withdraw":  s.withdraw,
		"forget":    func(t *rapid.T) { s.commit(t, s.anyWriter(t), uint64(s.now.Add(-grace).UnixMilli())) },
		"renew":     s.renew,
		"restart":   s.restart,
		"fork":      s.fork,
		"age":       s.age,
		"rumor":     s.rumor,
		"send":      s.send,
		"deliver":   s.deliver,
		"lose":      func(t *rapid.T) { s.take(t) },
		"cut":       s.cut,
		"truncate":  s.truncate,
		"sync":      s.syncSome,
		"drop":      s.drop,
		"partition": s.partition,
		"heal":      func(*rapid.T) { s.heal() },
		"":          s.check,
	}
}

func (s *schedule) write(t *rapid.T) {
	var mutations []Mutation
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		key := rapid.SampledFrom([]string{keyName(0), keyName(1), keyName(2), OwnedPrefix + "a", WorkPrefix + "b"}).Draw(t, "key")
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1, 2:
			mutations = append(mutations, set(key, rapid.SampledFrom([]string{"", "x", larger}).Draw(t, "value")))
		case 3, 4:
			mutations = append(mutations, del(key))
		default:
			mutations = append(mutations, Mutation{Key: key, ContentType: "text/plain", Expires: uint64(s.now.UnixMilli())})
		}
	}
	s.commit(t, s.anyWriter(t), 0, mutations...)
}

// withdraw has an owner take back what others have beaten.
func (s *schedule) withdraw(t *rapid.T) {
	r := s.anyWriter(t)
	var mutations []Mutation
	for i := range 3 {
		mine, ok := r.model.copies[r.owner.self.ID].entries[keyName(i)]
		beaten := ok && !mine.Tombstone && r.model.winner(keyName(i)).Owner != r.owner.self.ID
		requireSame(t, beaten, len(r.state.Beaten(r.owner.self.ID, []string{keyName(i)})) == 1)
		if beaten {
			mutations = append(mutations, Mutation{Key: keyName(i), Withdraw: true})
		}
	}
	s.commit(t, r, 0, mutations...)
}

// renew signs again what an owner says, as a restart does that kept its store.
func (s *schedule) renew(t *rapid.T) {
	r := s.anyWriter(t)
	r.owner.self.Generation++
	s.commit(t, r, 0)
}

// age lets time pass, after which some owners forget tombstones.
func (s *schedule) age(t *rapid.T) {
	s.now = s.now.Add(rapid.SampledFrom([]time.Duration{1, 2, 100}).Draw(t, "graces") * grace)
	for _, r := range s.replicas {
		if r.owner != nil && rapid.Bool().Draw(t, "forgets") {
			s.commit(t, r, uint64(s.now.Add(-grace).UnixMilli()))
		}
	}
}

// commit changes the namespace of r's owner.
func (s *schedule) commit(t *rapid.T, r *replica, forgetBefore uint64, mutations ...Mutation) {
	a := r.owner
	held, _, _ := r.state.Digest(a.self.ID)
	a.self.Generation = max(a.self.Generation, held.Generation)
	p, err := r.state.Prepare(a.self, mutations, a.sign, s.now, forgetBefore)
	if err != nil {
		require.ErrorIs(t, err, ErrNotFound) // a delete of what is not there
		return
	}
	next := r.model.requireWritten(t, a.self.ID, mutations, p, forgetBefore, s.now)
	a.signed(p)
	result := r.state.Install(p)
	r.model.replace(t, a.self.ID, next, &result)
	r.changed = true
}

// restart has a replica begin again with what is on its disk: all, less of others, its own alone, or nothing.
func (s *schedule) restart(t *rapid.T) {
	r := s.any(t)
	before := r.state
	r.state, r.model = New(DefaultConfig(testDomain)), newSlowState()
	keep := rapid.SampledFrom([]string{"all", "some", "own", "none"}).Draw(t, "kept")
	for _, item := range before.Items() {
		own := r.owner != nil && r.owner.self.ID == item.Owner
		if keep == "all" || keep != "none" && own || keep == "some" && rapid.Bool().Draw(t, "keep") {
			for _, u := range before.Updates(wire.Want{Owner: item.Owner}, 1<<30) {
				v := overWire(t, u)
				require.True(t, s.apply(t, r, &v, r.name))
			}
		}
	}
	if r.owner != nil {
		r.owner.state = r.state
		r.owner.self.Generation++
		s.strayed[r.owner.self.ID] = s.strayed[r.owner.self.ID] || keep == "none"
	}
}

// fork has an identity run twice from here on, so that one (generation, version) may be signed over two states.
func (s *schedule) fork(t *rapid.T) {
	if len(s.replicas) >= maxReplicas {
		return
	}
	r := s.anyWriter(t)
	twin := *r.owner // one history
	s.strayed[twin.self.ID] = true
	s.sync(t, s.join(&twin), r, 1<<20, wire.MaxFrame)
}

func (s *schedule) fly(t *rapid.T, from *replica, updates ...Update) {
	for _, u := range updates {
		if len(s.flying) < maxFlying {
			s.flying = append(s.flying, message{from, overWire(t, u)})
		}
	}
}

// rumor publishes what an owner changed after some version, mostly the last, and may reach somebody at once.
func (s *schedule) rumor(t *rapid.T) {
	r := s.anyWriter(t)
	d, _, held := r.state.Digest(r.owner.self.ID)
	if !held {
		return
	}
	published := d.Version - Version(rapid.Uint64Range(0, uint64(d.Version)).Draw(t, "versions"))
	u, _ := r.state.Rumor(r.owner.self.ID, published)
	s.fly(t, r, u)
	if to := s.any(t); to.side == r.side {
		v := overWire(t, u)
		s.apply(t, to, &v, r.name)
	}
}

// send has a replica answer some want of nobody in particular.
func (s *schedule) send(t *rapid.T) {
	r, owner := s.any(t), s.anyOwner(t).self.ID
	d, _, _ := r.state.Digest(owner)
	want := wire.Want{Owner: owner, Generation: d.Generation, Version: Version(rapid.Uint64Range(0, 8).Draw(t, "version"))}
	s.fly(t, r, r.state.Updates(want, s.frame(t))...)
}

// frame is the size of parts: often one entry each.
func (s *schedule) frame(t *rapid.T) int {
	return rapid.SampledFrom([]int{updateOverhead + 60, updateOverhead + 200, wire.MaxFrame}).Draw(t, "frame")
}

// take takes a message from those under way. ok is false when there is none.
func (s *schedule) take(t *rapid.T) (m message, ok bool) {
	if len(s.flying) == 0 {
		return message{}, false
	}
	i := rapid.IntRange(0, len(s.flying)-1).Draw(t, "message")
	m = s.flying[i]
	s.flying = slices.Delete(s.flying, i, i+1)
	return m, true
}

func (s *schedule) deliver(t *rapid.T) {
	m, ok := s.take(t)
	to := s.any(t)
	if !ok || m.from.side != to.side {
		return
	}
	s.apply(t, to, &m.v, m.from.name)
	if rapid.Bool().Draw(t, "again") {
		s.apply(t, to, &m.v, m.from.name)
		s.flying = append(s.flying, m)
	}
}

// cut makes two parts of one message.
func (s *schedule) cut(t *rapid.T) {
	m, ok := s.take(t)
	if !ok || len(m.v.Update().Entries) < 2 {
		return
	}
	head, tail := *m.v.Update(), *m.v.Update()
	i := rapid.IntRange(1, len(head.Entries)-1).Draw(t, "at")
	head.Entries, tail.Entries = head.Entries[:i:i], tail.Entries[i:]
	head.More = true
	s.fly(t, m.from, head, tail)
}

// truncate loses the end of a message, which may then claim to be whole.
func (s *schedule) truncate(t *rapid.T) {
	m, ok := s.take(t)
	if !ok || len(m.v.Update().Entries) == 0 {
		return
	}
	u := *m.v.Update()
	i := rapid.IntRange(0, len(u.Entries)-1).Draw(t, "at")
	u.Entries = u.Entries[:i:i]
	u.More = i > 0 && rapid.Bool().Draw(t, "more")
	s.fly(t, m.from, u)
}

// drop has a replica forget an owner, of which it may hear again.
func (s *schedule) drop(t *rapid.T) {
	r, owner := s.any(t), s.anyOwner(t).self.ID
	if r.owner != nil && r.owner.self.ID == owner {
		return
	}
	if _, held := r.model.copies[owner]; held {
		result := r.state.Drop(owner)
		r.model.replace(t, owner, slowCopy{}, &result)
		r.changed = true
	}
}

func (s *schedule) partition(t *rapid.T) {
	for _, r := range s.replicas {
		r.side = rapid.IntRange(0, 1).Draw(t, "side")
	}
}

func (s *schedule) heal() {
	for _, r := range s.replicas {
		r.side = 0
	}
}

// syncSome has two replicas sync, and breaks it off somewhere.
func (s *schedule) syncSome(t *rapid.T) {
	a, b := s.any(t), s.any(t)
	if a != b && a.side == b.side {
		s.sync(t, a, b, rapid.SampledFrom([]int{1, 3, 1 << 20}).Draw(t, "frames"), s.frame(t))
	}
}

// sync is anti-entropy between a and b until frames have passed.
func (s *schedule) sync(t *rapid.T, a, b *replica, frames, size int) {
	d := reconcile.Compare(a.state.Items(), b.state.Items())
	for _, want := range d.Send {
		frames = s.answer(t, a, b, want, frames, size)
	}
	for _, want := range d.Ask {
		frames = s.answer(t, b, a, want, frames, size)
	}
}

// answer sends what b wants of a, as frames that b may go on with. What does not match is asked for again, from the
// beginning, and then as a snapshot.
func (s *schedule) answer(t *rapid.T, a, b *replica, want wire.Want, frames, size int) int {
	resumed := want
	resumed.Staged = b.state.Staged(want.Owner, a.name)
	for _, want := range []wire.Want{resumed, want, {Owner: want.Owner}, {Owner: want.Owner}} {
		matched := true
		for _, u := range a.state.Updates(want, size) {
			if frames--; frames < 0 {
				return 0
			}
			v := overWire(t, u)
			matched = s.apply(t, b, &v, a.name)
		}
		if matched {
			return frames
		}
	}
	require.Fail(t, "a snapshot from one peer always fits")
	return 0
}

// apply gives an update to a replica and checks the outcome by the model's table; false after a root mismatch.
func (s *schedule) apply(t *rapid.T, to *replica, v *wire.Verified, from ID) bool {
	u := v.Update()
	owner := u.Digest.Owner
	want, next, matches := to.model.outcome(u)
	held, holds := to.model.copies[owner]
	result, err := to.state.Apply(v, from, s.now)
	to.changed = true
	contradicts := holds && held.digest.Generation == u.Digest.Generation && held.digest.Version == u.Digest.Version &&
		held.digest != u.Digest
	requireSame(t, contradicts, result.Equivocation != nil, "two histories are seen")
	if err != nil {
		require.ErrorIs(t, err, ErrRootMismatch)
		require.True(t, want == Applied && !matches, "a good update is refused")
		return false
	}
	requireSame(t, want, result.Outcome)
	switch want {
	case Staged:
		to.model.parts[owner] = true
	case Applied:
		requireSame(t, true, matches || to.model.parts[owner], "an update that does not match is applied")
		requireSame(t, u.Previous == 0, result.Reset)
		if !matches { // the parts before it make it match
			next.entries = s.historyOf(owner)[momentOf(&u.Digest)]
		}
		s.requireNotRevived(t, owner, held, next)
		to.model.replace(t, owner, next, &result)
	}
	return true
}

// requireNotRevived checks that a key which was not readable becomes so by a later write alone.
func (s *schedule) requireNotRevived(t *rapid.T, owner ID, before, next slowCopy) {
	for key, e := range next.entries {
		if old, had := before.entries[key]; !e.Tombstone && (!had || old.Tombstone) && !s.strayed[owner] {
			require.Greater(t, e.Version, before.digest.Version, "key %q came back", key)
		}
	}
}

func (s *schedule) historyOf(owner ID) map[moment]map[string]Entry {
	i := slices.IndexFunc(s.owners, func(a *author) bool { return a.self.ID == owner })
	return s.owners[i].history
}

// check compares what has changed with the models, and every copy with what its owner signed.
func (s *schedule) check(t *rapid.T) {
	for _, r := range s.replicas {
		if r.changed {
			r.changed = false
			r.model.requireEqual(t, r.state)
			for _, a := range s.owners {
				a.requireExact(t, r.state)
			}
		}
	}
}
