package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
)

// fail makes an answer of an error of the node. key is the key it is about, "" when none.
func (s *Server) fail(err error, key string) *Error {
	e := s.classify(err, key)
	e.Key = clip(key)
	return e
}

func (s *Server) classify(err error, key string) *Error {
	var (
		own      *Error
		coded    *node.Error
		badKey   *gossipstate.KeyError
		tooLarge *gossipstate.ValueTooLargeError
		quota    *gossipstate.QuotaError
		conflict *replica.ConflictError
		topic    *replica.UnknownTopicError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &coded):
		return problem(coded.Code, coded.Error(), coded.Hint)
	case errors.As(err, &badKey):
		return problem(node.CodeBadKey, fmt.Sprintf("key %q: %s", clip(badKey.Key), badKey.Reason), "")
	case errors.As(err, &tooLarge):
		return valueTooLarge(fmt.Sprintf("value is %d bytes, the limit is %d", tooLarge.Size, tooLarge.Limit))
	case errors.As(err, &quota):
		return problem(node.CodeQuotaExceeded, quota.Error(), "delete keys that are no longer needed")
	case errors.As(err, &conflict):
		return versionConflict(conflict)
	case errors.As(err, &topic):
		return problem(node.CodeUnknownTopic, fmt.Sprintf("this node is not on topic %q", clip(topic.Topic)),
			"start it with --topic")
	case errors.Is(err, replica.ErrNotFound):
		return problem(node.CodeNotFound, fmt.Sprintf("no key %q", clip(key)), "p2pnode state ls")
	case errors.Is(err, replica.ErrReservedKey):
		return problem(node.CodeReservedKey, replica.ErrReservedKey.Error(), "choose another topic")
	case errors.Is(err, replica.ErrIdentityConflict):
		return problem(node.CodeIdentityConflict, replica.ErrIdentityConflict.Error(),
			"stop the other one, or give this one a new identity with 'p2pnode init --force'")
	case errors.Is(err, gossipstate.ErrClockExhausted):
		return problem(node.CodeClockExhausted, err.Error(), "use another key")
	case errors.Is(err, replica.ErrStopped), errors.Is(err, context.Canceled):
		return problem(node.CodeStopped, "the node is not running, or stops", "")
	case errors.Is(err, context.DeadlineExceeded):
		return problem(node.CodeTimeout, "it did not happen in time", "")
	case errors.Is(err, syscall.ENOSPC):
		return problem(node.CodeDiskFull, "no space left for the data directory; the write is refused", "free some space")
	}
	s.cfg.Logger.Error("api: unexpected error", "key", clip(key), "error", err)
	return problem(node.CodeInternal, clip(err.Error()), "the node's log has the whole of it")
}

func valueTooLarge(detail string) *Error {
	return problem(node.CodeValueTooLarge, detail, "store it elsewhere and put its hash here")
}

func versionConflict(c *replica.ConflictError) *Error {
	var detail string
	switch {
	case c.Have == 0:
		detail = fmt.Sprintf("%s is absent, you asked for version %d", clip(c.Key), c.Want)
	case c.Want == 0:
		detail = fmt.Sprintf("%s is at version %d, you asked for it to be absent", clip(c.Key), c.Have)
	default:
		detail = fmt.Sprintf("%s is at version %d, you asked for %d", clip(c.Key), c.Have, c.Want)
	}
	e := problem(node.CodeVersionConflict, detail, "read it again, or write without a condition")
	have := Uint64(c.Have)
	e.Version = &have
	return e
}

// invalid says that one parameter is wrong.
func invalid(location, value, message string) *Error {
	e := problem(node.CodeValidation, "the request is not valid", "")
	e.Errors = []Fault{{Location: location, Message: message, Value: clip(value)}}
	return e
}

// transformError makes of huma's errors, and of ours, the problem document that is sent.
func (s *Server) transformError(hc huma.Context, _ string, body any) (any, error) {
	r, _ := humago.Unwrap(hc)
	var e Error
	switch b := body.(type) {
	case *Error:
		e = *b
	case *huma.ErrorModel:
		e = *fromHuma(b, hc.Operation())
	default:
		return body, nil
	}
	complete(&e, r)
	return &e, nil
}

// fromHuma converts an error that huma found before a handler ran. Its status is already chosen.
func fromHuma(m *huma.ErrorModel, op *huma.Operation) *Error {
	e := problem(codeOfStatus(m.Status), m.Detail, "see /openapi.json")
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		// huma counts the byte that shows that there are too many.
		e = valueTooLarge(fmt.Sprintf("the body is larger than %d bytes", op.MaxBodyBytes-1))
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		e.Detail = "the request is not valid"
		if len(m.Errors) == 0 {
			e.Detail = m.Detail
		}
	}
	e.Status = m.Status
	for _, d := range m.Errors {
		f := Fault{Location: d.Location, Message: d.Message}
		if d.Value != nil {
			f.Value = clip(fmt.Sprint(d.Value))
		}
		e.Errors = append(e.Errors, f)
	}
	return e
}

func codeOfStatus(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return node.CodeValidation
	case http.StatusRequestTimeout:
		return node.CodeTimeout
	case http.StatusNotAcceptable:
		return node.CodeNotAcceptable
	case http.StatusUnsupportedMediaType:
		return node.CodeUnsupportedMedia
	}
	return node.CodeInternal
}
