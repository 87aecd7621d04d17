package replica_test

import (
	"context"
	"fmt"
	"log"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// An app that only reads follows a topic: it gets all that is there and every change, and is no member of the network.
func ExampleSubscribe() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	alice := newApp(ctx) // somebody's node of the network "example-app"
	defer alice.Close()
	written, err := alice.state.Topic("main")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := written.Set(ctx, "color", []byte("teal"), replica.WriteOptions{}); err != nil {
		log.Fatal(err)
	}

	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	ps, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		log.Fatal(err)
	}
	follower, err := replica.Subscribe(h, ps, replica.DefaultConfig("example-app"))
	if err != nil {
		log.Fatal(err)
	}
	defer follower.Close()
	go follower.Run(ctx)
	if err := h.Connect(ctx, peer.AddrInfo{ID: alice.ID(), Addrs: alice.Addrs()}); err != nil {
		log.Fatal(err)
	}

	topic, err := follower.Topic("main")
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range topic.Watch(ctx, "") {
		if err != nil {
			log.Fatal(err)
		}
		if event.Kind != replica.Put {
			continue
		}
		fmt.Printf("%s = %s\n", event.New.Key, event.New.Value)
		if string(event.New.Value) == "red" {
			break
		}
		if _, err := written.Set(ctx, "color", []byte("red"), replica.WriteOptions{}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// color = teal
	// color = red
}
