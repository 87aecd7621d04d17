package discovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// exchanging runs on h all of discovery but the DHT.
func (c *cluster) exchanging(h host.Host, remembered ...Remembered) *node {
	c.t.Helper()
	return c.waking(h, nil, remembered...)
}

// waking is exchanging with somebody to wake.
func (c *cluster) waking(h host.Host, wake chan struct{}, remembered ...Remembered) *node {
	c.t.Helper()
	cfg := DefaultConfig()
	cfg.Network = "test"
	d, err := New(h, cfg)
	require.NoError(c.t, err)
	d.Remember(remembered)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.connect(ctx, wake) }()
	n := &node{Host: h, found: d, stop: func() {
		cancel()
		if done != nil {
			require.NoError(c.t, <-done)
			done = nil
		}
	}}
	c.t.Cleanup(n.stop)
	return n
}

func trimming(t *testing.T, low, high int) libp2p.Option {
	m, err := connmgr.NewConnManager(low, high)
	require.NoError(t, err)
	return libp2p.ConnectionManager(m)
}

func TestAStarOfHostsBecomesARandomGraphByExchangesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 24
		c := newCluster(t)
		for i := range size {
			n := c.exchanging(c.host(i, trimming(t, 12, 20)))
			c.nodes = append(c.nodes, n)
			if first := c.nodes[0]; i > 0 {
				require.NoError(t, n.Connect(context.Background(), peer.AddrInfo{ID: first.ID(), Addrs: first.Addrs()}))
			}
		}
		started := time.Now()
		within(t, 30*time.Second, "everyone has neighbours", func() bool { return connected(c.nodes, 6) })
		t.Logf("after %v everyone has 6 neighbours", time.Since(started))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		sum, most := 0, 0
		for _, n := range c.nodes {
			degree := n.degree(c.nodes)
			sum, most = sum+degree, max(most, degree)
			got := n.found.Counters()
			require.GreaterOrEqual(t, got.Chosen, 4)
			require.Zero(t, got.ExchangesMalformed)
			require.Equal(t, size-1, got.View, "all others fit")
			for _, id := range n.found.connector.Load().kept {
				require.True(t, n.ConnManager().IsProtected(id, protectTag))
			}
		}
		t.Logf("mean degree %.1f, largest %d, that of the first %d", float64(sum)/size, most, c.nodes[0].degree(c.nodes))
		require.LessOrEqual(t, most, 20)
		require.GreaterOrEqual(t, sum, 8*size)
		require.LessOrEqual(t, sum, 16*size)

		c.nodes[0].close()
		require.True(t, connected(c.nodes[1:], 4), "one component as it stands")
	})
}

// Bytes of stream, a few packets' headers beside them.
func TestAnExchangeBetweenThoseWhoKnowEachOthersPeersIsSmall(t *testing.T) {
	require.Equal(t, 289, maxOffer)
	offer := appendOffer(nil, make([]entry, offerSize))
	require.LessOrEqual(t, 1+len(offer)+len(appendWant(nil, 0)), 300, "10 B/s with two in a mean pause of 45 s, and headers")
}

func TestAPartitionOfSixForASeventyFiveSecondsMendsWithinTen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.start(6)
		within(t, 15*time.Second, "one component", func() bool { return connected(c.nodes, 5) })
		for range 5 {
			half := halves
			c.split.Store(&half)
			time.Sleep(75 * time.Second)
			synctest.Wait()
			require.False(t, connected(c.nodes, 1), "the connections are gone")
			c.split.Store(nil)
			healed := time.Now()
			within(t, 10*time.Second, "one component again", func() bool { return connected(c.nodes, 2) })
			t.Logf("one component after %v", time.Since(healed))
			within(t, time.Minute, "all links again", func() bool { return connected(c.nodes, 5) })
			t.Logf("all links after %v", time.Since(healed))
			time.Sleep(time.Minute)
		}
	})
}

func TestTenNodesRestartOneByOneWithoutTheirBootstrapAndFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.start(11)
		within(t, 15*time.Second, "one component", func() bool { return connected(c.nodes, 4) })
		time.Sleep(time.Minute)
		c.nodes[0].close()
		old := c.nodes[1:]
		memories := make([][]Remembered, len(old))
		for i, n := range old { // all are down at once, and know of each other from before
			memories[i] = n.found.Remembered(t.Context())
			require.NotEmpty(t, memories[i])
			n.close()
			require.NotEmpty(t, n.found.Remembered(t.Context()), "what stood at the end")
		}
		time.Sleep(time.Hour)
		var fresh []*node
		for i, n := range old {
			key := n.Peerstore().PrivKey(n.ID())
			require.NotNil(t, key)
			h := c.hostOf(key, i+1)
			fresh = append(fresh, c.exchanging(h, memories[i]...))
			time.Sleep(time.Second)
		}
		began := time.Now()
		within(t, 30*time.Second, "one component", func() bool { return connected(fresh, 4) })
		t.Logf("%v after the last start", time.Since(began))
	})
}

// hostile answers exchanges with reply.
func hostile(h host.Host, reply func(s network.Stream)) {
	h.SetStreamHandler(PeersProtocol("test"), func(s network.Stream) {
		var ask [1]byte
		io.ReadFull(s, ask[:])
		reply(s)
		s.CloseWrite()
		io.Copy(io.Discard, s)
	})
}

func TestAnswersThatBreakARuleAreCountedAndTakenNoFurther(t *testing.T) {
	_, stranger := newPeer(t)
	for name, reply := range map[string]func(s network.Stream){
		"too many peers": func(s network.Stream) { s.Write([]byte{offerSize + 1}) },
		"a record too long": func(s network.Stream) {
			s.Write(appendOffer(nil, []entry{{key: keyOf(stranger), seq: 1}}))
			s.Write(binary.BigEndian.AppendUint16(nil, maxRecord+1))
		},
		"no record at all": func(s network.Stream) {
			s.Write(appendOffer(nil, []entry{{key: keyOf(stranger), seq: 1}}))
			s.Write(appendRecords(nil, [][]byte{{1, 2, 3}}))
		},
		"somebody else's record": func(s network.Stream) {
			key, id := newPeer(t)
			s.Write(appendOffer(nil, []entry{{key: keyOf(stranger), seq: 1}}))
			s.Write(appendRecords(nil, [][]byte{seal(t, key, &peer.PeerRecord{PeerID: id, Seq: 1, Addrs: info("x", 1).Addrs})}))
		},
		"a record that its peer did not sign": func(s network.Stream) {
			key, _ := newPeer(t)
			s.Write(appendOffer(nil, []entry{{key: keyOf(stranger), seq: 1}}))
			s.Write(appendRecords(nil, [][]byte{seal(t, key, &peer.PeerRecord{PeerID: stranger, Seq: 1, Addrs: info("x", 1).Addrs})}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				bad := c.host(1)
				hostile(bad, reply)
				n := c.exchanging(c.host(0))
				require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: bad.ID(), Addrs: bad.Addrs()}))
				within(t, 10*time.Second, "counted", func() bool { return n.found.Counters().ExchangesMalformed > 0 })
				require.Zero(t, n.found.Counters().RecordsTaken)
				require.Equal(t, 1, n.found.Counters().Candidates, "the peer itself")
			})
		})
	}
}

func TestAPeerThatAsksTooOftenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, greedy := c.exchanging(c.host(0)), c.host(1)
		require.NoError(t, greedy.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: n.Addrs()}))
		synctest.Wait()
		ask := func() error {
			s, err := greedy.NewStream(t.Context(), n.ID(), PeersProtocol("test"))
			require.NoError(t, err)
			defer s.Reset()
			s.Write([]byte{offerSize})
			_, err = readOffer(s)
			if err == nil {
				s.Write(appendWant(nil, 0))
				s.CloseWrite()
				_, err = io.ReadAll(s)
			}
			return err
		}
		for range serveBurst {
			require.NoError(t, ask())
		}
		require.ErrorContains(t, ask(), fmt.Sprint(network.StreamRateLimited))
		time.Sleep(serveEvery)
		require.NoError(t, ask())
		got := n.found.Counters()
		require.Equal(t, uint64(serveBurst+1), got.Served)
		require.Equal(t, uint64(1), got.ServeRefused)
		require.Zero(t, got.ServeFailed)
	})
}

func halves(ip net.IP) int { return int(ip[len(ip)-1]) % 2 }

func TestAddressesOfThisMachineAreNotTakenFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		key, id := newPeer(t)
		rec := seal(t, key, &peer.PeerRecord{PeerID: id, Seq: 7, Addrs: []ma.Multiaddr{
			ma.StringCast("/ip4/127.0.0.1/udp/8000/quic-v1"), ma.StringCast("/ip4/1.0.0.9/udp/8000/quic-v1")}})
		teller := c.host(1)
		hostile(teller, func(s network.Stream) {
			s.Write(appendOffer(nil, []entry{{key: keyOf(id), seq: 7}}))
			s.Write(appendRecords(nil, [][]byte{rec}))
		})
		n := c.exchanging(c.host(0))
		require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: teller.ID(), Addrs: teller.Addrs()}))
		within(t, 10*time.Second, "taken", func() bool { return n.found.Counters().RecordsTaken > 0 })
		var addrs []ma.Multiaddr
		require.True(t, n.found.connector.Load().do(t.Context(), func() {
			addrs = slices.Clone(n.found.connector.Load().table.byPeer[id].addrs())
		}))
		require.Equal(t, []ma.Multiaddr{ma.StringCast("/ip4/1.0.0.9/udp/8000/quic-v1")}, addrs)
	})
}

func TestANeighbourThatLeavesTheNetworkButNotTheHostIsNoLongerChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, o := c.exchanging(c.host(0)), c.exchanging(c.host(1))
		require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: o.ID(), Addrs: o.Addrs()}))
		within(t, time.Second, "chosen", func() bool { return n.found.Counters().Chosen == 1 })
		o.stop()
		within(t, time.Second, "let go", func() bool { return n.found.Counters().Chosen == 0 })
		require.Equal(t, 1, n.degree([]*node{o}))
		require.False(t, n.ConnManager().IsProtected(o.ID(), protectTag))
		require.NoError(t, o.Host.Close())
		time.Sleep(time.Minute)
		require.Zero(t, n.found.Counters().Chosen)
		require.Len(t, n.found.Remembered(t.Context()), 1, "it may come back")
	})
}

func TestAHostOfAnotherNetworkIsNotDialledInATightLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stranger := c.exchanging(c.host(0)), c.host(1)
		stranger.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, conn network.Conn) {
			time.AfterFunc(100*time.Millisecond, func() { conn.Close() }) // it has heard what n speaks
		}})
		n.found.Add(peer.AddrInfo{ID: stranger.ID(), Addrs: stranger.Addrs()})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, n.found.Counters().DialsOK, uint64(12))
	})
}

func TestARecordTooLongToBeToldOnIsCountedAndNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.exchanging(c.host(0))
		wordy := c.exchanging(c.host(1, libp2p.AddrsFactory(func(own []ma.Multiaddr) []ma.Multiaddr {
			for i := range 100 {
				own = append(own, ma.StringCast(fmt.Sprintf("/ip4/1.0.1.%d/udp/8000/quic-v1", i+1)))
			}
			return own
		})))
		require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: wordy.ID(), Addrs: wordy.Addrs()[:1]}))
		other := c.exchanging(c.host(2))
		require.NoError(t, other.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: n.Addrs()}))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.NotZero(t, n.found.Counters().Dropped.Record)
		require.NotZero(t, other.found.Counters().Exchanges)
		require.Zero(t, other.found.Counters().RecordsTaken)
	})
}

func TestAPeerThatOpensStreamsAndSaysNothingLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.exchanging(c.host(0))
		open := func(h host.Host, streams int) {
			require.NoError(t, h.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: n.Addrs()}))
			for range streams {
				s, err := h.NewStream(t.Context(), n.ID(), PeersProtocol("test"))
				require.NoError(t, err)
				_, err = s.Write(nil) // the protocol's name, and no question
				require.NoError(t, err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		open(c.host(1), 30)
		require.Equal(t, uint64(30-serveBurst), n.found.Counters().ServeRefused)
		for i := range 3 {
			open(c.host(2+i), serveBurst)
		}
		require.Equal(t, uint64(30-serveBurst), n.found.Counters().ServeRefused, "the others have room")
		open(c.host(5), 1)
		require.Equal(t, uint64(30-serveBurst+1), n.found.Counters().ServeRefused, "now all is taken")
		time.Sleep(exchangeTimeout)
		synctest.Wait()
		require.Equal(t, uint64(maxServing), n.found.Counters().ServeFailed)
		require.Zero(t, n.found.connector.Load().serves.Load())
	})
}

func TestAFarPeersOwnRecordDoesNotLeadToThisMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.exchanging(c.host(0))
		own := ma.StringCast("/ip4/1.0.0.2/udp/8000/quic-v1")
		far := c.exchanging(c.host(1, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr {
			return []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/udp/8000/quic-v1"), own}
		})))
		require.NoError(t, n.Connect(t.Context(), peer.AddrInfo{ID: far.ID(), Addrs: []ma.Multiaddr{own}}))
		time.Sleep(time.Second)
		synctest.Wait()
		var signed []ma.Multiaddr
		require.True(t, n.found.connector.Load().do(t.Context(), func() {
			signed = slices.Clone(n.found.connector.Load().table.byPeer[far.ID()].signed)
		}))
		require.Equal(t, []ma.Multiaddr{own}, signed)
	})
}
