package discovery

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

func TestWhatIsLackingGoesByOwnChoiceToo(t *testing.T) {
	d := &Discovery{cfg: DefaultConfig()}
	for _, c := range []struct {
		neighbours, chosen int64
		want               lack
	}{
		{0, 0, lacksNeighbours}, {5, 5, lacksNeighbours}, {6, 0, lacksChosen}, {64, 2, lacksChosen}, {6, 3, lacksNothing},
	} {
		d.count.neighbours.Store(c.neighbours)
		d.count.chosen.Store(c.chosen)
		require.Equal(t, c.want, d.lacks(), "%+v", c)
	}
}

func TestTheConnectorWakesOthersWhenNeighboursComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		wake := make(chan struct{}, 1)
		n := c.waking(c.host(0), wake)
		woken := func() bool {
			synctest.Wait()
			select {
			case <-wake:
				return true
			default:
				return false
			}
		}
		var others []*node
		for i := range 8 {
			o := c.exchanging(c.host(i + 1))
			require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: o.ID(), Addrs: o.Addrs()}))
			others = append(others, o)
			require.True(t, woken(), "one came")
		}
		require.Equal(t, lacksNothing, n.found.lacks())
		time.Sleep(time.Minute)
		woken()
		time.Sleep(10 * time.Minute)
		require.False(t, woken(), "nothing happens")
		for _, o := range others[:3] {
			o.close()
			time.Sleep(time.Second) // for the packet that says so
			require.True(t, woken(), "one went")
		}
		require.Equal(t, lacksNeighbours, n.found.lacks())
	})
}
