package discovery

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

const maxMDNSRetry = 5 * time.Minute

// mdnsLoop announces this node on the local links and takes what others announce, until ctx is done. A machine without a
// usable interface may get one later, so a start that fails is tried again.
func (d *Discovery) mdnsLoop(ctx context.Context) {
	retry := backoff{first: eagerRetry, most: maxMDNSRetry}
	for ctx.Err() == nil {
		service := mdns.NewMdnsService(d.host, MDNSService(d.cfg.Network), announced{d})
		err := service.Start()
		if err == nil {
			<-ctx.Done()
		} else if retry.now == 0 {
			d.log.Warn("mDNS does not start, trying again", "err", err)
		}
		service.Close()
		pause(ctx, retry.next(), nil, 0)
	}
}

// announced takes peers from mDNS. It is called on goroutines that may outlive the service, so it never blocks.
type announced struct{ d *Discovery }

// HandlePeerFound implements mdns.Notifee.
func (a announced) HandlePeerFound(info peer.AddrInfo) { a.d.Add(info) }
