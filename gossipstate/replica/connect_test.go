package replica

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// runs is how many seeded runs the tests with random schedules do.
var runs = flag.Int("runs", 100, "seeded runs of each test with a random schedule")

// Published right after start, with nobody on the topic yet and nobody in the mesh: the value arrives all the same.
func TestAValueSetInTheTickOfConnectingArrives(t *testing.T) {
	for seed := range *runs {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			c := newCluster(t)
			a, b := c.start(), c.start()
			if rng.IntN(2) == 0 { // else both have just been started
				<-a.Ready()
				<-b.Ready()
				time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			}
			from, to := a, b
			if rng.IntN(2) == 0 {
				from, to = b, a
			}
			connect := func() { c.connect(from, to) }
			set := func() {
				w, err := a.topic(t).Set(context.Background(), "color", []byte("teal"), WriteOptions{})
				require.NoError(t, err)
				require.NotZero(t, w.Value.Version)
				require.GreaterOrEqual(t, w.PeersSent, 0)
			}
			switch rng.IntN(3) {
			case 0:
				connect()
				set()
			case 1:
				set()
				connect()
			case 2:
				var both sync.WaitGroup
				both.Go(connect)
				both.Go(set)
				both.Wait()
			}
			within(t, 3*time.Second, fmt.Sprintf("seed %d: b has the value", seed), func() bool { return b.get(t, "color") == "teal" })
		})
	}
}
