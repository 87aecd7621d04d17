package replica_test

import (
	"context"
	"fmt"
	"log"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// Any libp2p app takes part with the host and pubsub that it has: here two of them, of which one writes and one watches.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	alice, bob := newApp(ctx), newApp(ctx)
	defer alice.Close()
	defer bob.Close()
	if err := bob.Connect(ctx, peer.AddrInfo{ID: alice.ID(), Addrs: alice.Addrs()}); err != nil {
		log.Fatal(err)
	}

	topic, err := alice.state.Topic("main")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := topic.Set(ctx, "color", []byte("teal"), replica.WriteOptions{}); err != nil {
		log.Fatal(err)
	}

	topic, err = bob.state.Topic("main")
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range topic.Watch(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		if event.Kind == replica.Put {
			fmt.Printf("%s = %s\n", event.New.Key, event.New.Value)
			break
		}
	}
	// Output: color = teal
}

// app is an application with a replica on its host.
type app struct {
	host.Host
	state *replica.Replica
}

func newApp(ctx context.Context) *app {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	ps, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		log.Fatal(err)
	}
	cfg := replica.DefaultConfig("example-app") // the name of a network that nobody else is on
	cfg.FirstSync = 0                           // it publishes at once, although it may have said something before
	r, err := replica.New(h, ps, cfg)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := r.Run(ctx); err != nil {
			log.Print(err)
		}
	}()
	return &app{h, r}
}

// Close ends the replica first: it leaves the host as it found it.
func (a *app) Close() {
	if err := a.state.Close(); err != nil {
		log.Print(err)
	}
	a.Host.Close()
}
