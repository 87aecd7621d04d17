package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
)

// network is where the nodes of a cluster live. Node indices begin at 0.
type network interface {
	// what says in a few words what it is, for the report.
	what() string
	// place is where node i listens, over TCP and UDP.
	place(i int) netip.AddrPort
	// profile is the profile of a p2pnode there; "" is its default.
	profile() string
	// run starts cmd at the place of node i.
	run(i int, cmd *exec.Cmd) error
	// close removes the network when all its processes have ended.
	close() error
}

// meter is a network that counts what each node sends, in bytes with all headers from Ethernet's on.
type meter interface{ sent(i int) (uint64, error) }

// breaker is a network that can be broken.
type breaker interface {
	// silence drops all packets from and to node i from now on; heal ends that.
	silence(i int) error
	heal(i int) error
	// lose drops each packet with that probability, in percent, from now on; 0: none.
	lose(percent float64) error
}

// loopback is this machine's: no root, but nothing is counted and nothing can be broken.
type loopback struct{ ports []int }

// Ports of nodes lie below those that Linux gives to outgoing connections (32768-60999), so that none is taken while its
// node is down, and above those of testnets.
const (
	firstPort = 32000
	lastPort  = 32767
)

// newLoopback finds n free ports.
func newLoopback(n int) (*loopback, error) {
	var l loopback
	for port := firstPort; port <= lastPort && len(l.ports) < n; port++ {
		if portFree(port) {
			l.ports = append(l.ports, port)
		}
	}
	if len(l.ports) < n {
		return nil, fmt.Errorf("only %d of %d ports between %d and %d are free", len(l.ports), n, firstPort, lastPort)
	}
	return &l, nil
}

func portFree(port int) bool {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

func (l *loopback) what() string    { return "loopback" }
func (l *loopback) profile() string { return "local" }
func (l *loopback) close() error    { return nil }

func (l *loopback) place(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(l.ports[i]))
}

func (l *loopback) run(_ int, cmd *exec.Cmd) error { return cmd.Start() }

// errNeedsLab says why a measure was left out.
var errNeedsLab = errors.New("needs a network that can be counted or broken: -net lab")
