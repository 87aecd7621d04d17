package replica_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// An app that has a pubsub of its own reads the rumors of a topic without a replica: it sees what changes while it listens.
func Example_subscriber() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	writer, writerHost := exampleNode(ctx) // somebody's node of the network "example"
	defer writerHost.Close()
	defer writer.Close()

	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	ps, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		log.Fatal(err)
	}
	topic, err := ps.Join(replica.GossipTopic("example", "main"), pubsub.WithTopicMessageIdFn(replica.MessageID))
	if err != nil {
		log.Fatal(err)
	}
	rumors, err := topic.Subscribe()
	if err != nil {
		log.Fatal(err)
	}
	if err := h.Connect(ctx, peer.AddrInfo{ID: writerHost.ID(), Addrs: writerHost.Addrs()}); err != nil {
		log.Fatal(err)
	}
	go keepSetting(ctx, writer, "color", "teal")

	m, err := rumors.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	update, err := wire.UnmarshalUpdate(m.GetData())
	if err != nil {
		log.Fatal(err)
	}
	author, err := replica.OwnerOf(m.GetFrom())
	if err != nil || author != update.Digest.Owner {
		log.Fatal("only the owner may speak for itself: its signature on the message covers the entries")
	}
	if _, err := wire.Verify(wire.Domain{Network: "example", Topic: "main"}, update); err != nil {
		log.Fatal(err)
	}
	for _, e := range update.Entries {
		fmt.Printf("%s = %s\n", e.Key, e.Value)
	}
	// Output: color = teal
}

// exampleNode is a running replica on a host of its own.
func exampleNode(ctx context.Context) (*replica.Replica, host.Host) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		log.Fatal(err)
	}
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithFloodPublish(true))
	if err != nil {
		log.Fatal(err)
	}
	cfg := replica.DefaultConfig("example")
	cfg.FirstSync = 0
	r, err := replica.New(h, ps, cfg)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := r.Run(ctx); err != nil {
			log.Print(err)
		}
	}()
	return r, h
}

// keepSetting writes key again and again, so that a subscriber hears of it whenever it comes.
func keepSetting(ctx context.Context, r *replica.Replica, key, value string) {
	topic, err := r.Topic("main")
	if err != nil {
		log.Fatal(err)
	}
	for tick := time.Tick(10 * time.Millisecond); ctx.Err() == nil; <-tick {
		if _, err := topic.Set(ctx, key, []byte(value), replica.WriteOptions{}); err != nil {
			return
		}
	}
}
