package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/p2pnode/p2pnode/node"
)

// Error is what the API answers when it does not do what it was asked to: a problem document of RFC 9457.
type Error struct {
	Type      string  `json:"type"` // urn:p2pnode:error:CODE
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Hint      string  `json:"hint,omitempty"`
	Code      string  `json:"code"` // a slug of `p2pnode errors`
	Key       string  `json:"key,omitempty"`
	Version   *Uint64 `json:"version,omitempty"` // of the key, with version-conflict
	Instance  string  `json:"instance,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Fault `json:"errors,omitempty"` // every wrong field, with validation
}

// Fault is one wrong field of a request.
type Fault struct {
	Location string `json:"location"` // such as body.range.start or query.limit
	Message  string `json:"message"`
	Value    string `json:"value,omitempty"` // what was sent, at most 64 bytes
}

// Error is the detail; faults follow it.
func (e *Error) Error() string {
	if len(e.Errors) == 0 {
		return e.Detail
	}
	var b strings.Builder
	b.WriteString(e.Detail)
	for i, f := range e.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, f.Location, f.Message)
	}
	return b.String()
}

// GetStatus is the HTTP status, for huma.
func (e *Error) GetStatus() int { return e.Status }

// ContentType is the media type of the answer, for huma.
func (e *Error) ContentType(string) string { return "application/problem+json" }

// statusOf gives the HTTP status of a code, 500 of one that the API has no status for.
func statusOf(code string) int {
	if e, ok := node.Explain(code); ok && e.Status != 0 {
		return e.Status
	}
	return http.StatusInternalServerError
}

// problem makes an Error of a code.
func problem(code, detail, hint string) *Error {
	return &Error{
		Type:   "urn:p2pnode:error:" + code,
		Title:  title(code),
		Status: statusOf(code),
		Detail: detail,
		Hint:   hint,
		Code:   code,
	}
}

// title is the code as words: "value-too-large" is "Value too large".
func title(code string) string {
	words := strings.ReplaceAll(code, "-", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// maxEcho is how many bytes of what a client sent are sent back to it.
const maxEcho = 64

// clip cuts s to maxEcho bytes, at the edge of a rune.
func clip(s string) string {
	if len(s) <= maxEcho {
		return s
	}
	const mark = "…"
	cut := maxEcho - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
