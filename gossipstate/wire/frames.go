package wire

import (
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire/pb"
)

// Limits of what one stream frame may list; each is checked before the list is decoded.
const (
	MaxTopics     = 64   // topics in a hello
	MaxFrameItems = 2048 // items or wants in one frame: 2,048 items are 180 KiB
	MaxFrameBeats = 256  // beats in one frame
)

// Salt is one side's share of the key of a link.
type Salt [16]byte

// SyncFrame is one message on a sync stream: exactly one field is set.
type SyncFrame struct {
	Hello  *SyncHello
	Items  *SyncItems
	Wants  *SyncWants
	Update *SyncUpdate
	Done   bool
}

// SyncHello opens a sync and answers it. The answer carries the fingerprints.
type SyncHello struct {
	Salt   Salt
	Topics []SyncSummary
}

// SyncSummary sums up what its sender holds of one topic.
type SyncSummary struct {
	Topic       string
	Owners      uint64
	Fingerprint uint64 // keyed by both salts; 0 in the opening hello
}

// SyncItems lists what its sender holds of one topic, sorted by owner. More: another such frame follows.
type SyncItems struct {
	Topic string
	Items []Item
	More  bool
}

// Item is one element of the set that two replicas reconcile: an owner's digest without its signature.
type Item struct {
	Owner      ID
	Generation Generation
	Version    Version
	Root       Root
}

// SyncWants asks for updates, or with Digests for the items of the owners it names.
type SyncWants struct {
	Topic   string
	Wants   []Want
	Digests bool
}

// Want asks for what is newer than Version of Generation; 0 and 0 when the sender holds nothing of Owner.
type Want struct {
	Owner      ID
	Generation Generation
	Version    Version
}

// SyncUpdate carries one update, and how long ago its sender had proof that the owner lives.
type SyncUpdate struct {
	Topic  string
	Update Update
	Age    time.Duration // whole ms
}

// MarshalSyncFrame encodes f.
func MarshalSyncFrame(f *SyncFrame) []byte {
	m := &pb.SyncFrame{}
	switch {
	case f.Hello != nil:
		m.Hello = &pb.SyncHello{Salt: f.Hello.Salt[:]}
		for _, t := range f.Hello.Topics {
			m.Hello.Topics = append(m.Hello.Topics, &pb.SyncSummary{Topic: []byte(t.Topic), Owners: t.Owners, Fingerprint: t.Fingerprint})
		}
	case f.Items != nil:
		m.Items = &pb.SyncItems{Topic: []byte(f.Items.Topic), More: f.Items.More}
		for _, it := range f.Items.Items {
			m.Items.Items = append(m.Items.Items, &pb.SyncItem{
				Owner: it.Owner[:], Generation: uint64(it.Generation), Version: uint64(it.Version), Root: it.Root[:],
			})
		}
	case f.Wants != nil:
		m.Wants = &pb.SyncWants{Topic: []byte(f.Wants.Topic), Digests: f.Wants.Digests}
		for _, w := range f.Wants.Wants {
			m.Wants.Wants = append(m.Wants.Wants, &pb.SyncWant{Owner: w.Owner[:], Generation: uint64(w.Generation), Version: uint64(w.Version)})
		}
	case f.Update != nil:
		m.Update = &pb.SyncUpdate{Topic: []byte(f.Update.Topic), Update: updateToPB(&f.Update.Update), Age: uint64(f.Update.Age.Milliseconds())}
	default:
		m.Done = &pb.SyncDone{}
	}
	return marshal(m)
}

// UnmarshalSyncFrame decodes one frame. Updates in it are unverified. Errors wrap ErrMalformed or ErrTooLarge.
func UnmarshalSyncFrame(b []byte) (SyncFrame, error) {
	if err := limitSyncFrame(b); err != nil {
		return SyncFrame{}, err
	}
	var m pb.SyncFrame
	if err := m.UnmarshalVTUnsafe(b); err != nil {
		return SyncFrame{}, fmt.Errorf("%w: sync frame: %w", ErrMalformed, err)
	}
	if n := countSet(m.Hello != nil, m.Items != nil, m.Wants != nil, m.Update != nil, m.Done != nil); n != 1 {
		return SyncFrame{}, fmt.Errorf("%w: sync frame with %d bodies", ErrMalformed, n)
	}
	var f SyncFrame
	var err error
	switch {
	case m.Hello != nil:
		f.Hello, err = helloFromPB(m.Hello)
	case m.Items != nil:
		f.Items, err = itemsFromPB(m.Items)
	case m.Wants != nil:
		f.Wants, err = wantsFromPB(m.Wants)
	case m.Update != nil:
		f.Update, err = syncUpdateFromPB(m.Update)
	default:
		f.Done = true
	}
	return f, err
}

func limitSyncFrame(b []byte) error {
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, the limit is %d", ErrTooLarge, len(b), MaxFrame)
	}
	if err := limitMessages(b, MaxTopics, frameHello, insideList); err != nil {
		return err
	}
	if err := limitMessages(b, MaxFrameItems, frameItems, insideList); err != nil {
		return err
	}
	if err := limitMessages(b, MaxFrameItems, frameWants, insideList); err != nil {
		return err
	}
	if err := limitMessages(b, MaxEntries, frameUpdate, insideList, updateSigned); err != nil {
		return err
	}
	return limitMessages(b, MaxEntries, frameUpdate, insideList, updateEntries)
}

func countSet(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

func helloFromPB(m *pb.SyncHello) (*SyncHello, error) {
	h := &SyncHello{Topics: make([]SyncSummary, len(m.Topics))}
	if err := fill(h.Salt[:], m.Salt, "salt"); err != nil {
		return nil, err
	}
	for i, t := range m.Topics {
		topic, err := topicFromPB(t.Topic)
		if err != nil {
			return nil, err
		}
		h.Topics[i] = SyncSummary{Topic: topic, Owners: t.Owners, Fingerprint: t.Fingerprint}
	}
	return h, nil
}

func itemsFromPB(m *pb.SyncItems) (*SyncItems, error) {
	topic, err := topicFromPB(m.Topic)
	if err != nil {
		return nil, err
	}
	s := &SyncItems{Topic: topic, Items: make([]Item, len(m.Items)), More: m.More}
	for i, it := range m.Items {
		s.Items[i] = Item{Generation: Generation(it.Generation), Version: Version(it.Version)}
		if err := fill(s.Items[i].Owner[:], it.Owner, "owner"); err != nil {
			return nil, err
		}
		if err := fill(s.Items[i].Root[:], it.Root, "root"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func wantsFromPB(m *pb.SyncWants) (*SyncWants, error) {
	topic, err := topicFromPB(m.Topic)
	if err != nil {
		return nil, err
	}
	s := &SyncWants{Topic: topic, Wants: make([]Want, len(m.Wants)), Digests: m.Digests}
	for i, w := range m.Wants {
		s.Wants[i] = Want{Generation: Generation(w.Generation), Version: Version(w.Version)}
		if err := fill(s.Wants[i].Owner[:], w.Owner, "owner"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func syncUpdateFromPB(m *pb.SyncUpdate) (*SyncUpdate, error) {
	topic, err := topicFromPB(m.Topic)
	if err != nil {
		return nil, err
	}
	if m.Update == nil {
		return nil, fmt.Errorf("%w: sync update without an update", ErrMalformed)
	}
	u, err := updateFromPB(m.Update)
	if err != nil {
		return nil, err
	}
	const maxAge = 365 * 24 * time.Hour // longer ago than anything is kept; guards the multiplication
	age := min(m.Age, uint64(maxAge.Milliseconds()))
	return &SyncUpdate{Topic: topic, Update: u, Age: time.Duration(age) * time.Millisecond}, nil
}

func topicFromPB(b []byte) (string, error) {
	topic := string(b)
	if err := CheckName("topic", topic); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return topic, nil
}

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
		b := &f.Beats[i]
		m.Beats = append(m.Beats, &pb.Beat{Anchor: b.Anchor, Index: b.Index, Preimage: b.Preimage[:]})
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
		f.Beats[i] = Beat{Anchor: beat.Anchor, Index: beat.Index}
		if err := fill(f.Beats[i].Preimage[:], beat.Preimage, "preimage"); err != nil {
			return BeatFrame{}, err
		}
	}
	return f, nil
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
