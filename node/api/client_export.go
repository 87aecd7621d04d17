package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Export writes an export to out: the state of every owner that has a key under prefix, of all for "", on the client's topic,
// on all for "". What is written ends with its last line unless there is an error. Errors of out come back wrapped.
func (c *Client) Export(ctx context.Context, prefix string, out io.Writer) error {
	req, err := c.request(ctx, http.MethodGet, "/v1/export", c.params("prefix", prefix), nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sink := &tail{out: out}
	if _, err := io.Copy(sink, resp.Body); err != nil {
		if sink.err != nil {
			return fmt.Errorf("writing the export: %w", sink.err)
		}
		return c.failed(req, err)
	}
	if !sink.ended() {
		return c.failed(req, errStreamEnded)
	}
	return nil
}

// tail passes on what is written and remembers its end.
type tail struct {
	out  io.Writer
	last []byte
	err  error // of out
}

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-exportStartLen):]...)
	t.last = t.last[max(0, len(t.last)-exportStartLen):]
	var n int
	n, t.err = t.out.Write(p)
	return n, t.err
}

// ended reports whether the last line is that of an export.
func (t *tail) ended() bool {
	line := lastLine(t.last)
	return schemaOf(line) == ExportEndSchema
}

func lastLine(text []byte) []byte {
	text = bytes.TrimSuffix(text, []byte("\n"))
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// Import sends an export to the node, which takes in what holds. With dryRun nothing changes. An export that is none, or of
// another network, is an *Error with the code bad-export; lines that do not hold are in the report. Errors of in come back
// wrapped.
func (c *Client) Import(ctx context.Context, in io.Reader, dryRun bool) (ImportReport, error) {
	query := params()
	if dryRun {
		query.Set("dry_run", "true")
	}
	req, err := c.request(ctx, http.MethodPost, "/v1/import", query, nil)
	if err != nil {
		return ImportReport{}, err
	}
	source := &source{in: in}
	req.Body, req.ContentLength, req.GetBody = io.NopCloser(source), -1, nil
	req.Header.Set("Content-Type", ndjson)
	report, err := do[ImportReport](c, req)
	if failed := source.failed(); err != nil && failed != nil {
		return ImportReport{}, fmt.Errorf("reading the export: %w", failed)
	}
	return report, err
}

// source remembers why in could not be read. The transport may read on after the answer.
type source struct {
	in  io.Reader
	mu  sync.Mutex
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
	}
	return n, err
}

func (s *source) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
