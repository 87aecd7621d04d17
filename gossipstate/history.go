package gossipstate

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
)

const (
	// DefaultHistoryPerKey is how many superseded values of one key a History keeps by default.
	DefaultHistoryPerKey = 8
	// DefaultHistoryBytes bounds a History by default, in bytes. A guess: the values of a busy day of settings.
	DefaultHistoryBytes = 4 << 20
	// historyOverhead is what one remembered value is reckoned at beside Entry.Size, in bytes: the entry, its place in two
	// lists, and its share of the map. Measured: 318 with four values of 32 bytes a key.
	historyOverhead = 320
)

// History remembers, in memory alone, the values that were replaced, deleted or lost while it looked on: it is fed the Events
// of a State. It is bounded twice, by count for each key and by bytes in all, and drops the oldest first. Keys under
// WorkPrefix and the topic Members are not remembered: they change all the time and nobody goes back to them. Not safe for
// concurrent use.
type History struct {
	topic    string
	perKey   int
	maxBytes int
	bytes    int
	dropped  uint64 // of all keys, for want of room
	keys     map[historyKey]*keyHistory
	order    *list.List // of *remembered, oldest first
}

// historyKey is what has one history: a shared key, or the key of one owner.
type historyKey struct {
	owner ID // zero for shared keys
	key   string
}

type keyHistory struct {
	past []*list.Element // oldest first
	cut  bool            // older ones were dropped
}

type remembered struct {
	key historyKey
	rec Record
}

// NewHistory remembers at most perKey values of each key of topic, and at most maxBytes in all, each value reckoned at its
// Entry.Size and 320 bytes. With 0 of either it remembers nothing.
func NewHistory(topic string, perKey, maxBytes int) *History {
	return &History{topic: topic, perKey: perKey, maxBytes: maxBytes, keys: map[historyKey]*keyHistory{}, order: list.New()}
}

func (h *History) keyOf(owner ID, key string) historyKey {
	if Shared(h.topic, key) {
		return historyKey{key: key}
	}
	return historyKey{owner, key}
}

// Take remembers what events of the topic replaced. What is there already is not remembered twice.
func (h *History) Take(events []Event) {
	for i := range events {
		e := &events[i]
		if e.Old.Live() && h.topic != Members && !strings.HasPrefix(e.Key, WorkPrefix) {
			h.add(h.keyOf(e.Old.Owner, e.Key), e.Old)
		}
	}
}

func (h *History) add(key historyKey, rec Record) {
	size := historySize(rec)
	if h.perKey <= 0 || size > h.maxBytes {
		h.dropped++
		return
	}
	k := h.keys[key]
	if k == nil {
		k = &keyHistory{cut: h.dropped > 0} // it may have been dropped altogether before
		h.keys[key] = k
	}
	for _, el := range k.past {
		if sameValue(el.Value.(*remembered).rec, rec) {
			return
		}
	}
	e := *rec.Entry // what the copy of the owner had it in would be kept with it
	k.past = append(k.past, h.order.PushBack(&remembered{key, Record{rec.Owner, &e}}))
	h.bytes += size
	if len(k.past) > h.perKey {
		k.cut = true
		h.drop(k.past[0])
	}
	for h.bytes > h.maxBytes {
		h.dropped++
		h.drop(h.order.Front())
	}
}

// drop forgets the oldest value of its key.
func (h *History) drop(el *list.Element) {
	r := h.order.Remove(el).(*remembered)
	h.bytes -= historySize(r.rec)
	k := h.keys[r.key]
	k.past, k.cut = slices.Delete(k.past, 0, 1), true
	if len(k.past) == 0 {
		delete(h.keys, r.key)
	}
}

func historySize(rec Record) int { return rec.Entry.Size() + historyOverhead }

// sameValue says whether a and b are one write of one owner.
func sameValue(a, b Record) bool {
	return a.Owner == b.Owner && a.Entry.Clock == b.Entry.Clock && a.Entry.Version == b.Entry.Version
}

// Of lists the values of key that are remembered, by falling clock, then falling owner; owner matters for keys that are their
// writer's alone. cut says that there may have been more, which were dropped for want of room.
func (h *History) Of(owner ID, key string) (past []Record, cut bool) {
	k := h.keys[h.keyOf(owner, key)]
	if k == nil {
		return nil, h.dropped > 0
	}
	for _, el := range k.past {
		past = append(past, el.Value.(*remembered).rec)
	}
	sortNewestFirst(past)
	return past, k.cut
}

// Len is how many values are remembered, Bytes what they are reckoned at.
func (h *History) Len() int   { return h.order.Len() }
func (h *History) Bytes() int { return h.bytes }

func sortNewestFirst(records []Record) {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(b.Entry.Clock, a.Entry.Clock), b.Owner.Compare(a.Owner), cmp.Compare(b.Entry.Version, a.Entry.Version))
	})
}

// Versions lists what is known to have stood under key, by falling clock, then falling owner: what stands now, a tombstone
// included, other owners' live entries, which lost, and what h remembers. For a key that is its writer's alone owner says
// whose. cut says that older ones were dropped. h begins empty with the process: what was replaced before is not there.
func (s *State) Versions(h *History, owner ID, key string) (versions []Record, cut bool) {
	now := s.GetOwned(owner, key)
	var held []Record
	if Shared(s.cfg.Domain.Topic, key) {
		now, held = s.Get(key), s.Writers(key)
	}
	past, cut := h.Of(owner, key)
	if now.Entry != nil {
		versions = append(versions, now)
	}
	for _, rec := range slices.Concat(held, past) {
		if rec.Live() && !slices.ContainsFunc(versions, func(v Record) bool { return sameValue(v, rec) }) {
			versions = append(versions, rec)
		}
	}
	sortNewestFirst(versions)
	return versions, cut
}
