// Command bare is a libp2p host with p2pnode's transports and nothing on it but what libp2p itself starts: what its
// connections cost when nobody uses them. It prints its address, then dials each multiaddr that standard input names, writes
// every connection to standard output as package event says, and ends when standard input does.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// dialTimeout bounds one dial; on one machine a dial that is slower has failed.
const dialTimeout = 30 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1", "multiaddrs to listen on, with commas")
	flag.Parse()
	connections, err := connmgr.NewConnManager(16, 64) // as in p2pnode's defaults
	if err != nil {
		return err
	}
	h, err := libp2p.New(
		libp2p.ListenAddrStrings(strings.Split(*listen, ",")...),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.ConnectionManager(connections),
	)
	if err != nil {
		return err
	}
	defer h.Close()
	tell := event.NewWriter(os.Stdout)
	h.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { _ = tell.Tell(event.Alive, c.RemotePeer().String()) },
		DisconnectedF: func(_ network.Network, c network.Conn) { _ = tell.Tell(event.Dead, c.RemotePeer().String()) },
	})
	// The first event is the host's own: the runner learns its id from it.
	if err := tell.Tell(event.Alive, h.ID().String()); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		info, err := peer.AddrInfoFromString(in.Text())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		err = h.Connect(ctx, *info)
		cancel()
		if err != nil {
			return fmt.Errorf("dial %s: %w", in.Text(), err)
		}
	}
	return in.Err()
}
