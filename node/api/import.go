package api

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// Results of lines of an import beside those of replica.ImportResults.
const (
	ImportBad          = "bad"           // it does not verify, or is no line of an export
	ImportUnknownTopic = "unknown_topic" // the node is not on its topic
)

// ImportReport says what became of the lines of an export.
type ImportReport struct {
	Schema  string `json:"schema"` // p2pnode.import/v1
	DryRun  bool   `json:"dry_run"`
	Network string `json:"network"`

	Applied      int `json:"applied"`       // owners whose copy is now the imported one
	Stale        int `json:"stale"`         // held already, or newer
	Forgotten    int `json:"forgotten"`     // silent for longer than membership.forget_after
	OwnerUnknown int `json:"owner_unknown"` // members lacks the owner
	OwnChanged   int `json:"own_changed"`   // the node's own state, which it has changed since
	Refused      int `json:"refused"`       // a limit, or a rule about the owner
	UnknownTopic int `json:"unknown_topic"`
	Bad          int `json:"bad"`

	Problems []ImportProblem `json:"problems"` // of all lines but those applied or stale, in order, the first 100
	Omitted  int             `json:"omitted"`  // problems beyond them
}

// ImportProblem is a line that was not taken in.
type ImportProblem struct {
	Line   int    `json:"line"` // from 1
	Result string `json:"result"`
	Topic  string `json:"topic,omitempty"`
	Owner  string `json:"owner,omitempty"`
	Detail string `json:"detail"`
}

var importReportType = reflect.TypeFor[ImportReport]()

// Complete reports whether every line was taken in or is held already.
func (r *ImportReport) Complete() bool { return len(r.Problems) == 0 }

// counter is the field that counts a result.
func (r *ImportReport) counter(result string) *int {
	switch replica.ImportResult(result) {
	case replica.ImportApplied:
		return &r.Applied
	case replica.ImportStale:
		return &r.Stale
	case replica.ImportForgotten:
		return &r.Forgotten
	case replica.ImportOwnerUnknown:
		return &r.OwnerUnknown
	case replica.ImportOwnChanged:
		return &r.OwnChanged
	case replica.ImportRefused:
		return &r.Refused
	case ImportUnknownTopic:
		return &r.UnknownTopic
	case ImportBad:
		return &r.Bad
	}
	panic(fmt.Sprintf("api: no such result of an import: %q", result))
}

// take counts what became of a snapshot; err comes back when the import can't go on.
func (r *ImportReport) take(line int, s *replica.Snapshot, result replica.ImportResult, err error) error {
	p := ImportProblem{Line: line, Result: string(result), Topic: s.Topic(), Owner: text(s.Owner())}
	var topic *replica.UnknownTopicError
	switch {
	case errors.As(err, &topic):
		p.Result, p.Detail = ImportUnknownTopic, fmt.Sprintf("this node is not on topic %q: start it with --topic %s", s.Topic(), s.Topic())
	case err != nil && result != replica.ImportRefused:
		return err
	case result == replica.ImportRefused:
		p.Detail = err.Error()
	case result == replica.ImportForgotten:
		p.Detail = "its owner was last heard longer ago than membership.forget_after: raise that, or import it sooner"
	case result == replica.ImportOwnerUnknown:
		p.Detail = "members holds nothing of its owner: import its line of topic members first"
	case result == replica.ImportOwnChanged:
		p.Detail = "this node has changed its own state since: import before it writes, or set the keys again"
	}
	r.add(p)
	return nil
}

// add counts a line and, when it has a detail, tells it.
func (r *ImportReport) add(p ImportProblem) {
	*r.counter(p.Result)++
	switch {
	case p.Detail == "":
	case len(r.Problems) < maxImportProblems:
		r.Problems = append(r.Problems, p)
	default:
		r.Omitted++
	}
}
