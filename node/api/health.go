package api

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/p2pnode/p2pnode/node"
)

// Check is one line of a Health.
type Check struct {
	Name    string   `json:"name"`
	Status  string   `json:"status" enum:"ok,warn,fail"`
	Detail  string   `json:"detail,omitempty"`
	Lines   []string `json:"lines,omitempty"` // more of it
	Hint    string   `json:"hint,omitempty"`  // what to do about a warn or fail
	Measure *Measure `json:"measure,omitempty"`
}

// Measure is the number that decided a Check: below Warn it warned, below Fail it failed.
type Measure struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
	Warn  int    `json:"warn"`
	Fail  int    `json:"fail"`
}

// Health answers /livez, /readyz and /v1/health.
type Health struct {
	Status string  `json:"status" enum:"ok,warn,fail"` // the worst of the checks
	Checks []Check `json:"checks"`
}

// Worst is the worst status of the checks, ok for none.
func Worst(checks []Check) string {
	order := []string{node.CheckOK, node.CheckWarn, node.CheckFail}
	worst := 0
	for _, c := range checks {
		worst = max(worst, slices.Index(order, c.Status))
	}
	return order[worst]
}

// notReady is nil for a Health without a check that failed.
func (h *Health) notReady() error {
	var failed []string
	for _, c := range h.Checks {
		if c.Status == node.CheckFail {
			failed = append(failed, c.Name+": "+c.Detail)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return problem(node.CodeNotReady, "the node is not ready: "+strings.Join(failed, "; "), "p2pnode health")
}

func (s *Server) registerHealth(api huma.API) {
	huma.Register(api, operation(api, http.MethodGet, "/livez", "livez", "The process serves requests, whatever the network is like"), s.livez)
	ready := operation(api, http.MethodGet, "/readyz", "readyz", "The node is of use to others; 503 with the reasons if not")
	ready.Responses["503"] = &huma.Response{
		Description: "a check failed",
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Health](), true, "Health")},
		},
	}
	huma.Register(api, ready, s.readyz)
	huma.Register(api, operation(api, http.MethodGet, "/v1/health", "health", "All that an operator may have to act on, with hints"), s.health)
}

// livez looks at nothing but that this process answers: a restart would mend nothing else.
func (s *Server) livez(context.Context, *struct{}) (*output[Health], error) {
	up := time.Since(s.node.Info().Started).Round(time.Second)
	process := Check{Name: "process", Status: node.CheckOK, Detail: fmt.Sprintf("pid %d, up %s", os.Getpid(), up)}
	return &output[Health]{Health{Status: node.CheckOK, Checks: []Check{process}}}, nil
}

// healthOutput is a Health with the HTTP status that goes with it.
type healthOutput struct {
	Status int
	Body   Health
}

func (s *Server) readyz(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	out := &healthOutput{http.StatusOK, healthOf(s.node.Readiness(ctx))}
	if out.Body.Status == node.CheckFail {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

// health answers 200 whatever it found: the answer is there.
func (s *Server) health(ctx context.Context, _ *struct{}) (*output[Health], error) {
	return &output[Health]{healthOf(s.node.Health(ctx))}, nil
}

func healthOf(checks []node.Check) Health {
	h := Health{Checks: list(checks, checkOf)}
	h.Status = Worst(h.Checks)
	return h
}

func checkOf(c node.Check) Check {
	out := Check{Name: c.Name, Status: c.Status, Detail: c.Detail, Lines: c.Lines, Hint: c.Hint}
	if c.Measure != nil {
		m := Measure(*c.Measure)
		out.Measure = &m
	}
	return out
}
