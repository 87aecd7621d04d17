package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) membersCommand() *cobra.Command {
	var filter api.MemberFilter
	var watch, full bool
	c := &cobra.Command{
		Use:   "members [PEER]",
		Short: "List the members of the network, or tell of one",
		Long: `List the members of the network as this node sees them, or tell of one.

PEER is a node's name, its peer id, or an ending of the id of at least 4 characters.`,
		Args: argsBetween(0, "PEER"),
		RunE: func(c *cobra.Command, args []string) error {
			switch filter.Status {
			case "", "alive", "suspect", "dead", "left":
			default:
				return usageError("--status %q: must be alive, suspect, dead or left", filter.Status)
			}
			if len(args) == 1 {
				if watch {
					return usageError("--watch is for all members, not for one")
				}
				return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
					m, err := node.Member(ctx, args[0])
					if err != nil {
						return err
					}
					return a.showMember(m, time.Now())
				})
			}
			if watch {
				return a.talk(c.Context(), 0, func(ctx context.Context, node *api.Client) error {
					return a.watchMembers(ctx, node, filter, full)
				})
			}
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				members, err := node.Members(ctx, filter)
				if err != nil {
					return err
				}
				return a.showMembers(members, full, time.Now())
			})
		},
	}
	c.Flags().StringVar(&filter.Status, "status", "", "only those that are alive, suspect, dead or left")
	c.Flags().StringVar(&filter.Tag, "tag", "", "only those with this tag: NAME, or NAME=VALUE")
	c.Flags().BoolVar(&watch, "watch", false, "list, then tell every change until Ctrl-C")
	c.Flags().BoolVar(&full, "full", false, "show whole peer ids")
	return c
}

func (a *app) showMembers(members []api.Member, full bool, now time.Time) error {
	switch {
	case a.json:
		return a.writeJSON(struct {
			Schema  string       `json:"schema"`
			Members []api.Member `json:"members"`
		}{"p2pnode.members/v1", orEmpty(members)})
	case a.quiet:
		for _, m := range members {
			a.printf("%s\n", m.ID)
		}
		return nil
	}
	slices.SortStableFunc(members, func(x, y api.Member) int { return strings.Compare(x.Name, y.Name) })
	t := a.table("NAME", "ID", "STATUS", "PHI", "HEARD", "VERSION", "CLOCK", "STATE", "TAGS")
	var n api.MemberCount
	equivocated := 0
	for _, m := range members {
		switch m.Status {
		case "alive":
			n.Alive++
		case "suspect":
			n.Suspect++
		case "dead":
			n.Dead++
		case "left":
			n.Left++
		}
		status, phi := m.Status, none
		if m.Equivocated {
			status += " !"
			equivocated++
		}
		if m.Self {
			status += " *"
		} else if m.Neighbour {
			phi = strconv.FormatFloat(m.Phi, 'f', 1, 64)
		}
		t.row(cell(m.Name, 20), a.id(m.ID, full), a.status(status), phi, age(m.LastHeard.Time, now),
			cell(m.Version, 16), offset(m.ClockOffset), agreement(m), tags(m.Tags))
	}
	if len(members) > 0 {
		if err := t.write(); err != nil {
			return err
		}
	}
	a.printf("%s: %s  (* this node)\n", count(len(members), "member"), memberCount(n))
	if equivocated > 0 {
		a.printf("! %s signed two histories under one version\n", count(equivocated, "member"))
	}
	return nil
}

// agreement says whether a member holds the same state, as far as its beats tell.
func agreement(m api.Member) string {
	switch {
	case m.Self || m.Neighbour && m.Agrees:
		return "same"
	case m.Neighbour:
		return "differs"
	default:
		return none
	}
}

func (a *app) showMember(m api.MemberStory, now time.Time) error {
	switch {
	case a.json:
		return a.writeJSON(m)
	case a.quiet:
		a.printf("%s\n", m.ID)
		return nil
	}
	line := func(name, format string, args ...any) { a.printf("%-10s  %s\n", name, fmt.Sprintf(format, args...)) }
	line("name", "%s", cell(m.Name, 64))
	line("id", "%s", plain(m.ID))
	if m.Self {
		line("status", "%s (this node)", a.status(m.Status))
	} else {
		line("status", "%s, phi %.1f", a.status(m.Status), m.Phi)
		if m.LastHeard.IsZero() {
			line("heard", "never")
		} else {
			line("heard", "%s ago", age(m.LastHeard.Time, now))
		}
	}
	if len(m.SuspectedBy) > 0 {
		line("accused by", "%s", a.ids(m.SuspectedBy))
	}
	if m.Refuter != "" {
		line("refuted", "%s ago, by a beat that %s brought", age(m.RefutedAt.Time, now), shortID(m.Refuter))
	}
	if m.Equivocated {
		line("warning", "it has signed two histories under one version: its key is used twice, or it lies")
	}
	line("generation", "%s", m.Generation)
	line("version", "%s of its state on members", m.StateVersion)
	if m.ClockOffset != nil {
		line("clock", "%s against this node's", offset(m.ClockOffset))
	}
	line("program", "%s", cell(firstOf(m.Agent, m.Version), 64))
	switch {
	case m.Self:
	case m.Neighbour:
		line("state", "%s, as its last beat showed", agreement(m.Member))
	default:
		line("state", "not known: no neighbour of this node ('p2pnode state digest --all' asks it)")
	}
	line("tags", "%s", tags(m.Tags))
	if len(m.Story) > 0 {
		a.printf("\nstory, as this node saw it\n")
	}
	for _, t := range m.Story {
		a.printf("%s%s\n", a.transition(t.At.Time, t.Name, t.ID, t.From, t.To, t.Phi, t.Reason), a.grounds(t))
	}
	return nil
}

// ids are shortened peer ids.
func (a *app) ids(ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = shortID(id)
	}
	return strings.Join(short, " ")
}

// grounds says who accuses, and how long the accused has; or who has refuted that.
func (a *app) grounds(t api.Transition) string {
	switch {
	case len(t.Accusers) > 0:
		return fmt.Sprintf("  by %s within %.1fs", a.ids(t.Accusers), t.Timeout)
	case t.Refuter != "":
		return "  thanks to " + shortID(t.Refuter)
	default:
		return ""
	}
}

// watchMembers lists the members and then tells every change. What changes in the moment between the two is told by
// neither: the API's stream begins with the present.
func (a *app) watchMembers(ctx context.Context, node *api.Client, filter api.MemberFilter, full bool) error {
	if !a.json {
		members, err := node.Members(ctx, filter)
		if err != nil {
			return err
		}
		if err := a.showMembers(members, full, time.Now()); err != nil {
			return err
		}
	}
	for t, err := range node.WatchMembers(ctx) {
		if err != nil {
			return err
		}
		if filter.Status != "" && t.To != filter.Status && t.From != filter.Status {
			continue
		}
		if a.json {
			if err := a.writeJSON(t); err != nil {
				return err
			}
			continue
		}
		a.printf("%s\n", a.transition(t.At.Time, t.Name, t.ID, t.From, t.To, t.Phi, t.Reason))
	}
	return ended(ctx)
}

// transition is one line for a change of a member's status.
func (a *app) transition(at time.Time, name, id, from, to string, phi float64, reason string) string {
	what := a.status(to)
	if from == "" {
		what = "joined, " + what
	} else {
		what = from + " -> " + what
	}
	if phi > 0 {
		what += fmt.Sprintf("  phi %.1f", phi)
	}
	if reason != "" {
		what += "  (" + plain(reason) + ")"
	}
	return fmt.Sprintf("%s  %s %s  %s", at.Local().Format(time.TimeOnly), cell(name, 20), shortID(id), what)
}
