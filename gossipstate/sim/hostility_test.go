package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clocks differ by hours, and one leaps by a year and back: nothing that anybody says is refused, and all agree.
func TestWrongClocksDecideNothing(t *testing.T) {
	seeds(t, 4, func(t *testing.T, seed uint64) {
		cfg := small(seed, 20)
		w := newWorld(t, cfg)
		for i := range 20 {
			w.SetClock(i, time.Duration(i-10)*6*time.Minute)
		}
		w.start()
		write := func(round string) {
			for i := range 20 {
				w.set(i, "color", fmt.Sprint(round, i))
				w.set(i, fmt.Sprint("shape/", i%5), round)
				w.set(i, "~/mine", round)
				w.run(50 * time.Millisecond)
			}
			w.del(3, "shape/3")
			w.run(2 * time.Second)
		}
		write("before")
		const year = 365 * 24 * time.Hour
		w.SetClock(5, year)
		write("leapt")
		w.Restart(5, false) // its generation is of next year
		w.run(cfg.FirstSync)
		write("restarted")
		w.SetClock(5, 0)
		write("back")
		w.Restart(5, false)
		w.run(cfg.FirstSync)
		write("restarted")
		w.Restart(5, true) // only its peers know its generation
		w.run(cfg.FirstSync)
		write("in the end")
		w.converge(1)
		total := w.Total()
		require.Zero(t, total.Mismatches+total.Full+total.OverRate+total.OwnNewer+total.Forgotten, "%+v; %s", total, w.seed())
		w.requireQuiet()
	})
}

// Somebody keeps what went over pubsub and says it all again, faster.
func TestAReplayChangesNothingAndIsNotPassedOn(t *testing.T) {
	w := newWorld(t, small(1, 20))
	w.Capture()
	w.start()
	w.load(2000)
	for i := range 200 {
		if i%5 == 4 {
			w.del(i%20, fmt.Sprint("key/", (i-1)%7))
		} else {
			w.set(i%20, fmt.Sprint("key/", i%7), fmt.Sprint(i))
		}
		w.run(100 * time.Millisecond)
	}
	w.Restart(3, false)
	w.Restart(4, true)
	w.run(w.cfg.FirstSync)
	w.converge(1)
	w.run(2 * w.cfg.AntiEntropy)
	w.Transitions()

	before, same := w.Total(), w.Fingerprints()
	sent, takes := w.Replay(0, 10)
	require.Greater(t, sent, 1500)
	w.run(takes + time.Second)
	after := w.Total()
	require.Equal(t, same, w.Fingerprints(), w.seed())
	require.Equal(t, before.Applied, after.Applied, "nothing is taken in; %s", w.seed())
	require.Equal(t, before.Rumors, after.Rumors, "nothing is passed on; %s", w.seed())
	require.Equal(t, before.Pulls, after.Pulls, w.seed())
	require.Equal(t, uint64(sent), after.Stale-before.Stale, "each is seen and dropped; %s", w.seed())
	require.Empty(t, w.Transitions(), "nobody is taken for dead or come back; %s", w.seed())
}
