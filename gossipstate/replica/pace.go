package replica

import "time"

const (
	// publishEvery is how long an owner's changes gather at least: what comes within it goes as one rumor. Receivers take
	// rumorRate rumors a second, which is just one in this time.
	publishEvery = time.Second / rumorRate
	// publishMax is how long they gather under load. Guess: a reader notices a second, and pulls after announcements are not
	// faster than that.
	publishMax = time.Second
	// largeRumor is from where on a rumor counts as load, in bytes. At publishEvery it is 320 KiB/s, which every link of the
	// mesh carries. Guess.
	largeRumor = 16 << 10
)

// pace is the rhythm of one owner's rumors on one topic. The window doubles with every rumor that was large, or that this node
// was long in handing to its pubsub, and halves with every other: so a node under load says more at a time, less often.
type pace struct {
	window time.Duration // publishEvery to publishMax
}

func newPace() *pace { return &pace{publishEvery} }

// next is how long to gather after a rumor of size bytes, 0 for none, whose handing over took so long.
func (p *pace) next(size int, took time.Duration) time.Duration {
	if size >= largeRumor || took > p.window/2 {
		p.window = min(2*p.window, publishMax)
	} else {
		p.window = max(p.window/2, publishEvery)
	}
	return p.window
}
