package discovery

import (
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The view is Brahms' (Bortnikov, Gurevich, Keidar, Kliot, Shraer, "Brahms: Byzantine Resilient Random Membership Sampling",
// Computer Networks 53, 2009), and was chosen over Cyclon's: there each exchange swaps entries, so that a peer which
// answers with its own accomplices replaces what it took, and nothing brings the honest ones back. In Brahms a peer pushes
// itself alone, what others know is only taken when this node asked for it, and a part comes from min-wise samples of all
// that was ever heard, which who shouts loudest does not bias.
//
// Differences, and why:
//   - One exchange a round, not a third of the view: a network at rest must cost next to nothing. So what a round does not
//     replace stays, and shares are smaller than the paper's 45, 45 and 10 %.
//   - The paper limits pushes by making them costly. Here a push is a connection of the peer's own, and a group (see
//     groupOf) has a share of everything: of the pushes of a round, of the view, and of the samples.
//   - The paper probes samples. Here a dial that fails drops a peer from view and samples, and what nobody has met for
//     staleAfter is neither offered nor taken.
const (
	viewSize    = 32 // guess: the paper wants the cube root of the network's size, and this is enough for 32,768 nodes
	sampleCount = 32

	pushShare   = 8 // seats a round gives to those that asked this node
	pullShare   = 6 // to what the asked peer knows; measured: TestAStarBecomesARandomGraph, larger ones cluster the views
	sampleShare = 3 // to samples

	// maxPushes is how many pushes a round may bring: more, and the round takes none (the paper's "blocking"). An honest
	// node brings one a round to one peer.
	maxPushes = 14

	// groupSeats is how many seats one group may have while there are others to take; groupPushes of them by pushes of one
	// round.
	groupSeats  = viewSize / 4
	groupPushes = 2
)

// seat is a peer in a view, and where it is.
type seat struct {
	id    peer.ID
	group string
}

// view is a bounded random sample of the network. It has no clock and no lock; its owner, candidates, drops who is dead.
type view struct {
	rng      *rand.Rand
	members  []seat // at most viewSize
	samplers []sampler
	pushes   []seat // of this round
	pushed   int    // how many there were, those without a seat in pushes too
	pulls    []seat // of this round
	blocked  uint64 // pushes of rounds that had too many
}

func newView(rng *rand.Rand) *view {
	v := &view{rng: rng, samplers: make([]sampler, sampleCount)}
	for i := range v.samplers {
		v.samplers[i].reset(rng)
	}
	return v
}

// observe gives every sampler s to consider.
func (v *view) observe(s seat) {
	for i := range v.samplers {
		v.samplers[i].observe(s)
	}
}

// refill gives the samplers that hold nobody all of seats. The others have seen them.
func (v *view) refill(seats []seat) {
	for i := range v.samplers {
		if v.samplers[i].held {
			continue
		}
		for _, s := range seats {
			v.samplers[i].observe(s)
		}
	}
}

// push takes note that s itself came to this node.
func (v *view) push(s seat) {
	if v.pushed++; v.pushed <= maxPushes && !holds(v.pushes, s.id) {
		v.pushes = append(v.pushes, s)
	}
	v.seat(s)
}

// pull takes note of what a peer answered that this node asked.
func (v *view) pull(answer []seat) {
	for _, s := range answer {
		if len(v.pulls) < 2*offerSize && !holds(v.pulls, s.id) {
			v.pulls = append(v.pulls, s)
		}
		v.seat(s)
	}
}

// seat gives s a seat at once while there are free ones: a node that begins can't wait for rounds.
func (v *view) seat(s seat) {
	if len(v.members) < viewSize && !holds(v.members, s.id) {
		v.members = append(v.members, s)
	}
}

// turn ends a round: some seats go to those who pushed, to those pulled and to samples, the others stay as they are.
func (v *view) turn() {
	var next []seat
	if v.pushed <= maxPushes {
		next = v.draw(next, v.pushes, pushShare, groupPushes)
	} else {
		v.blocked += uint64(v.pushed)
	}
	next = v.draw(next, v.pulls, pullShare, groupSeats)
	next = v.draw(next, v.samples(), sampleShare, groupSeats)
	next = v.draw(next, v.members, viewSize, groupSeats)
	for _, rest := range [][]seat{v.members, v.pulls, v.pushes} { // room is left: groups may have more than their share
		next = v.draw(next, rest, viewSize, viewSize)
	}
	v.members, v.pushes, v.pulls, v.pushed = next, nil, nil, 0
}

// draw appends up to n of from to seats, at random, while these are at most viewSize with at most perGroup of one group.
func (v *view) draw(seats, from []seat, n, perGroup int) []seat {
	from = slices.Clone(from)
	v.rng.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	groups := map[string]int{}
	for _, s := range seats {
		groups[s.group]++
	}
	for _, s := range from {
		if n == 0 || len(seats) >= viewSize {
			break
		}
		if groups[s.group] < perGroup && !holds(seats, s.id) {
			groups[s.group]++
			seats = append(seats, s)
			n--
		}
	}
	return seats
}

// samples are the peers that the samplers hold, each once.
func (v *view) samples() []seat {
	var all []seat
	for _, s := range v.samplers {
		if s.held && !holds(all, s.seat.id) {
			all = append(all, s.seat)
		}
	}
	return all
}

// drop forgets id, which is dead or no longer known. It reports whether samplers lost what they held: the owner then has all
// it knows observed again.
func (v *view) drop(id peer.ID) (resample bool) {
	is := func(s seat) bool { return s.id == id }
	v.members = slices.DeleteFunc(v.members, is)
	v.pushes = slices.DeleteFunc(v.pushes, is)
	v.pulls = slices.DeleteFunc(v.pulls, is)
	for i := range v.samplers {
		if s := &v.samplers[i]; s.held && s.seat.id == id {
			s.reset(v.rng)
			resample = true
		}
	}
	return resample
}

// regroup notes that a peer is elsewhere than was thought. As drop, it reports whether all is to be observed again.
func (v *view) regroup(s seat) (resample bool) {
	for _, seats := range [][]seat{v.members, v.pushes, v.pulls} {
		if i := slices.IndexFunc(seats, func(o seat) bool { return o.id == s.id }); i >= 0 {
			seats[i] = s
		}
	}
	for i := range v.samplers {
		if o := &v.samplers[i]; o.held && o.seat.id == s.id {
			o.held = false
			resample = true
		}
	}
	return resample
}

// has reports whether id has a seat or is a sample.
func (v *view) has(id peer.ID) bool {
	return holds(v.members, id) || slices.ContainsFunc(v.samplers, func(s sampler) bool { return s.held && s.seat.id == id })
}

func holds(seats []seat, id peer.ID) bool {
	return slices.ContainsFunc(seats, func(s seat) bool { return s.id == id })
}
