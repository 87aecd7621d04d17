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
	t := a.table("NAME", "ID", "STATUS", "PHI", "HEARD", "GEN", "REACH", "VERSION", "CLOCK", "STATE", "TAGS")
	equivocated := 0
	for _, m := range members {
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
			generation(m, now), firstOf(m.Reachability, none), cell(m.Version, 16), clock(m), agreement(m), tags(m.Tags))
	}
	if len(members) > 0 {
		if err := t.write(); err != nil {
			return err
		}
	}
	a.printf("%s: %s  (* this node)\n", count(len(members), "member"), memberCount(countMembers(members)))
	if equivocated > 0 {
		a.printf("! %s signed two histories under one version\n", count(equivocated, "member"))
	}
	return nil
}

func countMembers(members []api.Member) (n api.MemberCount) {
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
	}
	return n
}

// generation says which life of a member this is: since when by its own clock, or else by the end of its number.
func generation(m api.Member, now time.Time) string {
	if began := age(m.Began.Time, now); began != none {
		return began
	}
	digits := m.Generation.String()
	return digits[max(0, len(digits)-6):]
}

// clock is the difference of a member's clock, marked when it is one to warn of.
func clock(m api.Member) string {
	if m.ClockSkewed {
		return offset(m.ClockOffset) + "!"
	}
	return offset(m.ClockOffset)
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
	if len(m.PhiHistory) > 0 {
		line("phi", "%s  over the last %s", sparkline(m.PhiHistory), span(seconds(float64(len(m.PhiHistory))*m.PhiInterval)))
	}
	if len(m.Story) > 0 && m.Story[0].From == "" {
		line("known", "for %s: %s", age(m.Story[0].At.Time, now), plain(m.Story[0].Reason))
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
	if m.Began.IsZero() {
		line("generation", "%s", m.Generation)
	} else {
		line("generation", "%s, begun %s ago by its own clock", m.Generation, age(m.Began.Time, now))
	}
	line("version", "%s of its state on members", m.StateVersion)
	for i, addr := range m.Addrs {
		line([]string{"addresses", ""}[min(i, 1)], "%s", plain(addr))
	}
	if m.Reachability != "" {
		line("reach", "%s, by these addresses", m.Reachability)
	}
	if m.ClockOffset != nil {
		line("clock", "%s against this node's", clock(m.Member))
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
		a.printf("%s%s\n", a.transition(t.At.Time, t.Name, t.ID, t.From, t.To, t.Phi, t.Reason), a.grounds(t.Accusers, t.Timeout, t.Refuter))
	}
	return nil
}

// usualPhi is what fills a sparkline: the phi from which members are suspect by default.
const usualPhi = 8

// sparkline draws numbers from 0 up, one character each; the highest is usualPhi, or the largest of them.
func sparkline(numbers []float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	top := max(usualPhi, slices.Max(numbers))
	var b strings.Builder
	for _, n := range numbers {
		b.WriteRune(bars[int(max(0, n)/top*float64(len(bars)-1))])
	}
	return b.String()
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
func (a *app) grounds(accusers []string, timeout float64, refuter string) string {
	switch {
	case len(accusers) > 0:
		return fmt.Sprintf("  by %s  timeout %s", a.ids(accusers), span(seconds(timeout)))
	case refuter != "":
		return "  thanks to " + shortID(refuter)
	default:
		return ""
	}
}

// watchMembers lists the members and then tells every change. What changes in the moment between the two is told by
// neither: the API's stream begins with the present.
func (a *app) watchMembers(ctx context.Context, node *api.Client, filter api.MemberFilter, full bool) error {
	tagged := tagged{filter.Tag, map[string]bool{}}
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
		if wanted, err := tagged.has(ctx, node, t.ID); err != nil {
			return err
		} else if !wanted {
			continue
		}
		if a.json {
			if err := a.writeJSON(t); err != nil {
				return err
			}
			continue
		}
		a.printf("%s%s\n", a.transition(t.At.Time, t.Name, t.ID, t.From, t.To, t.Phi, t.Reason), a.grounds(t.Accusers, t.Timeout, t.Refuter))
	}
	return ended(ctx)
}

// tagged knows the members that have a tag, or had it when they were last seen.
type tagged struct {
	tag  string // "": every member
	seen map[string]bool
}

// has asks the node, since a tag may have come or gone with what has changed.
func (s *tagged) has(ctx context.Context, node *api.Client, id string) (bool, error) {
	if s.tag == "" {
		return true, nil
	}
	all, err := node.Members(ctx, api.MemberFilter{})
	if err != nil {
		return false, err
	}
	with, err := node.Members(ctx, api.MemberFilter{Tag: s.tag})
	if err != nil {
		return false, err
	}
	for _, m := range all {
		s.seen[m.ID] = false
	}
	for _, m := range with {
		s.seen[m.ID] = true
	}
	return s.seen[id], nil
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
