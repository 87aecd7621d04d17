package wire_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// The forms in which vectors.json states what a message holds.

type expect struct {
	Digest       *digestJSON    `json:"digest,omitempty"`
	Signed       *signedJSON    `json:"signed,omitempty"`
	SigningBytes string         `json:"signing_bytes,omitempty"`
	Entry        *entryJSON     `json:"entry,omitempty"`
	Root         *rootJSON      `json:"root,omitempty"`
	Update       *updateJSON    `json:"update,omitempty"`
	SyncFrame    *syncFrameJSON `json:"sync_frame,omitempty"`
	BeatFrame    *beatFrameJSON `json:"beat_frame,omitempty"`
	Beat         *beatJSON      `json:"beat,omitempty"`
}

type digestJSON struct {
	Owner          string `json:"owner"`
	Generation     uint64 `json:"generation,string"`
	Version        uint64 `json:"version,string"`
	Floor          uint64 `json:"floor,string"`
	Root           string `json:"root"`
	Entries        uint32 `json:"entries"`
	Bytes          uint64 `json:"bytes,string"`
	Status         string `json:"status"`
	BeatAnchor     string `json:"beat_anchor,omitempty"`
	BeatT0         uint64 `json:"beat_t0,string,omitempty"`
	BeatIntervalMS int64  `json:"beat_interval_ms,omitempty"`
	BeatLength     uint32 `json:"beat_length,omitempty"`
}

type signedJSON struct {
	Digest    string `json:"digest"`
	Signature string `json:"signature"`
}

type entryJSON struct {
	Key         string    `json:"key"`
	Value       valueJSON `json:"value"`
	Version     uint64    `json:"version,string"`
	Clock       uint64    `json:"clock,string"`
	Tombstone   bool      `json:"tombstone,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Written     uint64    `json:"written,string"`
	Expires     uint64    `json:"expires,string"`
	Ext         string    `json:"ext,omitempty"`
	Size        int       `json:"size,omitempty"`
	KeyHash     string    `json:"key_hash,omitempty"`
	Canonical   string    `json:"canonical,omitempty"`
	Leaf        string    `json:"leaf,omitempty"`
}

// valueJSON is the value in hex when it is short; its length and SHA-256 always.
type valueJSON struct {
	Hex    string `json:"hex,omitempty"`
	Length int    `json:"length"`
	SHA256 string `json:"sha256"`
}

type rootJSON struct {
	Entries int    `json:"entries"`
	Bytes   uint64 `json:"bytes,string"`
	Root    string `json:"root"`
}

type updateJSON struct {
	Digest      *digestJSON  `json:"digest"`
	Signed      *signedJSON  `json:"signed"`
	Previous    uint64       `json:"previous,string"`
	Entries     []*entryJSON `json:"entries,omitempty"`
	More        bool         `json:"more,omitempty"`
	RootMatches bool         `json:"root_matches,omitempty"` // a whole snapshot: the entries make the digest's root
}

type syncFrameJSON struct {
	Hello  *helloJSON      `json:"hello,omitempty"`
	Items  *itemsJSON      `json:"items,omitempty"`
	Wants  *wantsJSON      `json:"wants,omitempty"`
	Update *syncUpdateJSON `json:"update,omitempty"`
	Ask    *askJSON        `json:"ask,omitempty"`
	Cells  *rowJSON        `json:"cells,omitempty"`
	Hashes *rowJSON        `json:"hashes,omitempty"`
	Done   bool            `json:"done,omitempty"`
	More   bool            `json:"more,omitempty"`
}

type askJSON struct {
	Topic string `json:"topic"`
	Cells uint32 `json:"cells"`
}

// rowJSON is a row of cells or hashes.
type rowJSON struct {
	Hex string `json:"hex"`
}

type helloJSON struct {
	Salt   string        `json:"salt"`
	Topics []summaryJSON `json:"topics,omitempty"`

	Forgotten *forgottenJSON `json:"forgotten,omitempty"`
}

type forgottenJSON struct {
	Generation uint64 `json:"generation,string"`
	Version    uint64 `json:"version,string"`
}

type summaryJSON struct {
	Topic       string `json:"topic"`
	Owners      uint64 `json:"owners,string"`
	Fingerprint uint64 `json:"fingerprint,string"`
}

type itemsJSON struct {
	Topic string     `json:"topic"`
	Items []itemJSON `json:"items,omitempty"`
	More  bool       `json:"more,omitempty"`

	Partial bool   `json:"partial,omitempty"`
	Hashes  string `json:"hashes,omitempty"`
}

type itemJSON struct {
	Owner      string `json:"owner"`
	Generation uint64 `json:"generation,string"`
	Version    uint64 `json:"version,string"`
	Root       string `json:"root,omitempty"`

	Staged *cursorJSON `json:"staged,omitempty"`
}

type cursorJSON struct {
	Generation uint64 `json:"generation,string"`
	Previous   uint64 `json:"previous,string"`
	Floor      uint64 `json:"floor,string"`
	Version    uint64 `json:"version,string"`
	Key        string `json:"key"`
	Newest     uint64 `json:"newest,string"`
}

type wantsJSON struct {
	Topic   string     `json:"topic"`
	Wants   []itemJSON `json:"wants,omitempty"`
	Digests bool       `json:"digests,omitempty"`
}

type syncUpdateJSON struct {
	Topic  string      `json:"topic"`
	Update *updateJSON `json:"update"`
	AgeMS  int64       `json:"age_ms,string"`
	Beat   *beatJSON   `json:"beat,omitempty"`
}

type beatFrameJSON struct {
	Hello        *beatHelloJSON `json:"hello,omitempty"`
	Digest       *signedJSON    `json:"digest,omitempty"`
	Beats        []*beatJSON    `json:"beats,omitempty"`
	Fingerprints []string       `json:"fingerprints,omitempty"` // decimal
	Unknown      []uint32       `json:"unknown,omitempty"`
	Probes       []probeJSON    `json:"probes,omitempty"`
	Answers      []answerJSON   `json:"answers,omitempty"`
}

type probeJSON struct {
	Owner  string `json:"owner"`
	Anchor uint32 `json:"anchor"`
	Index  uint32 `json:"index"`
}

type answerJSON struct {
	Owner   string `json:"owner"`
	Reached bool   `json:"reached"`
}

type beatHelloJSON struct {
	Salt   string   `json:"salt"`
	Topics []string `json:"topics,omitempty"`
}

type beatJSON struct {
	Anchor   uint32 `json:"anchor"`
	Index    uint32 `json:"index"`
	Preimage string `json:"preimage"`
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func digestOf(d *wire.Digest) *digestJSON {
	j := &digestJSON{
		Owner: hexOf(d.Owner[:]), Generation: uint64(d.Generation), Version: uint64(d.Version), Floor: uint64(d.Floor),
		Root: hexOf(d.Root[:]), Entries: d.Entries, Bytes: d.Bytes, Status: d.Status.String(),
		BeatT0: d.BeatT0, BeatIntervalMS: d.BeatInterval.Milliseconds(), BeatLength: d.BeatLength,
	}
	if d.BeatAnchor != (wire.Anchor{}) {
		j.BeatAnchor = hexOf(d.BeatAnchor[:])
	}
	return j
}

func signedOf(s *wire.SignedDigest) *signedJSON {
	return &signedJSON{Digest: hexOf(s.Digest), Signature: hexOf(s.Signature)}
}

func entryOf(e *wire.Entry) *entryJSON {
	return &entryJSON{
		Key: e.Key, Value: valueOf(e.Value), Version: uint64(e.Version), Clock: uint64(e.Clock), Tombstone: e.Tombstone,
		ContentType: e.ContentType, Written: e.Written, Expires: e.Expires, Ext: hexOf(e.Ext),
	}
}

func valueOf(b []byte) valueJSON {
	sum := sha256.Sum256(b)
	j := valueJSON{Length: len(b), SHA256: hexOf(sum[:])}
	if len(b) <= 1024 {
		j.Hex = hexOf(b)
	}
	return j
}

func updateOf(u *wire.Update) *updateJSON {
	j := &updateJSON{Digest: digestOf(&u.Digest), Signed: signedOf(&u.Signed), Previous: uint64(u.Previous), More: u.More}
	for i := range u.Entries {
		j.Entries = append(j.Entries, entryOf(&u.Entries[i]))
	}
	return j
}

func syncFrameOf(f *wire.SyncFrame) *syncFrameJSON {
	j := &syncFrameJSON{Done: f.Done, More: f.More}
	if h := f.Hello; h != nil {
		j.Hello = &helloJSON{Salt: hexOf(h.Salt[:])}
		for _, s := range h.Topics {
			j.Hello.Topics = append(j.Hello.Topics, summaryJSON{Topic: s.Topic, Owners: s.Owners, Fingerprint: s.Fingerprint})
		}
		if h.Forgotten != nil {
			j.Hello.Forgotten = &forgottenJSON{Generation: uint64(h.Forgotten.Generation), Version: uint64(h.Forgotten.Version)}
		}
	}
	if l := f.Items; l != nil {
		j.Items = &itemsJSON{Topic: l.Topic, More: l.More, Partial: l.Partial, Hashes: hexOf(l.Hashes)}
		for _, it := range l.Items {
			j.Items.Items = append(j.Items.Items, itemJSON{
				Owner: hexOf(it.Owner[:]), Generation: uint64(it.Generation), Version: uint64(it.Version), Root: hexOf(it.Root[:]),
			})
		}
	}
	if l := f.Wants; l != nil {
		j.Wants = &wantsJSON{Topic: l.Topic, Digests: l.Digests}
		for _, w := range l.Wants {
			j.Wants.Wants = append(j.Wants.Wants, wantOf(&w))
		}
	}
	if u := f.Update; u != nil {
		j.Update = &syncUpdateJSON{Topic: u.Topic, Update: updateOf(&u.Update), AgeMS: u.Age.Milliseconds()}
		if u.Beat != nil {
			j.Update.Beat = beatOf(u.Beat)
		}
	}
	if f.Ask != nil {
		j.Ask = &askJSON{Topic: f.Ask.Topic, Cells: f.Ask.Cells}
	}
	if f.Cells != nil {
		j.Cells = &rowJSON{hexOf(f.Cells.Cells)}
	}
	if f.Hashes != nil {
		j.Hashes = &rowJSON{hexOf(f.Hashes.Hashes)}
	}
	return j
}

func wantOf(w *wire.Want) itemJSON {
	j := itemJSON{Owner: hexOf(w.Owner[:]), Generation: uint64(w.Generation), Version: uint64(w.Version)}
	if c := w.Staged; c != nil {
		j.Staged = &cursorJSON{
			Generation: uint64(c.Generation), Previous: uint64(c.Previous), Floor: uint64(c.Floor), Version: uint64(c.Version), Key: c.Key,
			Newest: uint64(c.Newest),
		}
	}
	return j
}

func beatFrameOf(f *wire.BeatFrame) *beatFrameJSON {
	j := &beatFrameJSON{Unknown: f.Unknown}
	if f.Hello != nil {
		j.Hello = &beatHelloJSON{Salt: hexOf(f.Hello.Salt[:]), Topics: f.Hello.Topics}
	}
	if f.Digest != nil {
		j.Digest = signedOf(f.Digest)
	}
	for i := range f.Beats {
		j.Beats = append(j.Beats, beatOf(&f.Beats[i]))
	}
	for _, p := range f.Fingerprints {
		j.Fingerprints = append(j.Fingerprints, strconv.FormatUint(p, 10))
	}
	for i := range f.Probes {
		p := &f.Probes[i]
		j.Probes = append(j.Probes, probeJSON{hexOf(p.Owner[:]), p.Anchor, p.Index})
	}
	for i := range f.Answers {
		j.Answers = append(j.Answers, answerJSON{hexOf(f.Answers[i].Owner[:]), f.Answers[i].Reached})
	}
	return j
}

func beatOf(b *wire.Beat) *beatJSON {
	return &beatJSON{Anchor: b.Anchor, Index: b.Index, Preimage: hexOf(b.Preimage[:])}
}

// readEntries takes apart a list of entries, each framed as in an Update.
func readEntries(b []byte) ([]wire.Entry, error) {
	var entries []wire.Entry
	for len(b) > 0 {
		_, _, tag := protowire.ConsumeTag(b)
		element, n := protowire.ConsumeBytes(b[max(tag, 0):])
		if tag < 0 || n < 0 {
			return nil, wire.ErrMalformed
		}
		e, err := wire.UnmarshalEntry(element)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		b = b[tag+n:]
	}
	return entries, nil
}
