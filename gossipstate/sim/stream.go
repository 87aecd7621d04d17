package sim

import (
	"slices"
	"time"
)

// stream is an ordered stream of frames over a connection. What is lost is sent again, and what was sent after it waits.
type stream struct {
	conn   *conn
	accept func(*process, *stream) receiver // at side 1 - opener, on the first frame; nil result: refused
	ends   [2]end
}

// end is one side of a stream.
type end struct {
	receiver receiver // nil: not open yet, or closed
	closed   bool     // this side expects nothing more
	over     bool     // nothing passes here any more
	sending
}

// receiver takes what arrives at one end of a stream.
type receiver interface {
	receive(frame any)
	// ended: the other side closed the stream after its last frame (clean), or it broke.
	ended(clean bool)
}

// sending is the direction of a stream that begins at an end.
type sending struct {
	waiting []packet
	tries   int           // of the first one; over 0: a time-out runs
	last    time.Duration // arrival of the one before
}

type packet struct {
	frame any // closing ends the stream
	size  int // bytes
}

type closing struct{}

const (
	retryMin = 25 * time.Millisecond // on top of three latencies: QUIC's PTO with a steady round trip
	retryMax = 3 * time.Second       // guess
	streamed = 2                     // bytes of the length before each frame
)

// open begins a stream over l. Its other side learns of it with the first frame.
func (l *link) open(r receiver, accept func(*process, *stream) receiver) *stream {
	st := &stream{conn: l.conn, accept: accept}
	st.ends[l.side].receiver = r
	l.conn.streams = append(l.conn.streams, st)
	return st
}

// send sends frame from one side and returns its size on the stream.
func (st *stream) send(side int, frame any, size int) int {
	e := &st.ends[side]
	if e.over {
		return 0
	}
	e.waiting = append(e.waiting, packet{frame, size + streamed})
	if e.tries == 0 {
		st.pump(side)
	}
	return size + streamed
}

// pump sends what waits at side, up to the first that is lost.
func (st *stream) pump(side int) {
	s, e := st.conn.edge.s, &st.ends[side]
	for len(e.waiting) > 0 {
		if s.chance(s.cfg.Break) || s.breaks != nil && s.breaks(st, side) {
			st.ended(side, false)
			st.resetFrom(side)
			return
		}
		if s.lost(e.tries > 0) || s.separated(st.conn.edge.nodes[0], st.conn.edge.nodes[1]) {
			pause := min(retryMax, (3*st.conn.edge.latency+retryMin)<<min(e.tries, 16))
			e.tries++
			s.after(pause, st.conn.procs[side], func() {
				if !e.over {
					st.pump(side)
				}
			})
			return
		}
		p := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.tries = 0
		e.last = max(e.last+1, s.clock+st.conn.edge.delay())
		s.note(uint64(p.size))
		s.after(e.last-s.clock, st.conn.procs[1-side], func() { st.arrived(1-side, p) })
	}
	e.waiting = nil
}

// lost says whether a packet is lost: what is sent again after a time-out goes twice (RFC 9002, section 6.2.4, as quic-go
// does it).
func (s *Sim) lost(again bool) bool {
	first := s.chance(s.cfg.Loss)
	return first && (!again || s.chance(s.cfg.Loss))
}

// arrived hands a frame to the end at side.
func (st *stream) arrived(side int, p packet) {
	e := &st.ends[side]
	if e.over || !st.conn.up[side] {
		return
	}
	if _, last := p.frame.(closing); last {
		st.ended(side, true)
		return
	}
	if e.closed {
		return
	}
	if e.receiver == nil {
		if e.receiver = st.accept(st.conn.procs[side], st); e.receiver == nil {
			st.reset(side)
			return
		}
	}
	e.receiver.receive(p.frame)
}

// close ends the stream for side, which expects nothing more; the other side learns of it after what was sent before.
func (st *stream) close(side int) {
	st.send(side, closing{}, 0)
	st.ends[side].receiver, st.ends[side].closed = nil, true
}

// reset breaks the stream at side, which is not told, and as soon as may be at the other.
func (st *stream) reset(side int) {
	if !st.ends[side].over {
		st.ends[side].receiver = nil
		st.ended(side, false)
		st.resetFrom(side)
	}
}

func (st *stream) resetFrom(side int) {
	s := st.conn.edge.s
	if !s.separated(st.conn.edge.nodes[0], st.conn.edge.nodes[1]) {
		s.after(st.conn.edge.delay(), st.conn.procs[1-side], func() { st.ended(1-side, false) })
	}
}

// ended ends the stream at side and tells its receiver.
func (st *stream) ended(side int, clean bool) {
	e := &st.ends[side]
	if e.over {
		return
	}
	e.over, e.waiting = true, nil
	if r := e.receiver; r != nil {
		e.receiver = nil
		r.ended(clean)
	}
	if other := &st.ends[1-side]; other.over || clean {
		st.conn.streams = slices.DeleteFunc(st.conn.streams, func(x *stream) bool { return x == st })
	}
}
