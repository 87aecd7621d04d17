package discovery

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// tableRetry is the first pause before an empty routing table is looked at again; it doubles up to maxRetry. Looking
	// costs nothing, and a new peer enters the table one round trip after it was identified.
	tableRetry = 250 * time.Millisecond

	// eagerRetry is the first pause between two look-ups that are to find missing neighbours, and before an advertisement
	// that failed is tried again; it doubles up to maxRetry.
	eagerRetry = time.Second
	maxRetry   = 30 * time.Second

	// firstRenewal is the pause before the first renewal; it grows fourfold up to Config.AdvertiseInterval. The nodes closest to
	// the rendezvous change most while a network starts; to double it only made half of what a young network sends.
	firstRenewal  = 10 * time.Second
	renewalGrowth = 4
)

// router is what the rendezvous loops need of a DHT.
type router interface {
	size() int
	advertise(ctx context.Context) error
	find(ctx context.Context, found func(peer.AddrInfo)) error
}

// backoff is a pause that grows. Of each, a random share between a half and the whole is waited.
type backoff struct {
	first, most time.Duration
	growth      time.Duration // factor; less than 2 means 2
	now         time.Duration // last pause before jitter; 0 at the start
}

func (b *backoff) next() time.Duration {
	b.now = min(max(b.first, max(b.growth, 2)*b.now), b.most)
	return jitter(b.now)
}

func (b *backoff) reset() { b.now = 0 }

// jitter returns a random duration between a half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// pause waits for d, and no longer than least once woken. It reports whether it was woken; the caller checks ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}, least time.Duration) (woken bool) {
	end := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return woken
		case <-timer.C:
			return woken
		case <-wake:
			woken = true
			if soon := time.Now().Add(jitter(least)); soon.Before(end) {
				end = soon
				timer.Reset(time.Until(soon))
			}
		}
	}
}

// advertiseLoop keeps this node's record in the DHT until ctx is done. A wake says that there is someone new to tell.
func (d *Discovery) advertiseLoop(ctx context.Context, r router, wake <-chan struct{}) {
	table := backoff{first: tableRetry, most: maxRetry}
	failed := backoff{first: eagerRetry, most: maxRetry}
	renewal := backoff{first: firstRenewal, most: d.cfg.AdvertiseInterval, growth: renewalGrowth}
	for ctx.Err() == nil {
		if r.size() == 0 {
			renewal.reset()
			if pause(ctx, table.next(), wake, tableRetry) {
				table.reset()
			}
			continue
		}
		table.reset()
		if err := r.advertise(ctx); err != nil {
			if ctx.Err() == nil {
				d.count.advertiseFailures.Add(1)
				d.log.Debug("advertisement failed", "err", err)
			}
			pause(ctx, failed.next(), nil, 0)
			continue
		}
		failed.reset()
		d.count.advertisements.Add(1)
		now := time.Now()
		d.count.lastAdvertise.Store(&now)
		pause(ctx, renewal.next(), nil, 0)
	}
}

// lookupLoop looks for other nodes until ctx is done: again and again while there are too few neighbours, less and less often
// while there are too few of this node's own choice, seldom otherwise. A wake says that a neighbour came or went.
func (d *Discovery) lookupLoop(ctx context.Context, r router, wake <-chan struct{}) {
	table := backoff{first: tableRetry, most: maxRetry}
	eager := backoff{first: eagerRetry, most: maxRetry}
	rest := backoff{first: maxRetry, most: d.cfg.LookupInterval}
	for ctx.Err() == nil {
		if r.size() == 0 {
			if pause(ctx, table.next(), wake, tableRetry) {
				table.reset()
			}
			continue
		}
		table.reset()
		d.count.lookups.Add(1)
		err := r.find(ctx, func(info peer.AddrInfo) { d.offer(ctx, info) })
		if err != nil && ctx.Err() == nil {
			d.count.lookupFailures.Add(1)
			d.log.Debug("look-up failed", "err", err)
		}
		d.lookupPause(ctx, &eager, &rest, wake)
	}
}

// lookupPause waits until the next look-up is due.
func (d *Discovery) lookupPause(ctx context.Context, eager, rest *backoff, wake <-chan struct{}) {
	seldom := time.Now().Add(jitter(d.cfg.LookupInterval))
	for ctx.Err() == nil {
		switch d.lacks() {
		case lacksNeighbours:
			if pause(ctx, eager.next(), wake, eagerRetry) {
				eager.reset()
			}
			return
		case lacksChosen:
			if d.lasts(ctx, lacksChosen, time.Now().Add(rest.next()), wake) {
				return
			}
		default:
			eager.reset()
			rest.reset()
			if d.lasts(ctx, lacksNothing, seldom, wake) {
				return
			}
		}
	}
}
