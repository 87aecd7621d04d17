package bootstrap

import (
	"context"
	"time"
)

// spareLook is how often a Dialer looks whether there are still enough neighbours while it spares a peer: what it may lose by
// sparing. A look costs nothing.
const spareLook = 2 * time.Second

// spare waits while there are enough neighbours without t, whose connection has ended ends times: until its pause is over, it
// is connected without our doing, neighbours are missing, or ctx is done.
//
// A connection manager that lets a connection go does not say so, and its peer must not come back at once. A peer that was
// lost otherwise looks the same, but is not missed meanwhile. One that can't be reached is not spared: it may be the only
// way to another part of the network.
func (d *Dialer) spare(ctx context.Context, t *target, ends int) {
	end := time.Now().Add(grown(d.cfg.MaxBackoff, ends-1, d.cfg.SpareBackoff))
	defer t.setSpared(false)
	for ctx.Err() == nil && !d.connected(t) && d.cfg.Enough != nil && d.cfg.Enough() {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		t.setSpared(true)
		t.setRetry(end)
		d.awaitConnection(ctx, t, min(left, spareLook))
	}
}

func (t *target) setSpared(spared bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spared = spared
}
