package wire

import (
	"fmt"

	"github.com/p2pnode/p2pnode/gossipstate/wire/pb"
)

// BeatFrame is one message on a beat stream.
type BeatFrame struct {
	Hello        *BeatHello    // in the first frame of each side
	Digest       *SignedDigest // of members; before the first beat under its anchor
	Beats        []Beat        // the sender's own, then beats it passes on
	Fingerprints []uint64      // in the order of the topics in the sender's hello
	Unknown      []uint32      // anchor names it could not place: asks for their digests
	Probes       []BeatProbe   // members to look after: the sender is about to accuse them; at most MaxFrameProbes
	Answers      []BeatAnswer  // to probes that no beat answers; at most MaxFrameProbes
}

// BeatProbe asks a neighbour for a newer beat of a member than the sender has, or, when it has none, to dial the member.
type BeatProbe struct {
	Owner  ID
	Anchor uint32 // name of the chain of the digest that the sender holds
	Index  uint32 // of the newest beat that the sender knows under it, 0..MaxBeats; 0: none
}

// BeatAnswer says what became of the dial that a BeatProbe of Owner asked for.
type BeatAnswer struct {
	Owner   ID
	Reached bool // it answered under its key
}

// BeatHello opens one side of a beat stream.
type BeatHello struct {
	Salt   Salt
	Topics []string
}

// MarshalBeatFrame encodes f.
func MarshalBeatFrame(f *BeatFrame) []byte {
	m := &pb.BeatFrame{Fingerprints: f.Fingerprints, Unknown: f.Unknown}
	if f.Hello != nil {
		m.Hello = &pb.BeatHello{Salt: f.Hello.Salt[:]}
		for _, t := range f.Hello.Topics {
			m.Hello.Topics = append(m.Hello.Topics, []byte(t))
		}
	}
	if f.Digest != nil {
		m.Digest = signedToPB(*f.Digest)
	}
	for i := range f.Beats {
		m.Beats = append(m.Beats, beatToPB(&f.Beats[i]))
	}
	for i := range f.Probes {
		p := &f.Probes[i]
		m.Probes = append(m.Probes, &pb.BeatProbe{Owner: p.Owner[:], Anchor: p.Anchor, Index: p.Index})
	}
	for i := range f.Answers {
		a := &f.Answers[i]
		m.Answers = append(m.Answers, &pb.BeatAnswer{Owner: a.Owner[:], Reached: a.Reached})
	}
	return marshal(m)
}

// UnmarshalBeatFrame decodes one frame; beats and digest are unverified. Errors wrap ErrMalformed or ErrTooLarge.
func UnmarshalBeatFrame(b []byte) (BeatFrame, error) {
	if err := limitBeatFrame(b); err != nil {
		return BeatFrame{}, err
	}
	var m pb.BeatFrame
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return BeatFrame{}, fmt.Errorf("%w: beat frame: %w", ErrMalformed, err)
	}
	if len(m.Fingerprints) > MaxTopics || len(m.Unknown) > MaxFrameBeats {
		return BeatFrame{}, fmt.Errorf("%w: %d fingerprints, %d unknown anchors", ErrTooLarge, len(m.Fingerprints), len(m.Unknown))
	}
	f := BeatFrame{Fingerprints: m.Fingerprints, Unknown: m.Unknown, Beats: make([]Beat, len(m.Beats))}
	if m.Hello != nil {
		f.Hello = &BeatHello{}
		if err := fill(f.Hello.Salt[:], m.Hello.Salt, "salt"); err != nil {
			return BeatFrame{}, err
		}
		for _, t := range m.Hello.Topics {
			topic, err := topicFromPB(t)
			if err != nil {
				return BeatFrame{}, err
			}
			f.Hello.Topics = append(f.Hello.Topics, topic)
		}
	}
	if m.Digest != nil {
		signed := signedFromPB(m.Digest)
		f.Digest = &signed
	}
	for i, beat := range m.Beats {
		var err error
		if f.Beats[i], err = beatFromPB(beat); err != nil {
			return BeatFrame{}, err
		}
	}
	if err := f.takeProbes(&m); err != nil {
		return BeatFrame{}, err
	}
	return f, nil
}

// takeProbes decodes the probes and answers of m.
func (f *BeatFrame) takeProbes(m *pb.BeatFrame) error {
	for _, p := range m.Probes {
		probe := BeatProbe{Anchor: p.Anchor, Index: p.Index}
		if err := fill(probe.Owner[:], p.Owner, "owner of a probe"); err != nil {
			return err
		}
		if p.Index > MaxBeats {
			return fmt.Errorf("%w: probe after beat %d", ErrMalformed, p.Index)
		}
		f.Probes = append(f.Probes, probe)
	}
	for _, a := range m.Answers {
		answer := BeatAnswer{Reached: a.Reached}
		if err := fill(answer.Owner[:], a.Owner, "owner of an answer"); err != nil {
			return err
		}
		f.Answers = append(f.Answers, answer)
	}
	return nil
}

// beatToPB is nil for nil.
func beatToPB(b *Beat) *pb.Beat {
	if b == nil {
		return nil
	}
	return &pb.Beat{Anchor: b.Anchor, Index: b.Index, Preimage: b.Preimage[:]}
}

func beatFromPB(m *pb.Beat) (Beat, error) {
	b := Beat{Anchor: m.Anchor, Index: m.Index}
	return b, fill(b.Preimage[:], m.Preimage, "preimage")
}

func limitBeatFrame(b []byte) error {
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, the limit is %d", ErrTooLarge, len(b), MaxFrame)
	}
	if err := limitList(b, MaxTopics, beatHello, insideList); err != nil {
		return err
	}
	if err := limitMessages(b, MaxFrameBeats, beatBeats); err != nil {
		return err
	}
	if err := limitMessages(b, MaxFrameProbes, beatProbes); err != nil {
		return err
	}
	return limitMessages(b, MaxFrameProbes, beatAnswers)
}
