package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// Forms of the answer of health.
const (
	formatText   = "text"
	formatNagios = "nagios"
)

func (a *app) healthCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "health",
		Short: "Check the node; fail when it is not well",
		Long: `Check the node: exit code 0 when it is well, even with warnings, 5 when a check fails, 3 when no node answers.

With --format nagios it writes one line and ends with 0, 1 or 2, as Nagios wants: OK, WARNING, CRITICAL. In a container
image, where there need be no curl:

  HEALTHCHECK CMD ["p2pnode", "health"]`,
		Args: exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch format {
			case formatText:
				return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
					h, err := checkup(ctx, node)
					if err != nil {
						return err
					}
					return a.showHealth(h)
				})
			case formatNagios:
				if a.json {
					return usageError("--json and --format nagios exclude each other")
				}
				return a.nagios(c.Context())
			default:
				return usageError("--format %q: must be text or nagios", format)
			}
		},
	}
	c.Flags().StringVar(&format, "format", formatText, "text or nagios")
	return c
}

// checkup is what the node says of itself, and first that it answers.
func checkup(ctx context.Context, c *api.Client) (api.Health, error) {
	began := time.Now()
	if _, err := c.Livez(ctx); err != nil {
		return api.Health{}, err
	}
	kind := "TCP port"
	if strings.HasPrefix(c.Addr(), "unix:") {
		kind = "unix socket"
	}
	answers := api.Check{Name: "api", Status: node.CheckOK, Detail: fmt.Sprintf("%s answers in %s", kind, milliseconds(time.Since(began)))}
	h, err := c.Health(ctx)
	h.Checks = append([]api.Check{answers}, h.Checks...)
	return h, err
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%d ms", max(1, d.Round(time.Millisecond).Milliseconds()))
}

// healthLine is a Health as --json writes it.
type healthLine struct {
	Schema string `json:"schema"` // p2pnode.health/v1
	api.Health
}

func (a *app) showHealth(h api.Health) error {
	if a.json {
		if err := a.writeJSON(healthLine{"p2pnode.health/v1", h}); err != nil {
			return err
		}
	} else {
		a.showChecks(h.Checks)
	}
	if h.Status == node.CheckFail {
		return saidError{node.ExitCheck}
	}
	return nil
}

// showChecks writes a line for each check, and what to do about those that are not ok to stderr. With --quiet only those that
// failed are written.
func (a *app) showChecks(checks []api.Check) {
	for _, c := range checks {
		if a.quiet && c.Status != node.CheckFail {
			continue
		}
		word := c.Status
		if c.Status == node.CheckFail {
			word = "FAIL"
		}
		a.printf("%s%s  %-11s  %s\n", a.status(word), strings.Repeat(" ", max(0, 4-len(word))), plain(c.Name), plain(c.Detail))
		for _, line := range c.Lines {
			a.printf("%19s%s\n", "", plain(line))
		}
	}
	for _, c := range checks {
		if c.Status != node.CheckOK && c.Hint != "" {
			a.note("p2pnode: hint: %s: %s", plain(c.Name), plain(c.Hint))
		}
	}
}

// Exit codes of Nagios plugins.
const (
	nagiosOK       = 0
	nagiosWarning  = 1
	nagiosCritical = 2
)

// nagios asks the node and writes what a Nagios plugin does, also when no node answers.
func (a *app) nagios(ctx context.Context) error {
	var h api.Health
	err := a.ask(ctx, func(ctx context.Context, node *api.Client) (err error) {
		h, err = checkup(ctx, node)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return err // a signal
	}
	if err != nil {
		var usage *node.Error
		if errors.As(err, &usage) && usage.Exit == node.ExitUsage {
			return err
		}
		h = api.Health{Status: node.CheckFail, Checks: []api.Check{{Name: "api", Status: node.CheckFail, Detail: explain(err, a).Detail}}}
	}
	line, code := nagiosLine(h)
	a.printf("%s\n", line)
	if code != nagiosOK {
		return saidError{code}
	}
	return nil
}

// nagiosLine is a Health in one line: the word, what is not ok, and after a bar the measures as NAME=VALUE;WARN;CRIT.
func nagiosLine(h api.Health) (line string, code int) {
	word, code := "OK", nagiosOK
	switch h.Status {
	case node.CheckWarn:
		word, code = "WARNING", nagiosWarning
	case node.CheckFail:
		word, code = "CRITICAL", nagiosCritical
	}
	var why, measures []string
	for _, status := range []string{node.CheckFail, node.CheckWarn} { // the worst first
		for _, c := range h.Checks {
			if c.Status == status {
				why = append(why, c.Name+": "+c.Detail)
			}
		}
	}
	for _, c := range h.Checks {
		if m := c.Measure; m != nil {
			measures = append(measures, fmt.Sprintf("%s=%d;%d;%d", m.Name, m.Value, m.Warn, m.Fail))
		}
	}
	if len(why) == 0 {
		why = []string{count(len(h.Checks), "check") + " ok"}
	}
	line = word + " " + strings.ReplaceAll(plain(strings.Join(why, "; ")), "|", "/")
	if len(measures) > 0 {
		line += " | " + plain(strings.Join(measures, " "))
	}
	return line, code
}
