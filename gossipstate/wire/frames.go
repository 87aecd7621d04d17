package wire

import (
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire/pb"
)

// Limits of what one stream frame may list; each is checked before the list is decoded.
const (
	MaxTopics     = 64   // topics in a hello
	MaxFrameItems = 2048 // items or wants in one frame: 2,048 items are 180 KiB
	MaxFrameBeats = 256  // beats in one frame
	// MaxFrameProbes bounds probes, and answers, in one frame: as many as the members about whom one node ever asks at a time.
	MaxFrameProbes = 64
)

// Sizes of what package reconcile encodes, in bytes.
const (
	CellBytes = 8 + 4 + 1 // of a cell: xor of hashes, xor of checks, count
	HashBytes = 8         // of the hash of an item
)

// Salt is one side's share of the key of a link.
type Salt [16]byte

// SyncFrame is one message on a sync stream: exactly one field is set.
type SyncFrame struct {
	Hello  *SyncHello
	Items  *SyncItems
	Wants  *SyncWants
	Update *SyncUpdate
	Ask    *SyncAsk
	Cells  *SyncCells
	Hashes *SyncHashes
	Done   bool
	More   bool // with Done: not all that was asked for went, the rest is for a new session
}

// SyncHello opens a sync and answers it. The answer carries the fingerprints.
type SyncHello struct {
	Salt      Salt
	Topics    []SyncSummary
	Forgotten *Forgotten // nil: the sender has not forgotten the receiver, or never knew it
}

// Forgotten is the point at which the sender of a hello has forgotten its receiver as an owner: the digest on members that
// it then held.
type Forgotten struct {
	Generation Generation
	Version    Version
}

// SyncSummary sums up what its sender holds of one topic.
type SyncSummary struct {
	Topic       string
	Owners      uint64 // 0..MaxOwners
	Fingerprint uint64 // keyed by both salts; 0 in the opening hello
}

// SyncAsk asks for the next Cells cells of the items that its receiver holds of one topic; 0: for the hashes of all.
type SyncAsk struct {
	Topic string
	Cells uint32
}

// SyncCells answers an ask for cells: see reconcile.EncodeCells.
type SyncCells struct {
	Cells []byte // a multiple of CellBytes, not empty
}

// SyncHashes answers an ask for hashes: see reconcile.EncodeHashes.
type SyncHashes struct {
	Hashes []byte // a multiple of HashBytes
}

// SyncItems lists what its sender holds of one topic, sorted by owner. More: another such frame follows.
//
// With Partial the list is of what its receiver lacks alone, and Hashes, in the last frame, are those of items that the sender
// lacks: see reconcile.EncodeHashes.
type SyncItems struct {
	Topic   string
	Items   []Item
	More    bool
	Partial bool
	Hashes  []byte // a multiple of HashBytes
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
	Staged     *Cursor // how far the sender has an update of Owner in parts; nil: nothing of one
}

// Cursor is how far the parts of an update have come: an answer that makes the same update goes on after it.
type Cursor struct {
	Generation Generation // of the parts, at least 1
	Previous   Version    // of the parts
	Floor      Version    // of the first part's digest
	Version    Version    // of the last entry, above Previous
	Key        string     // of the last entry
	Newest     Version    // of the parts' digests, at least Version
}

// SyncUpdate carries one update, and how long ago its sender had proof that the owner lives.
type SyncUpdate struct {
	Topic  string
	Update Update
	Age    time.Duration // whole ms
	Beat   *Beat         // on members: the newest beat that the sender knows of the owner; nil: none
}

// MarshalSyncFrame encodes f.
func MarshalSyncFrame(f *SyncFrame) []byte { return marshal(syncFrameToPB(f)) }

func syncFrameToPB(f *SyncFrame) *pb.SyncFrame {
	switch {
	case f.Hello != nil:
		return &pb.SyncFrame{Hello: helloToPB(f.Hello)}
	case f.Items != nil:
		return &pb.SyncFrame{Items: itemsToPB(f.Items)}
	case f.Wants != nil:
		return &pb.SyncFrame{Wants: wantsToPB(f.Wants)}
	case f.Update != nil:
		return &pb.SyncFrame{Update: &pb.SyncUpdate{
			Topic: []byte(f.Update.Topic), Update: updateToPB(&f.Update.Update), Age: uint64(f.Update.Age.Milliseconds()),
			Beat: beatToPB(f.Update.Beat),
		}}
	case f.Ask != nil:
		return &pb.SyncFrame{Ask: &pb.SyncAsk{Topic: []byte(f.Ask.Topic), Cells: f.Ask.Cells}}
	case f.Cells != nil:
		return &pb.SyncFrame{Cells: &pb.SyncCells{Cells: f.Cells.Cells}}
	case f.Hashes != nil:
		return &pb.SyncFrame{Hashes: &pb.SyncHashes{Hashes: f.Hashes.Hashes}}
	default:
		return &pb.SyncFrame{Done: &pb.SyncDone{More: f.More}}
	}
}

func helloToPB(h *SyncHello) *pb.SyncHello {
	m := &pb.SyncHello{Salt: h.Salt[:]}
	for _, t := range h.Topics {
		m.Topics = append(m.Topics, &pb.SyncSummary{Topic: []byte(t.Topic), Owners: t.Owners, Fingerprint: t.Fingerprint})
	}
	if g := h.Forgotten; g != nil {
		m.Forgotten = &pb.SyncForgotten{Generation: uint64(g.Generation), Version: uint64(g.Version)}
	}
	return m
}

func itemsToPB(l *SyncItems) *pb.SyncItems {
	m := &pb.SyncItems{Topic: []byte(l.Topic), More: l.More, Partial: l.Partial, Hashes: l.Hashes}
	for _, it := range l.Items {
		m.Items = append(m.Items, &pb.SyncItem{
			Owner: it.Owner[:], Generation: uint64(it.Generation), Version: uint64(it.Version), Root: it.Root[:],
		})
	}
	return m
}

func wantsToPB(l *SyncWants) *pb.SyncWants {
	m := &pb.SyncWants{Topic: []byte(l.Topic), Digests: l.Digests}
	for _, w := range l.Wants {
		want := &pb.SyncWant{Owner: w.Owner[:], Generation: uint64(w.Generation), Version: uint64(w.Version)}
		if c := w.Staged; c != nil {
			want.Staged = &pb.SyncCursor{
				Generation: uint64(c.Generation), Previous: uint64(c.Previous), Floor: uint64(c.Floor), Version: uint64(c.Version),
				Key: []byte(c.Key), Newest: uint64(c.Newest),
			}
		}
		m.Wants = append(m.Wants, want)
	}
	return m
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
	if n := countSet(m.Hello != nil, m.Items != nil, m.Wants != nil, m.Update != nil,
		m.Ask != nil, m.Cells != nil, m.Hashes != nil, m.Done != nil); n != 1 {
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
	case m.Ask != nil:
		f.Ask = &SyncAsk{Cells: m.Ask.Cells}
		f.Ask.Topic, err = topicFromPB(m.Ask.Topic)
	case m.Cells != nil:
		f.Cells = &SyncCells{Cells: own(m.Cells.Cells)}
		err = checkRow(f.Cells.Cells, CellBytes, 1)
	case m.Hashes != nil:
		f.Hashes = &SyncHashes{Hashes: own(m.Hashes.Hashes)}
		err = checkRow(f.Hashes.Hashes, HashBytes, 0)
	default:
		f.Done, f.More = true, m.Done.More
	}
	return f, err
}

// syncLists are the lists of a sync frame, with the most elements of each, and its single messages, which may come in pieces.
var syncLists = []struct {
	limit int
	path  []protowire.Number
}{
	{MaxTopics, []protowire.Number{frameHello, insideList}},
	{MaxFrame, []protowire.Number{frameHello, helloForgotten}},
	{MaxFrameItems, []protowire.Number{frameItems, insideList}},
	{MaxFrameItems, []protowire.Number{frameWants, insideList}},
	{MaxFrame, []protowire.Number{frameWants, insideList, wantStaged}},
	{MaxEntries, []protowire.Number{frameUpdate, insideList, updateSigned}},
	{MaxEntries, []protowire.Number{frameUpdate, insideList, updateEntries}},
	{MaxFrame, []protowire.Number{frameUpdate, updateBeat}},
	{MaxFrame, []protowire.Number{frameDone}},
	{MaxFrame, []protowire.Number{frameAsk}},
	{MaxFrame, []protowire.Number{frameCells}},
	{MaxFrame, []protowire.Number{frameHashes}},
}

func limitSyncFrame(b []byte) error {
	if len(b) > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, the limit is %d", ErrTooLarge, len(b), MaxFrame)
	}
	for _, l := range syncLists {
		if err := limitMessages(b, l.limit, l.path...); err != nil {
			return err
		}
	}
	return nil
}

// checkRow refuses bytes that are not at least least elements of size bytes each.
func checkRow(b []byte, size, least int) error {
	if len(b)%size != 0 || len(b) < least*size {
		return fmt.Errorf("%w: elements of %d bytes in %d", ErrMalformed, size, len(b))
	}
	return nil
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
		if t.Owners > MaxOwners {
			return nil, fmt.Errorf("%w: %d owners, the limit is %d", ErrTooLarge, t.Owners, MaxOwners)
		}
		h.Topics[i] = SyncSummary{Topic: topic, Owners: t.Owners, Fingerprint: t.Fingerprint}
	}
	if g := m.Forgotten; g != nil {
		h.Forgotten = &Forgotten{Generation: Generation(g.Generation), Version: Version(g.Version)}
		if g.Generation == 0 || g.Version == 0 {
			return nil, fmt.Errorf("%w: forgotten at generation %d and version %d", ErrMalformed, g.Generation, g.Version)
		}
	}
	return h, nil
}

func itemsFromPB(m *pb.SyncItems) (*SyncItems, error) {
	topic, err := topicFromPB(m.Topic)
	if err != nil {
		return nil, err
	}
	s := &SyncItems{Topic: topic, Items: make([]Item, len(m.Items)), More: m.More, Partial: m.Partial, Hashes: own(m.Hashes)}
	if err := checkRow(s.Hashes, HashBytes, 0); err != nil {
		return nil, err
	}
	if len(s.Hashes) > 0 && (m.More || !m.Partial) {
		return nil, fmt.Errorf("%w: hashes before the end of a partial list", ErrMalformed)
	}
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
		if w.Staged == nil {
			continue
		}
		if s.Wants[i].Staged, err = cursorFromPB(w.Staged); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func cursorFromPB(m *pb.SyncCursor) (*Cursor, error) {
	c := &Cursor{
		Generation: Generation(m.Generation), Previous: Version(m.Previous), Floor: Version(m.Floor), Version: Version(m.Version),
		Newest: Version(m.Newest),
	}
	switch {
	case len(m.Key) > MaxKey:
		return nil, fmt.Errorf("%w: key of %d bytes, the limit is %d", ErrTooLarge, len(m.Key), MaxKey)
	case len(m.Key) == 0 || !utf8.Valid(m.Key):
		return nil, fmt.Errorf("%w: cursor at no key", ErrMalformed)
	case c.Generation == 0 || c.Version <= c.Previous || c.Newest < c.Version:
		return nil, fmt.Errorf("%w: cursor at generation %d and version %d of %d to %d", ErrMalformed, c.Generation, c.Version, c.Previous, c.Newest)
	}
	c.Key = string(m.Key)
	return c, nil
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
	s := &SyncUpdate{Topic: topic, Update: u, Age: time.Duration(age) * time.Millisecond}
	if m.Beat != nil {
		beat, err := beatFromPB(m.Beat)
		if err != nil {
			return nil, err
		}
		s.Beat = &beat
	}
	return s, nil
}

func topicFromPB(b []byte) (string, error) {
	topic := string(b)
	if err := CheckName("topic", topic); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return topic, nil
}
