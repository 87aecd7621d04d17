package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

// statusPause is the time between two looks of status --watch.
const statusPause = 2 * time.Second

func (a *app) statusCommand() *cobra.Command {
	var watch, problems bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the node is",
		Long:  "Show how the node is, in one page. Exit code 0 even with warnings; 3 when no node runs.",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			show := func() error {
				return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
					s, err := node.Status(ctx)
					if err != nil {
						return err
					}
					return a.showStatus(s, problems)
				})
			}
			if !watch {
				return show()
			}
			return a.repeat(c.Context(), statusPause, show)
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "show it again every 2s, until Ctrl-C")
	c.Flags().BoolVar(&problems, "problems", false, "show only the problems")
	return c
}

// repeat calls show again and again until the context ends. On a terminal each look replaces the last.
func (a *app) repeat(ctx context.Context, pause time.Duration, show func() error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if a.terminal() && !a.json {
			a.printf("\x1b[H\x1b[2J")
		}
		if err := show(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) showStatus(s api.Status, onlyProblems bool) error {
	switch {
	case a.json && onlyProblems:
		return a.writeJSON(struct {
			Schema   string        `json:"schema"`
			Problems []api.Problem `json:"problems"`
		}{s.Schema, orEmpty(s.Problems)})
	case a.json:
		return a.writeJSON(s)
	case onlyProblems:
		if len(s.Problems) == 0 {
			a.note("no problems")
		}
		return a.showProblems(s.Problems)
	}
	a.printf("%s  %s   up %s   %s   network %s (%s)\n\n", cell(s.Node.Name, 64), shortID(s.Node.ID),
		span(seconds(s.Node.UptimeSeconds)), plain(s.Node.Version), plain(s.Network.Name), openness(s.Network))
	line := func(name, format string, args ...any) { a.printf("%-13s  %s\n", name, fmt.Sprintf(format, args...)) }
	line("members", "%s", memberCount(s.Members))
	if s.Bootstrap.Wanted > 0 {
		line("bootstrap", "%d of %d connected", s.Bootstrap.Connected, s.Bootstrap.Wanted)
	}
	line("gossip", "%s, %s, %s", count(s.Peers, "peer"), count(s.Gossip.MeshPeers, "mesh link"), count(s.Gossip.Topics, "topic"))
	for _, t := range s.Topics {
		line("state "+plain(t.Topic), "%s, %s, %s, digest %s, agrees with %d of %s",
			count(t.Keys, "key"), count(t.Tombstones, "tombstone"), size(t.Bytes), shortHash(t.Digest), t.Agree, count(t.Of, "neighbour"))
	}
	if s.ClockOffset != nil {
		line("clock", "%s against the neighbours' median", offset(s.ClockOffset))
	}
	line("work", "%s", workSummary(s))
	for _, job := range s.Work {
		line("", "%s", jobLine(job))
	}
	if len(s.Problems) == 0 {
		return nil
	}
	a.printf("\nproblems\n")
	return a.showProblems(s.Problems)
}

// problemWidth is how wide a problem may be for its hint to stand beside it, so that most terminals show both.
const problemWidth = 72

// showProblems writes each problem with its hint beside it, hints in one column, or below it when it is too long for that.
func (a *app) showProblems(problems []api.Problem) error {
	width := 0
	for _, p := range problems {
		if n := utf8.RuneCountInString(plain(p.Detail)); n <= problemWidth {
			width = max(width, n)
		}
	}
	for _, p := range problems {
		detail := plain(p.Detail)
		switch n := utf8.RuneCountInString(detail); {
		case p.Hint == "":
			a.printf("  %-5s %s\n", p.Level, detail)
		case n <= problemWidth:
			a.printf("  %-5s %s%s     %s\n", p.Level, detail, strings.Repeat(" ", width-n), plain(p.Hint))
		default:
			a.printf("  %-5s %s\n        %s\n", p.Level, detail, plain(p.Hint))
		}
	}
	return nil
}

func openness(n api.StatusNetwork) string {
	if len(n.Authorities) == 0 {
		return "open"
	}
	return fmt.Sprintf("%d authorities", len(n.Authorities))
}

// memberCount names the statuses that occur; alive always.
func memberCount(m api.MemberCount) string {
	parts := []string{fmt.Sprintf("%d alive", m.Alive)}
	for _, p := range []struct {
		n    int
		word string
	}{{m.Suspect, "suspect"}, {m.Dead, "dead"}, {m.Left, "left"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

func workSummary(s api.Status) string {
	here := "does no work here"
	if s.Worker.Enabled {
		here = "works here"
		if s.Worker.Rate > 0 {
			here = rate(s.Worker.Rate) + " here"
		}
	}
	return fmt.Sprintf("%d running, %d done, %d cancelled; %s", s.Worker.Running, s.Worker.Done, s.Worker.Canceled, here)
}

func jobLine(j api.JobSummary) string {
	parts := []string{cell(firstOf(j.Name, j.ID), 32), share(uint64(j.Done), uint64(j.Total))}
	if r := networkRate(j); r > 0 {
		parts = append(parts, rate(r))
	}
	if j.ETASeconds != nil {
		parts = append(parts, "ETA "+span(seconds(*j.ETASeconds)))
	}
	return strings.Join(parts, "  ")
}

// networkRate is the nonces a second of all workers, or where that is not known of this node.
func networkRate(j api.JobSummary) float64 {
	if j.NetworkRate != nil {
		return *j.NetworkRate
	}
	return j.Rate
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// tags are name=value pairs, sorted.
func tags(t map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		pair := name
		if t[name] != "" {
			pair += "=" + t[name]
		}
		pairs = append(pairs, pair)
	}
	return cell(strings.Join(pairs, ","), 40)
}
