package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
)

const (
	// MaxHosts is the most that a LAN has: what fits into its prefix with the last byte from 1 to hostsPerByte.
	MaxHosts     = 1000
	hostsPerByte = 250

	lossScale = 10_000 // of the random number that decides about a packet
)

// prefix is the network of a LAN. It is no private range, so libp2p takes its addresses for public ones.
var prefix = netip.MustParsePrefix("11.0.0.0/16")

// ErrClosed: the LAN has been closed.
var ErrClosed = errors.New("the network lab is closed")

// LAN is hosts on one switch, numbered from 0. Its methods may be called concurrently.
type LAN struct {
	mu     sync.Mutex // held while anything but the hosts' own processes is changed
	closed bool
	lan    *namespace // of the bridge
	hosts  []*lanHost
}

// lanHost is one host as it is now.
type lanHost struct {
	*namespace
	addr   netip.Addr
	silent bool
	loss   float64 // of the packets to it
}

// NewLAN makes a LAN of n hosts, 1 to MaxHosts, that reach each other. Close it. The error is ErrUnavailable, or what the
// kernel objected to.
func NewLAN(n int) (*LAN, error) {
	if n < 1 || n > MaxHosts {
		return nil, fmt.Errorf("a LAN has 1 to %d hosts, not %d", MaxHosts, n)
	}
	if err := Available(); err != nil {
		return nil, err
	}
	l := &LAN{}
	if err := l.make(n); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *LAN) make(n int) error {
	var err error
	if l.lan, err = newNamespace(); err != nil {
		return err
	}
	var links strings.Builder
	links.WriteString("link add lan type bridge\nlink set lan up\n")
	for i := range n {
		h := &lanHost{addr: addrOf(i)}
		if h.namespace, err = newNamespace(); err != nil {
			return err
		}
		l.hosts = append(l.hosts, h)
		fmt.Fprintf(&links, "link add h%d type veth peer name eth0 netns %s\nlink set h%d master lan up\n", i, h.path, i)
	}
	if err := l.lan.run(links.String(), "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, h := range l.hosts {
		// One packet at a time: else whole bursts of them would be lost, or none.
		if err := h.run("link set eth0 gso_max_segs 1 up\n"+h.add(h.addr), "ip", "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

func addrOf(i int) netip.Addr {
	first := prefix.Addr().As4()
	return netip.AddrFrom4([4]byte{first[0], first[1], byte(i / hostsPerByte), byte(i%hostsPerByte + 1)})
}

func (h *lanHost) add(addr netip.Addr) string {
	return fmt.Sprintf("addr add %s/%d dev eth0\n", addr, prefix.Bits())
}

// Hosts is how many hosts there are.
func (l *LAN) Hosts() int { return len(l.hosts) }

// Addr is the address of host i.
func (l *LAN) Addr(i int) netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts[i].addr
}

// Start starts cmd on host i; what else there is to say of it is as in exec.Cmd. It is killed with this process and by Close.
// Files, and so Unix sockets, are those of the machine.
func (l *LAN) Start(i int, cmd *exec.Cmd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return l.hosts[i].start(cmd)
}

// Do runs f on host i: sockets that f makes by itself, not by goroutines that it starts, are of that host, and stay so. It
// holds up all else that is to be done on that host.
func (l *LAN) Do(i int, f func()) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	h := l.hosts[i]
	work := make(chan struct{})
	h.work <- func() {
		defer close(work)
		f()
	}
	l.mu.Unlock()
	<-work
	return nil
}

// Silence drops every IP packet from and to host i without a word, as a cut cable far away does: ARP still answers, so nobody's
// kernel says that the host is gone.
func (l *LAN) Silence(i int) error {
	return l.change(func() error {
		l.hosts[i].silent = true
		return l.filter()
	})
}

// Restore ends silence and loss of host i.
func (l *LAN) Restore(i int) error {
	return l.change(func() error {
		l.hosts[i].silent, l.hosts[i].loss = false, 0
		return l.filter()
	})
}

// Loss drops this fraction, 0 to 1, of the IP packets to host i, each by a throw of dice. What it sends itself is not lost.
func (l *LAN) Loss(i int, fraction float64) error {
	if !(fraction >= 0 && fraction <= 1) {
		return fmt.Errorf("a loss is 0 to 1, not %v", fraction)
	}
	return l.change(func() error {
		l.hosts[i].loss = fraction
		return l.filter()
	})
}

// SetAddr moves host i to another address of the LAN while its processes run, and has all hosts forget which machine had which
// address, as the announcement of a DHCP client does. Nothing keeps two hosts from having the same one.
func (l *LAN) SetAddr(i int, addr netip.Addr) error {
	if !prefix.Contains(addr) {
		return fmt.Errorf("%s is not of %s", addr, prefix)
	}
	return l.change(func() error {
		h := l.hosts[i]
		if err := h.run("addr flush dev eth0 scope global\n"+h.add(addr), "ip", "-batch", "-"); err != nil {
			return err
		}
		h.addr = addr
		for _, other := range l.hosts {
			if err := other.run("", "ip", "neigh", "flush", "dev", "eth0"); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *LAN) change(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return f()
}

// filter makes the rules of the bridge anew, in one step.
func (l *LAN) filter() error {
	var rules strings.Builder
	rules.WriteString("table bridge lab\ndelete table bridge lab\ntable bridge lab {\nchain forward {\n")
	rules.WriteString("type filter hook forward priority 0; policy accept\n")
	for i, h := range l.hosts {
		if h.silent {
			fmt.Fprintf(&rules, "iifname h%d meta protocol != arp drop\noifname h%d meta protocol != arp drop\n", i, i)
		} else if h.loss > 0 {
			fmt.Fprintf(&rules, "oifname h%d meta protocol != arp numgen random mod %d < %d drop\n", i, lossScale, int(h.loss*lossScale))
		}
	}
	rules.WriteString("}\n}\n")
	return l.lan.run(rules.String(), "nft", "-f", "-")
}

// Close kills every process on the hosts and removes everything. It may be called again.
func (l *LAN) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for _, h := range l.hosts {
		h.close()
	}
	if l.lan != nil {
		l.lan.close()
	}
	return nil
}
