package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// prefix is what every protocol of every network starts with; the network's name follows.
const prefix = "/p2pnode/"

// strays closes the connections of peers that are nodes of other networks: they came by a shared bootstrap address, and
// there is nothing to say to them.
type strays struct {
	host    host.Host
	network string
	log     *slog.Logger
	dropped atomic.Uint64
}

func newStrays(h host.Host, network string, log *slog.Logger) *strays {
	return &strays{host: h, network: network, log: log}
}

func (s *strays) watch(ctx context.Context) error {
	sub, err := s.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("watching for peers of other networks: %w", err)
	}
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-sub.Out():
			identified := e.(event.EvtPeerIdentificationCompleted)
			if network, stray := s.stray(identified.Protocols); stray {
				s.drop(identified.Peer, network)
			}
		}
	}
}

// stray says whether the protocols are those of a node of another network, and of which.
func (s *strays) stray(protocols []protocol.ID) (network string, stray bool) {
	var others []string
	for _, id := range protocols {
		name, ours := strings.CutPrefix(string(id), prefix)
		if !ours {
			continue
		}
		if name, _, _ = strings.Cut(name, "/"); name == s.network {
			return "", false
		}
		others = append(others, name)
	}
	if len(others) == 0 {
		return "", false // another libp2p app, or a node whose protocols are still to come
	}
	return slices.Min(others), true
}

func (s *strays) drop(p peer.ID, network string) {
	s.dropped.Add(1)
	s.log.Info("peer belongs to another network; connection closed", "peer", p, "network", network, "code", "wrong-network")
	if err := s.host.Network().ClosePeer(p); err != nil {
		s.log.Debug("closing a connection", "peer", p, "error", err)
	}
}
