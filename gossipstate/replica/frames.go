package replica

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// framer reads and writes the length-prefixed frames of one stream. Every frame has its own deadline.
type framer struct {
	stream  network.Stream
	r       msgio.ReadCloser
	w       msgio.WriteCloser
	timeout time.Duration
	count   func(direction string, n int)
}

// newFramer attaches s to service in the resource manager and reserves the memory of one frame. The caller resets s on an
// error.
func newFramer(s network.Stream, service string, timeout time.Duration, count func(direction string, n int)) (*framer, error) {
	if err := s.Scope().SetService(service); err != nil {
		return nil, fmt.Errorf("attaching stream to %s: %w", service, err)
	}
	if err := s.Scope().ReserveMemory(wire.MaxFrame, network.ReservationPriorityAlways); err != nil {
		return nil, fmt.Errorf("reserving memory for a frame: %w", err)
	}
	return &framer{
		stream: s, timeout: timeout, count: count,
		r: msgio.NewVarintReaderSize(s, wire.MaxFrame), w: msgio.NewVarintWriter(s),
	}, nil
}

func (f *framer) release() { f.stream.Scope().ReleaseMemory(wire.MaxFrame) }

// read passes the next frame to decode, which must not keep it.
func (f *framer) read(decode func([]byte) error) error {
	if err := f.stream.SetReadDeadline(time.Now().Add(f.timeout)); err != nil {
		return err
	}
	b, err := f.r.ReadMsg()
	if err != nil {
		return err
	}
	defer f.r.ReleaseMsg(b)
	f.count("in", len(b))
	return decode(b)
}

func (f *framer) write(b []byte) error {
	if err := f.stream.SetWriteDeadline(time.Now().Add(f.timeout)); err != nil {
		return err
	}
	f.count("out", len(b))
	return f.w.WriteMsg(b)
}
