package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// resolution is what one attempt knows of one given address.
type resolution struct {
	given ma.Multiaddr
	text  string         // given with /p2p/, as State names it
	addrs []ma.Multiaddr // to dial, without names and /p2p/
	err   error          // why there are none
}

// resolutions has one entry for each address of a target, in order.
type resolutions []resolution

// resolve looks up the names in the addresses of t. The swarm would do it too, but it only logs a name it can't find.
func (d *Dialer) resolve(ctx context.Context, t *target) resolutions {
	out := make(resolutions, 0, len(t.info.Addrs))
	for _, given := range t.info.Addrs {
		r := resolution{given: given, text: withPeer(given, t.info.ID)}
		r.addrs, r.err = d.lookUp(ctx, t.info.ID, given)
		if r.err == nil && len(r.addrs) == 0 {
			r.err = errNoRecords
		}
		out = append(out, r)
	}
	return out
}

// lookUp replaces a name at the start of addr by what it stands for: nothing when no record leads to id.
func (d *Dialer) lookUp(ctx context.Context, id peer.ID, addr ma.Multiaddr) ([]ma.Multiaddr, error) {
	addrs := []ma.Multiaddr{addr}
	if startsWith(addr, ma.P_DNSADDR) {
		var err error
		if addrs, err = d.cfg.Resolver.ResolveDNSAddr(ctx, id, addr, dnsaddrDepth, maxResolved); err != nil {
			return nil, err
		}
	}
	var out []ma.Multiaddr
	var faults []error
	for _, a := range addrs {
		next := []ma.Multiaddr{a}
		if startsWith(a, ma.P_DNS, ma.P_DNS4, ma.P_DNS6) {
			var err error
			if next, err = d.cfg.Resolver.ResolveDNSComponent(ctx, a, maxResolved); err != nil {
				faults = append(faults, err)
				continue
			}
		}
		for _, n := range next {
			if transport, last := peer.SplitAddr(n); last == id {
				n = transport
			}
			if n != nil && len(out) < maxResolved {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.Join(faults...)
	}
	return out, nil
}

// dialable returns all addresses to dial, without repetitions.
func (rs resolutions) dialable() []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, r := range rs {
		out = append(out, r.addrs...)
	}
	return ma.Unique(out)
}

// explain says for each given address why it did not lead to a connection, and which result counts for all. err is what
// Connect returned; addresses it does not mention were still waiting for an answer, or failed with the whole.
func (rs resolutions) explain(err error, waited time.Duration) (worst result, words map[string]string) {
	causes := make(map[string]error)
	var dial *swarm.DialError
	if errors.As(err, &dial) {
		for _, te := range dial.DialErrors {
			causes[string(te.Address.Bytes())] = te.Cause
		}
		if dial.Cause != nil {
			err = dial.Cause // on its own: not what happened to other addresses
		}
	}
	words = make(map[string]string, len(rs))
	for _, r := range rs {
		f := r.explain(causes, err, waited)
		words[r.text] = f.words
		worst = max(worst, f.result)
	}
	return worst, words
}

// explain picks the most telling failure among the addresses that one given address stands for.
func (r resolution) explain(causes map[string]error, whole error, waited time.Duration) failure {
	if r.err != nil {
		return explain(r.given, r.err, waited)
	}
	best := failure{result: -1}
	for _, a := range r.addrs {
		cause, known := causes[string(a.Bytes())]
		if !known {
			cause = whole
		}
		if f := explain(a, cause, waited); f.result > best.result {
			best = f
		}
	}
	return best
}

func withPeer(addr ma.Multiaddr, id peer.ID) string {
	if addr == nil {
		return "/p2p/" + id.String()
	}
	return addr.String() + "/p2p/" + id.String()
}

func startsWith(addr ma.Multiaddr, codes ...int) bool {
	found := false
	ma.ForEach(addr, func(c ma.Component) bool {
		for _, code := range codes {
			found = found || c.Protocol().Code == code
		}
		return false
	})
	return found
}
