package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// result is how one attempt at a peer ended. Of several addresses the most telling one counts: the larger value.
type result int

const (
	resultOther      result = iota
	resultDNS               // a name was not found
	resultTimeout           // nothing came back
	resultRefused           // the host is up, nothing listens there
	resultSecurity          // something listens there, but the secure handshake did not work
	resultIDMismatch        // another peer is there
	resultOK
	results // how many there are
)

// failure is one result with the words for it.
type failure struct {
	result result
	words  string
}

// errNoRecords means that a name exists, but nothing under it leads to the wanted peer.
var errNoRecords = errors.New("the name lists no address of this peer")

// explain puts the error of one address into words. waited is how long the attempt took.
func explain(addr ma.Multiaddr, err error, waited time.Duration) failure {
	var (
		mismatch sec.ErrPeerIDMismatch
		lookup   *net.DNSError
	)
	switch {
	case errors.As(err, &mismatch):
		return failure{resultIDMismatch, fmt.Sprintf("%s is %s, not %s (that node has a new identity, or two nodes share the port)",
			hostPort(addr), mismatch.Actual, mismatch.Expected)}
	case errors.Is(err, errNoRecords):
		return failure{resultDNS, errNoRecords.Error()}
	case errors.As(err, &lookup):
		return failure{resultDNS, explainLookup(lookup)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure{resultRefused, "connection refused (host up, nothing on that port)"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return failure{resultOther, "no route to that host (is this machine online?)"}
	case errors.Is(err, swarm.ErrDialToSelf):
		return failure{resultIDMismatch, "this is an address of this node itself, under another peer id"}
	case errors.Is(err, swarm.ErrNoTransport):
		return failure{resultOther, "this node has no transport for it"}
	case errors.Is(err, swarm.ErrNoGoodAddresses), errors.Is(err, swarm.ErrAllDialsFailed):
		return failure{resultOther, "not dialled: libp2p finds it unusable"}
	case errors.Is(err, swarm.ErrGaterDisallowedConnection):
		return failure{resultOther, "this node does not allow that connection"}
	case errors.Is(err, swarm.ErrDialRefusedBlackHole):
		return failure{resultTimeout, "not tried: no UDP or IPv6 dial has worked here lately"}
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return failure{resultOther, "this node is at its own limit of connections"}
	case isTimeout(err):
		return failure{resultTimeout, fmt.Sprintf("no answer in %.0f s (firewall, or wrong address)", max(1, waited.Seconds()))}
	case isHandshake(err):
		return failure{resultSecurity, "something answers there, but not with libp2p's secure handshake"}
	}
	return failure{resultOther, firstLine(err)}
}

func explainLookup(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "name not found"
	case err.IsTimeout:
		return "no answer from the name server"
	}
	return "name look-up: " + err.Err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// isHandshake reports whether the secure handshake did not work. go-libp2p's upgrader, which runs it over TCP, has no
// sentinel for that, only the text.
func isHandshake(err error) bool {
	var transport *quic.TransportError
	return errors.As(err, &transport) && transport.ErrorCode.IsCryptoError() ||
		strings.Contains(err.Error(), "failed to negotiate security protocol")
}

// hostPort is the part of addr that a person recognizes.
func hostPort(addr ma.Multiaddr) string {
	var host, port string
	ma.ForEach(addr, func(c ma.Component) bool {
		switch c.Protocol().Code {
		case ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
			host = c.Value()
		case ma.P_TCP, ma.P_UDP:
			port = c.Value()
		}
		return host == "" || port == ""
	})
	if host == "" || port == "" {
		return addr.String()
	}
	return net.JoinHostPort(host, port)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
