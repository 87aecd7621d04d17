package node

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// interfacesFor is how long what the interfaces said is believed. A host looks for changes of its addresses every 5 s, and
	// whenever somebody asks for them.
	interfacesFor = 2 * time.Second
	// newFor is how long an address is new. Later the host knows it by itself, or knows why it does not tell it: its own look
	// at the interfaces is at most a minute old.
	newFor = 2 * time.Minute
	// goneFor is how long the host may come up with an address after that has gone: connections that began with it live on,
	// and what it hears on them is where others saw it (guess).
	goneFor = time.Hour
)

// interfaces follow which addresses the machine has. libp2p looks at them only once a minute: too seldom to tell others in
// time where a node has moved to. Safe for concurrent use.
type interfaces struct {
	look func() ([]multiaddr.Multiaddr, error) // manet.InterfaceMultiaddrs

	mu     sync.Mutex
	looked time.Time             // zero: never
	now    []multiaddr.Multiaddr // without ports; without link-local ones of IPv6, as libp2p has it
	came   map[string]time.Time  // those of now that are new
	gone   map[string]time.Time  // those that went not long ago
}

func newInterfaces() *interfaces {
	return &interfaces{look: manet.InterfaceMultiaddrs, came: map[string]time.Time{}, gone: map[string]time.Time{}}
}

// amend is what the host found at that time, less the addresses that the machine has no more, and with the new ones on which
// it listens.
func (f *interfaces) amend(found, listening []multiaddr.Multiaddr, at time.Time) []multiaddr.Multiaddr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.Sub(f.looked) >= interfacesFor {
		f.refresh(at)
	}
	amended := slices.DeleteFunc(slices.Clone(found), func(addr multiaddr.Multiaddr) bool { return has(f.gone, addr) })
	if len(f.came) == 0 {
		return amended
	}
	present, err := manet.ResolveUnspecifiedAddresses(listening, f.now)
	if err != nil {
		return amended // it listens on none of them
	}
	for _, addr := range present {
		if has(f.came, addr) && !slices.ContainsFunc(amended, addr.Equal) {
			amended = append(amended, addr)
		}
	}
	return amended
}

// has says whether the IP address of addr is among those.
func has(ips map[string]time.Time, addr multiaddr.Multiaddr) bool {
	if len(addr) == 0 {
		return false
	}
	_, found := ips[addr[:1].String()]
	return found
}

// refresh looks at the interfaces again. When they cannot be read, all is as it was.
func (f *interfaces) refresh(at time.Time) {
	first := f.looked.IsZero()
	f.looked = at
	now, err := f.look()
	if err != nil {
		return
	}
	now = slices.DeleteFunc(now, manet.IsIP6LinkLocal)
	if !first {
		for _, addr := range missing(f.now, now) {
			f.gone[addr.String()] = at
			delete(f.came, addr.String())
		}
		for _, addr := range missing(now, f.now) {
			f.came[addr.String()] = at
			delete(f.gone, addr.String())
		}
	}
	f.now = now
	maps.DeleteFunc(f.came, func(_ string, since time.Time) bool { return at.Sub(since) >= newFor })
	maps.DeleteFunc(f.gone, func(_ string, since time.Time) bool { return at.Sub(since) >= goneFor })
}

// missing are those of these that are not in those.
func missing(these, those []multiaddr.Multiaddr) (only []multiaddr.Multiaddr) {
	for _, addr := range these {
		if !slices.ContainsFunc(those, addr.Equal) {
			only = append(only, addr)
		}
	}
	return only
}
