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
	return f, nil
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
	return limitMessages(b, MaxFrameBeats, beatBeats)
}
