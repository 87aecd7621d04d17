package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// An export is NDJSON: an ExportHead, one ExportedOwner a line, an ExportEnd. These name the forms of the lines. Another form
// gets another name.
const (
	ExportSchema    = "p2pnode.export/v1"
	UpdateSchema    = "p2pnode.update/v1"
	ExportEndSchema = "p2pnode.export-end/v1"
)

// MaxExportLine bounds a line of an export, in bytes without its end. The longest that a node writes has 2 MiB: an owner at
// its limits, as base64.
const MaxExportLine = 4 << 20

// maxEndLine bounds the last line of an export, so that long ones need not be looked through for what they are.
const maxEndLine = 1 << 10

// ExportHead is the first line of an export.
type ExportHead struct {
	Schema   string `json:"schema"` // ExportSchema
	Network  string `json:"network"`
	Topic    string `json:"topic"`    // the one asked for, "": all
	Prefix   string `json:"prefix"`   // the one asked for
	Node     string `json:"node"`     // peer id of who made it
	Exported string `json:"exported"` // when, RFC 3339
}

// ExportedOwner is one line of an export: the whole state of one owner on one topic, as the owner signed it. It can be
// checked by itself, see Open.
type ExportedOwner struct {
	Schema     string   `json:"schema"` // UpdateSchema
	Network    string   `json:"network"`
	Topic      string   `json:"topic"`
	Owner      string   `json:"owner"`      // peer id
	Generation Uint64   `json:"generation"` // of the digest
	Version    Uint64   `json:"version"`    // of the digest
	Heard      Uint64   `json:"heard"`      // unix ms of the last proof of life, as the exporting node knew it; not signed; 0: none
	Updates    [][]byte `json:"updates"`    // base64; Updates of the protocol from 0, parts of one snapshot in order
}

// ExportEnd is the last line of an export: without it the end is missing.
type ExportEnd struct {
	Schema string `json:"schema"` // ExportEndSchema
	Owners Uint64 `json:"owners"` // lines between head and end
}

// exportedOwner writes s down.
func exportedOwner(network string, s *replica.Snapshot) ExportedOwner {
	d := s.Digest()
	o := ExportedOwner{
		Schema: UpdateSchema, Network: network, Topic: s.Topic(), Owner: text(s.Owner()), Generation: Uint64(d.Generation),
		Version: Uint64(d.Version), Updates: s.Updates(),
	}
	if heard := s.Heard(); !heard.IsZero() {
		o.Heard = Uint64(max(0, heard.UnixMilli()))
	}
	return o
}

// Open checks that the owner which o names signed exactly this state, for the network and topic that o names. It asks nobody.
func (o *ExportedOwner) Open() (*replica.Snapshot, error) {
	if o.Schema != UpdateSchema {
		return nil, fmt.Errorf("schema: %q is not %s", clip(o.Schema), UpdateSchema)
	}
	s, err := replica.OpenSnapshot(o.Network, o.Topic, o.Updates, unixMilli(o.Heard))
	if err != nil {
		return nil, err
	}
	d := s.Digest()
	switch {
	case text(s.Owner()) != o.Owner:
		return nil, fmt.Errorf("owner: it is signed by %s, not by %q", s.Owner(), clip(o.Owner))
	case Uint64(d.Generation) != o.Generation:
		return nil, fmt.Errorf("generation: the digest has %d, not %s", d.Generation, o.Generation)
	case Uint64(d.Version) != o.Version:
		return nil, fmt.Errorf("version: the digest has %d, not %s", d.Version, o.Version)
	}
	return s, nil
}

// exportStart is how a document begins that is an export or some lines of one.
var exportStart = regexp.MustCompile(`^\s*\{\s*"schema"\s*:\s*"p2pnode\.(export|update|export-end)/`)

// exportStartLen is enough of a document to see by exportStart what it is.
const exportStartLen = 256

// IsExport reports whether in, whose next bytes it peeks at, is an export rather than a Proof or something else. in must
// buffer at least 256 bytes.
func IsExport(in *bufio.Reader) bool {
	start, _ := in.Peek(exportStartLen) // an error is met again by who reads on
	return exportStart.Match(start)
}

// LineError says what is wrong with one line of an export. Reading goes on behind it, unless Fatal.
type LineError struct {
	Line  int // from 1
	Err   error
	Fatal bool // what follows can't be told apart, or has no meaning
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// ExportReader reads an export line by line, one in memory at a time.
type ExportReader struct {
	Head ExportHead // of the first line, once NewExportReader has returned
	in   *bufio.Reader
	line int
	buf  []byte
	n    int  // owners so far, bad ones included
	end  bool // the last line was read
}

// NewExportReader reads the head. Errors: *LineError, always Fatal, and those of in.
func NewExportReader(in io.Reader) (*ExportReader, error) {
	r := &ExportReader{in: bufio.NewReaderSize(in, 64<<10)}
	line, err := r.read()
	if errors.Is(err, io.EOF) {
		return nil, r.fatal(errors.New("the file is empty"))
	}
	if err != nil {
		return nil, err
	}
	h := &r.Head
	err = readObject(line, map[string]any{
		"schema": &h.Schema, "network": &h.Network, "topic": &h.Topic, "prefix": &h.Prefix, "node": &h.Node, "exported": &h.Exported,
	})
	if schema := schemaOf(line); schema != ExportSchema {
		err = fmt.Errorf("no head of an export: schema %q is not %s", clip(schema), ExportSchema)
	}
	if err != nil {
		return nil, r.fatal(err)
	}
	return r, nil
}

// schemaOf is the schema that a line names, "" when it names none.
func schemaOf(line []byte) string {
	var named struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal(line, &named) != nil {
		return ""
	}
	return named.Schema
}

// Line is the number of the line read last, from 1.
func (r *ExportReader) Line() int { return r.line }

// Next gives the next owner, checked. It returns io.EOF behind the last line of a whole export. Errors: *LineError, after
// which Next may be called again unless it is Fatal, and those of the reader.
func (r *ExportReader) Next() (*replica.Snapshot, error) {
	line, err := r.read()
	if errors.Is(err, io.EOF) {
		if !r.end {
			return nil, r.fatal(errors.New("the end of the file is missing: export again, or use what is there"))
		}
		return nil, io.EOF
	}
	if err != nil {
		return nil, err
	}
	switch {
	case r.end:
		return nil, r.fatal(errors.New("follows the last line of the export"))
	case len(line) < maxEndLine && schemaOf(line) == ExportEndSchema:
		return nil, r.finish(line)
	}
	r.n++
	s, err := openLine(line, r.Head.Network)
	if err != nil {
		return nil, &LineError{Line: r.line, Err: err}
	}
	return s, nil
}

func openLine(line []byte, network string) (*replica.Snapshot, error) {
	var o ExportedOwner
	err := readObject(line, map[string]any{
		"schema": &o.Schema, "network": &o.Network, "topic": &o.Topic, "owner": &o.Owner, "generation": &o.Generation,
		"version": &o.Version, "heard": &o.Heard, "updates": (*parts)(&o.Updates),
	})
	switch {
	case err != nil:
		return nil, err
	case o.Network != network:
		return nil, fmt.Errorf("network: %q is not that of the first line, %q", clip(o.Network), clip(network))
	}
	return o.Open()
}

// parts are the updates of one owner.
type parts [][]byte

// finish reads the last line and looks that there is nothing behind it.
func (r *ExportReader) finish(line []byte) error {
	var e ExportEnd
	if err := readObject(line, map[string]any{"schema": &e.Schema, "owners": &e.Owners}); err != nil {
		return r.fatal(err)
	}
	if r.end = true; e.Owners != Uint64(r.n) {
		return &LineError{Line: r.line, Err: fmt.Errorf("the export had %s owners, %d are there: lines are missing or were added", e.Owners, r.n)}
	}
	_, err := r.Next()
	return err
}

func (r *ExportReader) fatal(err error) error {
	return &LineError{Line: max(1, r.line), Err: err, Fatal: true}
}

// read gives the next line without its end. The memory is used again.
func (r *ExportReader) read() ([]byte, error) {
	r.buf = r.buf[:0]
	for {
		piece, err := r.in.ReadSlice('\n')
		if len(r.buf) == 0 && len(piece) == 0 && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if len(r.buf) == 0 {
			r.line++
		}
		if len(r.buf)+len(piece) > MaxExportLine+1 {
			return nil, r.fatal(fmt.Errorf("is longer than %d MiB", MaxExportLine>>20))
		}
		r.buf = append(r.buf, piece...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(r.buf[:len(r.buf)-1], []byte("\r")), nil
		case errors.Is(err, io.EOF) && json.Valid(r.buf): // an editor took the last line end away
			return r.buf, nil
		case errors.Is(err, io.EOF):
			return nil, r.fatal(errors.New("ends too early: the file was cut; export again, or use the lines before it"))
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// exportWriter writes the lines of an export.
type exportWriter struct {
	out    io.Writer
	owners int
}

func (w *exportWriter) line(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := w.out.Write(b.Bytes())
	return err
}

func (w *exportWriter) owner(network string, s *replica.Snapshot) error {
	w.owners++
	return w.line(exportedOwner(network, s))
}

func (w *exportWriter) end() error {
	return w.line(ExportEnd{Schema: ExportEndSchema, Owners: Uint64(w.owners)})
}

// exportHead is the first line of an export that network's node makes now.
func exportHead(network, self string, o replica.ExportOptions, now time.Time) ExportHead {
	return ExportHead{
		Schema: ExportSchema, Network: network, Topic: o.Topic, Prefix: o.Prefix, Node: self, Exported: now.UTC().Format(timeLayout),
	}
}
