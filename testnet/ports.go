package testnet

import (
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
)

// Ports of nodes lie below the range from which Linux takes ports of outgoing connections (32768-60999), so that none is
// taken while its node is down for a restart.
const (
	firstPort = 20001
	lastPort  = 31999
)

// freePorts picks n ports on which loopback is free for TCP and UDP both, none of them in taken. The search starts at a place
// that depends on seed alone: the same testnet gets the same ports again, and different ones seldom meet.
func freePorts(n int, seed string, taken map[int]bool) ([]int, error) {
	h := fnv.New32a()
	h.Write([]byte(seed))
	const span = lastPort - firstPort + 1
	start := int(h.Sum32() % span)
	var ports []int
	for i := 0; i < span && len(ports) < n; i++ {
		port := firstPort + (start+i)%span
		if !taken[port] && portFree(port) {
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		return nil, fmt.Errorf("only %d of %d ports between %d and %d are free", len(ports), n, firstPort, lastPort)
	}
	return ports, nil
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
