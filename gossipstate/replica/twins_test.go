package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ended waits until the node's Run has returned and is its error.
func (n *node) ended(t *testing.T, limit time.Duration) error {
	t.Helper()
	select {
	case err := <-n.done:
		n.done = nil
		n.stop()
		return err
	case <-time.After(limit):
		t.Fatalf("Run did not return within %s", limit)
		return nil
	}
}

// identityEvents is how often a node met its own identity elsewhere.
func (n *node) identityEvents() uint64 {
	return n.count(CountIdentity, "moved") + n.count(CountIdentity, "stopped") + n.count(CountIdentity, "refused")
}

// A copied key: two live nodes sign as one owner, and nobody who knows the elder well is asked by the younger. The younger
// stops, the elder goes on, and the others do not waver.
func TestOfTwoNodesWithOneKeyTheYoungerStopsWriting(t *testing.T) {
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
				before := a.count(CountTransition, "alive") + b.count(CountTransition, "alive")

				younger := c.start(append(options[1], withKey(elder.key), withFirstSync(0))...) // it asks nobody
				c.connect(younger, b)
				within(t, 30*time.Second, "the younger stops writing", func() bool {
					_, err := younger.topic(t).Set(t.Context(), "by", []byte("younger"), WriteOptions{})
					if err != nil {
						require.ErrorIs(t, err, ErrIdentityConflict)
					}
					return err != nil
				})
				require.EqualValues(t, 1, younger.count(CountIdentity, "stopped"))
				require.EqualValues(t, 1, elder.count(CountIdentity, "moved"))
				time.Sleep(10 * time.Second)
				elder.set(t, "last", "word")
				within(t, 10*time.Second, "the elder is heard", func() bool { return a.get(t, "last") == "word" && b.get(t, "last") == "word" })
				written := a.digest(t, "main", elder.self)
				time.Sleep(30 * time.Second)
				require.True(t, c.equal(a, b, elder))
				require.Equal(t, written, a.digest(t, "main", elder.self), "nobody quarrels any more")
				require.EqualValues(t, 1, elder.identityEvents())
				require.EqualValues(t, 1, younger.identityEvents())
				for _, third := range []*node{a, b} {
					require.Equal(t, "alive", third.status(t, elder))
					require.Zero(t, third.count(CountTransition, "dead"))
				}
				after := a.count(CountTransition, "alive") + b.count(CountTransition, "alive")
				require.LessOrEqual(t, after-before, uint64(1), "flaps")
			})
		})
	}
}

// The younger of two asks peers who hear the elder's beats: it never publishes, and nobody else notices it.
func TestANodeWhoseIdentityBeatsElsewhereNeverPublishes(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("with a store: ", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				a := c.start()
				elder := c.start()
				c.connect(elder, a)
				elder.set(t, "color", "elder")
				within(t, 5*time.Second, "the elder is known", func() bool { return c.equal(a, elder) })
				time.Sleep(5 * time.Second)
				before := a.digest(t, "members", elder.self)

				options := []nodeOption{withKey(elder.key), withFirstSync(5 * time.Second)}
				if stored {
					options = append(options, withStore(openStore(t, t.TempDir())))
				}
				younger := c.start(options...)
				c.connect(younger, a)
				require.ErrorIs(t, younger.ended(t, 5*time.Second), ErrIdentityConflict)
				require.EqualValues(t, 1, younger.count(CountIdentity, "refused"))
				require.Zero(t, younger.count(CountWrites, "applied"))
				select {
				case <-younger.Ready():
					t.Fatal("it was ready")
				default:
				}
				elder.set(t, "color", "still")
				within(t, 5*time.Second, "the elder is heard", func() bool { return a.get(t, "color") == "still" })
				require.Equal(t, before.Generation, a.digest(t, "members", elder.self).Generation)
				require.Zero(t, elder.identityEvents())
				require.Equal(t, "alive", a.status(t, elder))
			})
		})
	}
}

// A node that comes back within seconds finds its own beats still going round. It is not its own twin, and is soon ready.
func TestANodeRestartedAfterACrashIsNotItsOwnTwin(t *testing.T) {
	const nodes = 12
	for _, c := range []struct {
		end   string
		after time.Duration
		ready time.Duration // at the latest, once it is connected
	}{
		{"crash", 0, 2500 * time.Millisecond},
		{"crash", time.Second, 2500 * time.Millisecond},
		{"crash", 4 * time.Second, 2500 * time.Millisecond},
		{"leave", 0, time.Second},
		{"leave", 4 * time.Second, time.Second},
	} {
		for _, kept := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, after %s, store kept: %v", c.end, c.after, kept), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st := openStore(t, t.TempDir())
					cl := newCluster(t)
					for range nodes { // a ring with chords: most hear of one another by relay
						n := cl.start()
						if i := len(cl.nodes) - 1; i > 0 {
							cl.connect(n, cl.nodes[i-1])
							cl.connect(n, cl.nodes[i/2])
						}
					}
					old := cl.start(withStore(st))
					cl.connect(old, cl.nodes[0])
					cl.connect(old, cl.nodes[1])
					old.set(t, "mine", "first life")
					within(t, 10*time.Second, "all know it", func() bool { return cl.equal(cl.nodes...) })
					time.Sleep(20 * time.Second)
					if c.end == "leave" {
						require.NoError(t, old.Leave(t.Context()))
						old.kill()
					} else {
						old.crash()
					}
					time.Sleep(c.after)
					if !kept {
						st = openStore(t, t.TempDir())
					}
					fresh := cl.start(withKey(old.key), withStore(st), withFirstSync(5*time.Second))
					for _, n := range []int{0, 5, 11} {
						cl.connect(fresh, cl.nodes[n])
					}
					began := time.Now()
					within(t, c.ready, "it is ready", func() bool {
						select {
						case <-fresh.Ready():
							return true
						default:
							return false
						}
					})
					t.Logf("ready %s after it was connected", time.Since(began))
					fresh.set(t, "mine", "second life")
					within(t, 10*time.Second, "it is heard", func() bool { return cl.nodes[7].get(t, "mine") == "second life" })
					require.Zero(t, fresh.identityEvents())
				})
			})
		}
	}
}
