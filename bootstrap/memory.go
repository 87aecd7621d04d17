package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxMemory bounds the file in bytes; MaxPeers of the largest are about half of it.
	maxMemory      = 1 << 20
	maxMemoryAddrs = 16

	// MaxPeers is how many peers a memory holds at most. A guess: one that answers is enough.
	MaxPeers = 128

	memoryFormat = 1
)

// Peer is a peer that was a neighbour once, as a memory keeps it.
type Peer struct {
	Info     peer.AddrInfo
	Alive    time.Time // when it was last seen connected
	Failed   time.Time // when it was last dialled in vain; zero: never, or it was connected since
	Failures int       // dials in vain since it was last connected
	Chosen   bool      // it was a neighbour by this node's own choice, not only by its own
}

// DamagedError says that a memory could not be read. It costs no start: the file was put aside.
type DamagedError struct {
	Path  string
	Aside string // where the file is now; "" when it could not be moved
	Err   error  // what is wrong with it
}

func (e *DamagedError) Error() string {
	if e.Aside == "" {
		return fmt.Sprintf("the remembered peers in %s are damaged: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("the remembered peers in %s are damaged: %v; the file is now %s", e.Path, e.Err, e.Aside)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// memory is the file: JSON, for people may want to read it.
type memory struct {
	Format int          `json:"format"`
	Peers  []memoryPeer `json:"peers"`
}

type memoryPeer struct {
	ID       string     `json:"id"`
	Addrs    []string   `json:"addrs"`
	Alive    time.Time  `json:"alive"`
	Failed   *time.Time `json:"failed,omitempty"`
	Failures int        `json:"failures,omitempty"`
	Chosen   bool       `json:"chosen,omitempty"`
}

// ReadPeers reads a memory, in the order in which it was written; none when there is no file. Times in the future of now
// count as now. A damaged file is moved to <path>.damaged, over an earlier one, and the error is a *DamagedError; others are
// those of the file system. In every case the node can go on, without remembered peers.
func ReadPeers(path string, now time.Time) ([]Peer, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the remembered peers: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("reading the remembered peers: %w", err)
	}
	peers, err := decodePeers(text, now)
	if err == nil {
		return peers, nil
	}
	damaged := &DamagedError{Path: path, Aside: path + ".damaged", Err: err}
	if err := os.Rename(path, damaged.Aside); err != nil {
		damaged.Aside = ""
	}
	return nil, damaged
}

func decodePeers(text []byte, now time.Time) ([]Peer, error) {
	if len(text) > maxMemory {
		return nil, fmt.Errorf("it is longer than %d bytes", maxMemory)
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Format != memoryFormat {
		return nil, fmt.Errorf("format %d is not %d", m.Format, memoryFormat)
	}
	if len(m.Peers) > MaxPeers {
		return nil, fmt.Errorf("it has %d peers, the limit is %d", len(m.Peers), MaxPeers)
	}
	peers := make([]Peer, 0, len(m.Peers))
	for i, p := range m.Peers {
		decoded, err := p.decode(now)
		if err != nil {
			return nil, fmt.Errorf("peer %d: %w", i+1, err)
		}
		peers = append(peers, decoded)
	}
	return peers, nil
}

func (m memoryPeer) decode(now time.Time) (Peer, error) {
	id, err := peer.Decode(m.ID)
	if err != nil {
		return Peer{}, err
	}
	if len(m.Addrs) == 0 || len(m.Addrs) > maxMemoryAddrs {
		return Peer{}, fmt.Errorf("%d addresses are not 1 to %d", len(m.Addrs), maxMemoryAddrs)
	}
	if m.Failures < 0 {
		return Peer{}, fmt.Errorf("%d failures", m.Failures)
	}
	p := Peer{Info: peer.AddrInfo{ID: id}, Alive: past(m.Alive, now), Failures: m.Failures, Chosen: m.Chosen}
	if m.Failed != nil {
		p.Failed = past(*m.Failed, now)
	}
	for _, s := range m.Addrs {
		addr, err := ma.NewMultiaddr(s)
		if err != nil {
			return Peer{}, err
		}
		p.Info.Addrs = append(p.Info.Addrs, addr)
	}
	return p, nil
}

// past is t, or now when the clock has been set back since.
func past(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// WritePeers writes a memory of the first MaxPeers peers in place of an earlier one, so that a crash leaves either. The file
// has mode 0600.
func WritePeers(path string, peers []Peer) error {
	m := memory{Format: memoryFormat, Peers: []memoryPeer{}}
	for _, p := range peers[:min(len(peers), MaxPeers)] {
		m.Peers = append(m.Peers, encodePeer(p))
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		panic("bootstrap: encode remembered peers: " + err.Error()) // all of it encodes
	}
	if err := replace(path, append(text, '\n')); err != nil {
		return fmt.Errorf("writing the remembered peers: %w", err)
	}
	return nil
}

func encodePeer(p Peer) memoryPeer {
	m := memoryPeer{ID: p.Info.ID.String(), Alive: p.Alive.UTC().Truncate(time.Second), Failures: p.Failures, Chosen: p.Chosen}
	if !p.Failed.IsZero() {
		m.Failed = new(p.Failed.UTC().Truncate(time.Second))
	}
	for _, a := range p.Info.Addrs[:min(len(p.Info.Addrs), maxMemoryAddrs)] {
		m.Addrs = append(m.Addrs, a.String())
	}
	return m
}

// replace puts text where path is, through a file beside it.
func replace(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
