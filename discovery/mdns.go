package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// This is libp2p's mDNS discovery (github.com/libp2p/specs, discovery/mdns.md) with one difference. go-libp2p asks at least every
// minute, and everybody answers each question to everybody: among 32 idle nodes that was 1.5 to 3 KB/s of each (measured), and
// it grows with the network. Here only those ask who are short of neighbours; all answer.

// browse is zeroconf.Browse.
type browse func(ctx context.Context, service, domain string, entries chan<- *zeroconf.ServiceEntry, opts ...zeroconf.ClientOption) error

const (
	maxMDNSRetry = 5 * time.Minute

	mdnsInterval = time.Hour        // between two questions of a node that has enough neighbours: they join networks that formed apart
	mdnsRest     = time.Minute      // the first pause of one that has too few of its own choice; it doubles up to mdnsInterval
	mdnsAskFor   = 10 * time.Second // for such ones: a question is put at once, and again after 4 s

	mdnsDomain  = "local"
	mdnsPort    = 4001 // the records need one; nobody looks at it
	mdnsAddress = "dnsaddr="
	maxMDNS     = 1000 // answers that wait
)

// mdnsLoop asks on the local links for others when neighbours are missing, and seldom otherwise, until ctx is done. A wake says that
// a neighbour came or went.
func (d *Discovery) mdnsLoop(ctx context.Context, wake <-chan struct{}) {
	rest := backoff{first: mdnsRest, most: mdnsInterval}
	for ctx.Err() == nil {
		var due bool
		switch d.lacks() {
		case lacksNeighbours:
			d.mdnsAsk(ctx, mdnsInterval, wake, func() bool { return d.lacks() == lacksNeighbours })
		case lacksChosen:
			due = d.lasts(ctx, lacksChosen, time.Now().Add(rest.next()), wake)
		default:
			rest.reset()
			due = d.lasts(ctx, lacksNothing, time.Now().Add(jitter(mdnsInterval)), wake)
		}
		if due {
			d.mdnsAsk(ctx, mdnsAskFor, wake, func() bool { return true })
		}
	}
}

// mdnsAnswer answers others' questions until ctx is done. A machine without a usable interface may get one later, so a start that fails is tried
// again.
func (d *Discovery) mdnsAnswer(ctx context.Context) {
	retry := backoff{first: eagerRetry, most: maxMDNSRetry}
	for ctx.Err() == nil {
		server, err := d.mdnsServer()
		if err == nil {
			<-ctx.Done()
			server.Shutdown()
			return
		}
		if retry.now == 0 {
			d.log.Warn("mDNS does not start, trying again", "err", err)
		}
		pause(ctx, retry.next(), nil, 0)
	}
}

func (d *Discovery) mdnsServer() (*zeroconf.Server, error) {
	listening, err := d.host.Network().InterfaceListenAddresses()
	if err != nil {
		return nil, err
	}
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: d.host.ID(), Addrs: listening})
	if err != nil {
		return nil, err
	}
	var ips, texts []string
	for _, addr := range addrs {
		if !manet.IsThinWaist(addr) {
			continue // relays and browsers' transports are of no use on a link, and its packets are small
		}
		texts = append(texts, mdnsAddress+addr.String())
		if ip, err := manet.ToIP(addr); err == nil {
			ips = append(ips, ip.String())
		}
	}
	if len(ips) == 0 {
		return nil, errors.New("the host listens on no IP address")
	}
	name := mdnsName()
	return zeroconf.RegisterProxy(name, MDNSService(d.cfg.Network), mdnsDomain, mdnsPort, name, ips[:1], texts, nil)
}

// mdnsName is the name of a node's record, which the specification wants random, of 32 to 63 characters.
func mdnsName() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	name := make([]byte, 40)
	for i := range name {
		name[i] = letters[rand.IntN(len(letters))]
	}
	return string(name)
}

// mdnsAsk asks who else is there, less and less often, and offers whom it hears of: for most, and while wanted says so after each wake.
func (d *Discovery) mdnsAsk(ctx context.Context, most time.Duration, wake <-chan struct{}, wanted func() bool) {
	if !wanted() {
		return
	}
	ctx, enough := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer enough()
	asking.Go(func() {
		retry := backoff{first: eagerRetry, most: maxMDNSRetry}
		for ctx.Err() == nil {
			entries := make(chan *zeroconf.ServiceEntry, maxMDNS)
			asking.Go(func() { d.takeEntries(ctx, entries) })
			if err := d.browse(ctx, MDNSService(d.cfg.Network), mdnsDomain, entries); err != nil {
				d.log.Debug("mDNS cannot ask, trying again", "err", err)
			}
			pause(ctx, retry.next(), nil, 0)
		}
	})
	for end := time.Now().Add(most); wanted() && pause(ctx, time.Until(end), wake, 0); {
	}
}

// takeEntries offers the peers of entries until ctx is done or no more come. zeroconf does not always close the channel.
func (d *Discovery) takeEntries(ctx context.Context, entries <-chan *zeroconf.ServiceEntry) {
	for {
		select {
		case entry, more := <-entries:
			if !more {
				return
			}
			for _, info := range announced(entry.Text) {
				if info.ID != d.host.ID() {
					d.Add(info)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// announced are the peers that texts of a record name.
func announced(texts []string) []peer.AddrInfo {
	var addrs []ma.Multiaddr
	for _, text := range texts {
		if text, ok := strings.CutPrefix(text, mdnsAddress); ok {
			if addr, err := ma.NewMultiaddr(text); err == nil {
				addrs = append(addrs, addr)
			}
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil
	}
	return infos
}
