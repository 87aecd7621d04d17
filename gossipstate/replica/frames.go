package replica

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// framer reads and writes the length-prefixed frames of one stream. Every frame has its own deadline.
type framer struct {
	stream  network.Stream
	source  *source // of r
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
	src := &source{Reader: s}
	return &framer{
		stream: s, source: src, timeout: timeout, count: count,
		r: msgio.NewVarintReaderSize(src, wire.MaxFrame), w: msgio.NewVarintWriter(s),
	}, nil
}

// source remembers whether it was the stream that failed: if not, a failed read is the sender's fault.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(b []byte) (n int, err error) {
	n, err = s.Reader.Read(b)
	s.err = err
	return n, err
}

func (f *framer) release() { f.stream.Scope().ReleaseMemory(wire.MaxFrame) }

// read passes the next frame to decode, which must not keep it. Errors: ErrMalformed and ErrTooLarge of package wire for a
// length that is none or too large, those of decode, and those of the stream.
func (f *framer) read(decode func([]byte) error) error {
	if err := f.stream.SetReadDeadline(time.Now().Add(f.timeout)); err != nil {
		return err
	}
	b, err := f.r.ReadMsg()
	switch {
	case errors.Is(err, msgio.ErrMsgTooLarge):
		return fmt.Errorf("%w: frame over %d bytes", wire.ErrTooLarge, wire.MaxFrame)
	case err != nil && f.source.err == nil:
		return fmt.Errorf("%w: frame length: %w", wire.ErrMalformed, err)
	case err != nil:
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
