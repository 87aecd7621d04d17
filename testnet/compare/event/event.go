// Package event is how an agent of the comparison tells its runner what it sees: one line of JSON an event on standard
// output,
//
//	{"see":"alive","node":"n3"}
//	{"see":"dead","node":"n3"}
//
// in the order in which its library reported them. No time is in it: the runner takes the time when it reads the line, for
// every contender alike.
package event

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// See is what a node thinks of another one.
type See string

// What a node may see. Not every contender tells of every one: those that follow SWIM do not report suspicions.
const (
	Alive   See = "alive"
	Suspect See = "suspect"
	Dead    See = "dead" // by its own verdict or another's, but not by the node's own word
	Left    See = "left" // by the node's own word
)

// Event says that the sender now sees Node, the name of a node, itself included, as See.
type Event struct {
	See  See    `json:"see"`
	Node string `json:"node"`
}

// maxLine bounds a line in bytes; names are short.
const maxLine = 4096

// Writer writes events. It may be used concurrently. Make it with NewWriter.
type Writer struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// NewWriter returns a Writer to w, which sees one Write an event.
func NewWriter(w io.Writer) *Writer { return &Writer{enc: json.NewEncoder(w)} }

// Tell writes one event.
func (w *Writer) Tell(see See, node string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.enc.Encode(Event{See: see, Node: node})
}

// Read calls each for every event of r, until r ends, which is no error.
func Read(r io.Reader, each func(Event)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("event %q: %w", lines.Text(), err)
		}
		switch e.See {
		case Alive, Suspect, Dead, Left:
		default:
			return fmt.Errorf("event %q: unknown", lines.Text())
		}
		each(e)
	}
	return lines.Err()
}
