package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/zeroconf/v2"
)

// maxOffers is how many found peers may wait for the connector: as many as one look-up finds.
const maxOffers = 256

// Discovery finds the nodes of one network for a host and keeps connections to some. Its methods may be called concurrently.
type Discovery struct {
	host   host.Host
	cfg    Config
	log    *slog.Logger
	offers chan peer.AddrInfo
	count  counts
	browse browse
	router atomic.Pointer[kademlia] // nil unless running

	connector  atomic.Pointer[connector] // nil before Run
	remembered atomic.Pointer[[]Remembered]
}

// New returns a Discovery over h. It starts nothing; Run does. The error is that of cfg.Validate.
func New(h host.Host, cfg Config) (*Discovery, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Discovery{
		host: h, cfg: cfg, log: cfg.Logger, offers: make(chan peer.AddrInfo, maxOffers), browse: zeroconf.Browse,
	}, nil
}

// Run takes part in the network's DHT, looks for other nodes, dials them and exchanges peers with them until ctx is done. It
// returns nil after its last goroutine has ended; an error means that it could not start. Call it once. The connections
// stay. Peers that were connected before are told to others only once they sign a new record: call it early.
func (d *Discovery) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	k, err := newKademlia(ctx, d.host, d.cfg)
	if err != nil {
		return err
	}
	d.router.Store(k)
	defer d.router.Store(nil)

	var wg sync.WaitGroup
	advertise, lookup, local := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	wg.Go(func() { d.advertiseLoop(ctx, k, advertise) })
	wg.Go(func() { d.lookupLoop(ctx, k, lookup) })
	if d.cfg.MDNS {
		wg.Go(func() { d.mdnsAnswer(ctx) })
		wg.Go(func() { d.mdnsLoop(ctx, local) })
	}
	err = d.connect(ctx, advertise, lookup, local)
	stop() // at once, if it could not start
	wg.Wait()
	if err := k.close(); err != nil {
		d.log.Warn("the DHT did not stop cleanly", "err", err)
	}
	return err
}

// connect keeps neighbours until ctx is done, and wakes those who may want to know that one came or went.
func (d *Discovery) connect(ctx context.Context, wakes ...chan struct{}) error {
	sub, err := d.host.EventBus().Subscribe(
		[]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerConnectednessChanged)},
		eventbus.Name("discovery"), eventbus.BufSize(256))
	if err != nil {
		return fmt.Errorf("discovery: subscribe to connections: %w", err)
	}
	defer sub.Close()
	c := newConnector(d)
	d.connector.Store(c)
	d.host.SetStreamHandler(PeersProtocol(d.cfg.Network), c.accept)
	defer d.host.RemoveStreamHandler(PeersProtocol(d.cfg.Network))
	c.run(ctx, sub.Out(), wakes...)
	return nil
}

// Add offers a peer that something else found. It is dialled when neighbours are missing. Add never blocks: when too many
// are waiting already the peer is dropped and counted.
func (d *Discovery) Add(info peer.AddrInfo) {
	select {
	case d.offers <- info:
	default:
		d.count.droppedQueue.Add(1)
	}
}

// offer is Add for callers that can wait.
func (d *Discovery) offer(ctx context.Context, info peer.AddrInfo) {
	select {
	case d.offers <- info:
	case <-ctx.Done():
	}
}

// Counters is what a Discovery has done since New, and how it stands.
type Counters struct {
	Advertisements    uint64
	AdvertiseFailures uint64
	Lookups           uint64
	LookupFailures    uint64 // timed out; what they found before is used
	Found             uint64 // peers offered with an address to dial, repeated ones too

	DialsOK      uint64
	DialsRefused uint64
	DialsTimeout uint64
	DialsOther   uint64

	Exchanges          uint64 // neighbours asked for peers
	ExchangesFailed    uint64 // these did not answer to the end
	ExchangesMalformed uint64 // these broke a rule
	RecordsTaken       uint64 // signed records of peers that exchanges brought
	Served             uint64 // questions of others answered
	ServeRefused       uint64 // over a limit of this node
	ServeFailed        uint64 // broken off, or against a rule

	Dropped Dropped

	LastAdvertise time.Time // zero: never
	Neighbours    int       // connected peers of this network
	Chosen        int       // of these, those of this node's own choice
	View          int       // peers in the view
	Candidates    int       // peers remembered, connected ones included
	RoutingTable  int       // peers in the DHT's table; 0 when not running
}

// Dropped counts by reason what this node heard of peers and did not take, or took and let go.
type Dropped struct {
	Queue   uint64 // peers offered by Add while too many were waiting
	Address uint64 // peers and records without an address that this node may dial
	Record  uint64 // records of connected peers that are too long to be told on
	Room    uint64 // candidates that more useful ones took the room of
	Pushes  uint64 // pushes of a round that had too many
}

// counts is Counters while it is being counted.
type counts struct {
	advertisements, advertiseFailures, lookups, lookupFailures, found atomic.Uint64
	dialsOK, dialsRefused, dialsTimeout, dialsOther                   atomic.Uint64

	exchanges, exchangesFailed, exchangesMalformed, recordsTaken atomic.Uint64
	served, serveRefused, serveFailed                            atomic.Uint64

	droppedQueue, droppedAddress, droppedRecord, droppedRoom, droppedPushes atomic.Uint64

	lastAdvertise                        atomic.Pointer[time.Time]
	neighbours, candidates, chosen, view atomic.Int64
}

// Counters returns the counts now.
func (d *Discovery) Counters() Counters {
	n := &d.count
	c := Counters{
		Advertisements:    n.advertisements.Load(),
		AdvertiseFailures: n.advertiseFailures.Load(),
		Lookups:           n.lookups.Load(),
		LookupFailures:    n.lookupFailures.Load(),
		Found:             n.found.Load(),
		DialsOK:           n.dialsOK.Load(),
		DialsRefused:      n.dialsRefused.Load(),
		DialsTimeout:      n.dialsTimeout.Load(),
		DialsOther:        n.dialsOther.Load(),

		Exchanges:          n.exchanges.Load(),
		ExchangesFailed:    n.exchangesFailed.Load(),
		ExchangesMalformed: n.exchangesMalformed.Load(),
		RecordsTaken:       n.recordsTaken.Load(),
		Served:             n.served.Load(),
		ServeRefused:       n.serveRefused.Load(),
		ServeFailed:        n.serveFailed.Load(),

		Dropped: Dropped{
			Queue:   n.droppedQueue.Load(),
			Address: n.droppedAddress.Load(),
			Record:  n.droppedRecord.Load(),
			Room:    n.droppedRoom.Load(),
			Pushes:  n.droppedPushes.Load(),
		},

		Neighbours: int(n.neighbours.Load()),
		Chosen:     int(n.chosen.Load()),
		View:       int(n.view.Load()),
		Candidates: int(n.candidates.Load()),
	}
	if at := n.lastAdvertise.Load(); at != nil {
		c.LastAdvertise = *at
	}
	if k := d.router.Load(); k != nil {
		c.RoutingTable = k.size()
	}
	return c
}
