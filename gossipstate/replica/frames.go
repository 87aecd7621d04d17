package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	readAhead   = 16 << 10 // bytes of frames that may wait in memory: as many small updates as are worth checking together
	frameMemory = wire.MaxFrame + readAhead
)

// framer reads and writes the length-prefixed frames of one stream. Every frame has its own deadline.
type framer struct {
	stream  network.Stream
	source  *source       // of ahead
	ahead   *bufio.Reader // of r
	r       msgio.ReadCloser
	w       msgio.WriteCloser
	timeout time.Duration
	count   func(direction string, n int)
	sent    int // bytes of the frames written
}

// newFramer attaches s to service in the resource manager and reserves the memory of one frame. The caller resets s on an
// error.
func newFramer(s network.Stream, service string, timeout time.Duration, count func(direction string, n int)) (*framer, error) {
	if err := s.Scope().SetService(service); err != nil {
		return nil, fmt.Errorf("attaching stream to %s: %w", service, err)
	}
	if err := s.Scope().ReserveMemory(frameMemory, network.ReservationPriorityAlways); err != nil {
		return nil, fmt.Errorf("reserving memory for a frame: %w", err)
	}
	src := &source{Reader: s}
	ahead := bufio.NewReaderSize(src, readAhead)
	return &framer{
		stream: s, source: src, ahead: ahead, timeout: timeout, count: count,
		r: msgio.NewVarintReaderSize(ahead, wire.MaxFrame), w: msgio.NewVarintWriter(s),
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

func (f *framer) release() { f.stream.Scope().ReleaseMemory(frameMemory) }

// waiting says whether a part of the next frame has arrived at least.
func (f *framer) waiting() bool { return f.ahead.Buffered() > 0 }

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
	case err != nil && (f.source.err == nil || f.waiting()):
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
	f.sent += len(b)
	return f.w.WriteMsg(b)
}
