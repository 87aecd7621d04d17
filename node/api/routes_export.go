package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

const (
	// maxImportProblems is how many lines an ImportReport tells of; the others are in its counts. A guess: more than anybody
	// reads.
	maxImportProblems = 100
	// maxUnread is how much of a refused body is read for nothing, so that its sender hears why. A node at its limit exports
	// some 350 MiB a topic.
	maxUnread = 1 << 30
)

func (s *Server) registerExport(api huma.API) {
	lines := map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{Type: huma.TypeString, Description: "one JSON object a line"}}}
	export := operation(api, http.MethodGet, "/v1/export", "state-export",
		"Every owner's state as it was signed, one a line between a head and an end: it can be checked without a node")
	export.Responses["200"] = &huma.Response{Description: "p2pnode.export/v1, p2pnode.update/v1 for each owner, p2pnode.export-end/v1", Content: lines}
	huma.Register(api, export, s.export)
	load := operation(api, http.MethodPost, "/v1/import", "state-import",
		"Take in an export: each line is checked and applied as what a peer sends")
	load.RequestBody = &huma.RequestBody{Required: true, Content: lines}
	load.Responses["200"] = &huma.Response{
		Description: "what became of the lines, bad ones included",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: huma.SchemaFromType(api.OpenAPI().Components.Schemas, importReportType),
		}},
	}
	huma.Register(api, load, s.load)
}

type exportInput struct {
	Topic  string `query:"topic" maxLength:"32" doc:"only this state topic, and of members the owners that it has; default: all"`
	Prefix string `query:"prefix" maxLength:"256" doc:"only owners that have a key under it; an owner comes whole, as it was signed"`
}

func (s *Server) export(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	o := replica.ExportOptions{Topic: in.Topic, Prefix: in.Prefix}
	if in.Topic != "" {
		if _, err := s.topic(in.Topic); err != nil {
			return nil, err
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		if err := s.writeExport(hc, o); err != nil {
			s.cfg.Logger.Warn("an export was cut", "error", err) // its reader sees that the last line is missing
		}
	}}, nil
}

// writeExport answers with an export. After an error the last line is missing.
func (s *Server) writeExport(hc huma.Context, o replica.ExportOptions) error {
	ctx, cancel := context.WithCancel(hc.Context())
	defer cancel()
	defer s.cancelAtClose(cancel)()
	_, w := humago.Unwrap(hc)
	w.Header().Set("Content-Type", ndjson)
	w.WriteHeader(http.StatusOK)
	if hc.Method() == http.MethodHead {
		return nil
	}
	rc := http.NewResponseController(w)
	defer rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	out := exportWriter{out: deadlined{w, rc}}
	info := s.node.Info()
	if err := out.line(exportHead(info.Network, text(info.ID), o, time.Now())); err != nil {
		return err
	}
	for snapshot, err := range s.node.Export(ctx, o) {
		if err != nil {
			return err
		}
		if err := out.owner(info.Network, snapshot); err != nil {
			return err
		}
	}
	return out.end()
}

// deadlined gives every write writeTimeout.
type deadlined struct {
	w  io.Writer
	rc *http.ResponseController
}

func (d deadlined) Write(p []byte) (int, error) {
	if err := d.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return d.w.Write(p)
}

type importInput struct {
	DryRun bool `query:"dry_run" doc:"change nothing, only say what would happen"`
}

func (s *Server) load(_ context.Context, in *importInput) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		ctx, cancel := context.WithCancel(hc.Context())
		defer cancel()
		defer s.cancelAtClose(cancel)()
		report, err := s.readImport(ctx, r.Body, in.DryRun)
		if _, drainErr := io.CopyN(io.Discard, r.Body, maxUnread); drainErr != nil && !errors.Is(drainErr, io.EOF) {
			return // the sender is gone
		}
		if err != nil {
			writeProblem(w, r, s.fail(err, ""))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // an error is the client's leaving
	}}, nil
}

// readImport takes in an export. An error means that nothing was taken in, or that the node can't go on.
func (s *Server) readImport(ctx context.Context, body io.Reader, dryRun bool) (*ImportReport, error) {
	in, err := NewExportReader(body)
	if err != nil {
		return nil, problem(node.CodeBadExport, err.Error(), "'p2pnode state export' writes an export")
	}
	if network := s.node.Info().Network; in.Head.Network != network {
		return nil, problem(node.CodeBadExport, fmt.Sprintf("line 1: the export is of network %q, this node is on %q", clip(in.Head.Network), network),
			"signatures hold for one network: import it at a node of that one")
	}
	report := &ImportReport{Schema: "p2pnode.import/v1", DryRun: dryRun, Network: in.Head.Network, Problems: []ImportProblem{}}
	importer := s.node.Import(dryRun)
	for {
		snapshot, err := in.Next()
		var bad *LineError
		switch {
		case errors.Is(err, io.EOF):
			return report, nil
		case errors.As(err, &bad):
			report.add(ImportProblem{Line: bad.Line, Result: ImportBad, Detail: bad.Err.Error()})
			if bad.Fatal {
				return report, nil
			}
			continue
		case err != nil:
			return nil, fmt.Errorf("reading the export: %w", err)
		}
		result, err := importer.Add(ctx, snapshot)
		if err := report.take(in.Line(), snapshot, result, err); err != nil {
			return nil, err
		}
	}
}
