package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A copied key: two live nodes sign as one owner. One of them stops, and the others do not waver.
func TestOfTwoNodesWithOneKeyOneStopsWriting(t *testing.T) {
	for _, stores := range []bool{true, false} {
		t.Run(fmt.Sprint("with stores: ", stores), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				a, b := c.start(), c.start()
				c.connect(b, a)
				var options [2][]nodeOption
				if stores {
					options[0] = []nodeOption{withStore(openStore(t, t.TempDir()))}
					options[1] = []nodeOption{withStore(openStore(t, t.TempDir()))}
				}
				elder := c.start(options[0]...)
				c.connect(elder, a)
				elder.set(t, "color", "elder")
				within(t, 5*time.Second, "the elder is known", func() bool { return c.equal(a, b, elder) })
				time.Sleep(5 * time.Second)
				younger := c.start(append(options[1], withKey(elder.key))...)
				c.connect(younger, b)
				time.Sleep(time.Second)
				var stopped []*node
				within(t, 30*time.Second, "one stops writing", func() bool {
					stopped = nil
					for _, twin := range []*node{elder, younger} {
						_, err := twin.topic(t).Set(t.Context(), "by", fmt.Append(nil, twin.index), WriteOptions{})
						if err != nil {
							require.ErrorIs(t, err, ErrIdentityConflict)
							stopped = append(stopped, twin)
						}
					}
					return len(stopped) > 0
				})
				time.Sleep(10 * time.Second)
				before := a.digest(t, "main", elder.self)
				time.Sleep(30 * time.Second)
				require.True(t, c.equal(a, b))
				require.Equal(t, before, a.digest(t, "main", elder.self))
				require.Equal(t, "alive", a.status(t, elder))
				require.Equal(t, "alive", b.status(t, elder))
				require.Zero(t, a.count(CountTransition, "dead")+b.count(CountTransition, "dead"))
				if len(stopped) == 1 { // the other goes on and is heard
					goesOn := elder
					if stopped[0] == elder {
						goesOn = younger
					}
					goesOn.set(t, "last", "word")
					within(t, 10*time.Second, "it is heard", func() bool { return a.get(t, "last") == "word" && b.get(t, "last") == "word" })
				}
			})
		})
	}
}
