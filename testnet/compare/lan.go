package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/p2pnode/p2pnode/testnet/lab"
)

// lanPort is where every host of a LAN listens: p2pnode's own default.
const lanPort = 4747

// lan is a network of package lab: each node is a host with an interface of its own, which counts what it sends.
type lan struct{ *lab.LAN }

func newLAN(n int) (lan, error) {
	l, err := lab.NewLAN(n)
	return lan{l}, err
}

func (l lan) what() string                   { return "a host each on a simulated LAN" }
func (l lan) profile() string                { return "" }
func (l lan) place(i int) netip.AddrPort     { return netip.AddrPortFrom(l.Addr(i), lanPort) }
func (l lan) run(i int, cmd *exec.Cmd) error { return l.Start(i, cmd) }
func (l lan) close() error                   { return l.Close() }
func (l lan) silence(i int) error            { return l.Silence(i) }
func (l lan) heal(i int) error               { return l.Restore(i) }

func (l lan) lose(percent float64) error {
	for i := range l.Hosts() {
		if err := l.Loss(i, percent/100); err != nil {
			return err
		}
	}
	return nil
}

func (l lan) sent(i int) (uint64, error) {
	var n uint64
	var err error
	if doErr := l.Do(i, func() {
		var f *os.File
		if f, err = os.Open("/proc/thread-self/net/dev"); err != nil { // of the host's namespace, where this runs
			return
		}
		defer f.Close()
		n, err = parseSent(f, "eth0")
	}); doErr != nil {
		return 0, doErr
	}
	return n, err
}

// parseSent finds the bytes that an interface has sent in /proc/net/dev: the ninth number of its line, with all headers from
// Ethernet's on.
func parseSent(dev io.Reader, name string) (uint64, error) {
	lines := bufio.NewScanner(dev)
	for lines.Scan() {
		have, numbers, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(numbers)
		if strings.TrimSpace(have) != name || len(fields) < 9 {
			continue
		}
		return strconv.ParseUint(fields[8], 10, 64)
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("/proc/net/dev has no interface %s", name)
}
