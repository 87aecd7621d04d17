package discovery

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	maxRecords     = 1024 // guess: enough to draw from, at most 1 MiB
	maxRecordAddrs = 8    // a node on two interfaces with TCP and QUIC, over IPv4 and IPv6
	maxAddrBytes   = 128  // a relayed address has two 40-byte ids
	sampleSize     = 16   // per answer; a look-up asks several nodes and needs 8 neighbours in all
)

var errForeignKey = errors.New("this DHT serves one rendezvous")

// records is what this node stores for the DHT: who takes part in the network. Unlike the DHT's own store it has one key, a
// bound, and answers with a random sample, so that a hostile peer can't fill it and the first nodes do not become hubs.
// It is safe for concurrent use.
type records struct {
	key  []byte
	self peer.ID

	mu     sync.Mutex
	byPeer map[peer.ID]record
}

type record struct {
	addrs   []ma.Multiaddr
	expires time.Time
}

func newRecords(self peer.ID, key []byte) *records {
	return &records{key: key, self: self, byPeer: make(map[peer.ID]record)}
}

// AddProvider stores or renews the record of p; the DHT has checked that p itself sent it.
func (r *records) AddProvider(_ context.Context, key []byte, p peer.AddrInfo) error {
	if !bytes.Equal(key, r.key) {
		return errForeignKey
	}
	if p.ID == r.self {
		return nil // whoever asks this node knows it already
	}
	var addrs []ma.Multiaddr
	for _, a := range p.Addrs {
		if len(addrs) < maxRecordAddrs && len(a.Bytes()) <= maxAddrBytes {
			addrs = append(addrs, a)
		}
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.byPeer[p.ID]; !known && len(r.byPeer) >= maxRecords {
		r.makeRoom(now)
	}
	r.byPeer[p.ID] = record{addrs: addrs, expires: now.Add(RecordTTL)}
	return nil
}

// makeRoom drops what has expired, or else one record at random.
func (r *records) makeRoom(now time.Time) {
	victim, seen := peer.ID(""), 0
	for id, rec := range r.byPeer {
		if now.After(rec.expires) {
			delete(r.byPeer, id)
			continue
		}
		if seen++; rand.IntN(seen) == 0 {
			victim = id
		}
	}
	if len(r.byPeer) >= maxRecords {
		delete(r.byPeer, victim)
	}
}

// GetProviders returns a random sample of the records.
func (r *records) GetProviders(_ context.Context, key []byte) ([]peer.AddrInfo, error) {
	if !bytes.Equal(key, r.key) {
		return nil, nil
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var sample []peer.AddrInfo
	seen := 0
	for id, rec := range r.byPeer {
		if now.After(rec.expires) {
			delete(r.byPeer, id)
			continue
		}
		seen++
		info := peer.AddrInfo{ID: id, Addrs: rec.addrs}
		if len(sample) < sampleSize {
			sample = append(sample, info)
		} else if i := rand.IntN(seen); i < sampleSize {
			sample[i] = info
		}
	}
	return sample, nil
}

// Close does nothing: there is nothing to release.
func (r *records) Close() error { return nil }
