package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

const (
	waitTimeout = 30 * time.Second
	waitPause   = 50 * time.Millisecond // between two looks; one costs the node well under a millisecond
	askPause    = 200 * time.Millisecond
)

func (a *app) waitCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "wait ready|converged|members=N|members=N+",
		Short: "Wait until something holds; say nothing when it does",
		Long: `Wait until something holds; say nothing when it does.

  ready       the node is of use: it has synced with its network, or is the first, and its store takes writes
  converged   every live member holds the same state, of all topics of the node or of --topic
  members=N   this node sees N members alive, no more and no fewer
  members=N+  this node sees N members alive, or more

--timeout is 30s unless given. When it passes the exit code is 7, or 5 for converged, and the reason is told.`,
		Args: exactArgs("what to wait for"),
		RunE: func(c *cobra.Command, args []string) error {
			what, number, _ := strings.Cut(args[0], "=")
			switch what {
			case "ready":
				return a.waitFor(c.Context(), waitPause, isReady)
			case "converged":
				return a.waitFor(c.Context(), askPause, a.hasConverged)
			case "members":
				digits, orMore := strings.CutSuffix(number, "+")
				n, err := strconv.ParseUint(digits, 10, 31)
				if err != nil {
					return usageError("%q: write members=N, such as members=5, or members=N+ for at least N", args[0])
				}
				return a.waitFor(c.Context(), waitPause, (&headcount{n: int(n), orMore: orMore}).holds)
			default:
				return usageError("can't wait for %q%s", args[0], didYouMean(what, []string{"ready", "converged", "members=N"}))
			}
		},
	}
	a.topicFlag(c.Flags())
	return c
}

// notYet says why what is waited for does not hold; it becomes the error when the time is over.
type notYet struct{ err *node.Error }

func (e notYet) Error() string { return e.err.Error() }

// waitFor looks again and again until holds returns nil, an error other than notYet and that no node answers, or the
// time is over. The node need not run yet.
func (a *app) waitFor(ctx context.Context, pause time.Duration, holds func(context.Context, *api.Client) error) error {
	limited, cancel := a.deadline(ctx, waitTimeout)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var last error
	for {
		// Where the API is may be known only when the node runs.
		err := a.talk(limited, 0, holds)
		var not notYet
		var unreachable *api.UnreachableError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &not):
			last = not.err
		case errors.As(err, &unreachable):
			last = node.NewError(node.CodeTimeout, unreachable, explain(unreachable, a).Detail, "")
		case limited.Err() == nil:
			return err
		}
		select {
		case <-limited.Done():
			if ctx.Err() == nil && last != nil {
				return last
			}
			return limited.Err()
		case <-tick.C:
		}
	}
}

func isReady(ctx context.Context, c *api.Client) error {
	_, err := c.Readyz(ctx)
	var answer *api.Error
	if errors.As(err, &answer) && answer.Code == node.CodeNotReady {
		return notYet{node.NewError(node.CodeTimeout, answer, "the node is not ready: "+answer.Error(), "")}
	}
	return err
}

const (
	namedMissing = 8           // members that an error names
	namedEvery   = time.Second // a list of all members costs the node more than their number
)

// headcount is a number of live members to wait for.
type headcount struct {
	n      int
	orMore bool

	missing string // who is not alive, in words
	asked   time.Time
}

func (w *headcount) holds(ctx context.Context, c *api.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	alive := s.Members.Alive
	if alive == w.n || w.orMore && alive > w.n {
		return nil
	}
	why := fmt.Sprintf("%s, not %d alive", memberCount(s.Members), w.n)
	if w.orMore {
		why = fmt.Sprintf("%s, not %d or more alive", memberCount(s.Members), w.n)
	}
	if alive < w.n {
		if err := w.lookForMissing(ctx, c); err != nil {
			return err
		}
		why += w.missing
	}
	return notYet{node.NewError(node.CodeTimeout, nil, why, "see 'p2pnode members'")}
}

// lookForMissing asks whom the node knows besides those alive.
func (w *headcount) lookForMissing(ctx context.Context, c *api.Client) error {
	if time.Since(w.asked) < namedEvery {
		return nil
	}
	members, err := c.Members(ctx, api.MemberFilter{})
	if err != nil {
		return err
	}
	var missing []string
	for _, m := range members {
		if m.Status != "alive" && len(missing) < namedMissing {
			missing = append(missing, fmt.Sprintf("%s is %s", firstOf(plain(m.Name), shortID(m.ID)), m.Status))
		}
	}
	w.missing, w.asked = "", time.Now()
	if len(missing) > 0 {
		w.missing = ": " + strings.Join(missing, ", ")
	}
	return nil
}

// hasConverged asks every live member about each topic.
func (a *app) hasConverged(ctx context.Context, c *api.Client) error {
	topics := []string{a.topic}
	if a.topic == "" {
		self, err := c.Node(ctx)
		if err != nil {
			return err
		}
		topics = self.Topics
		if !slices.Contains(topics, "members") {
			topics = append([]string{"members"}, topics...)
		}
	}
	for _, topic := range topics {
		all, err := c.WithTopic(topic).Ask(ctx)
		if err != nil {
			return err
		}
		if all.Agree < all.Of {
			return notYet{node.NewError(node.CodeNotConverged, nil,
				fmt.Sprintf("%d of %d members agree on topic %s; not %s", all.Agree, all.Of, plain(topic), strings.Join(dissenters(all), ", ")),
				"see 'p2pnode state digest --all --topic "+plain(topic)+"'")}
		}
	}
	return nil
}

// dissenters names the members that hold another state, or that could not be asked.
func dissenters(all api.Agreements) []string {
	var who []string
	for _, m := range all.Members {
		switch {
		case m.Error != "":
			who = append(who, fmt.Sprintf("%s (%s)", firstOf(plain(m.Name), shortID(m.ID)), plain(m.Error)))
		case !m.Agrees:
			who = append(who, firstOf(plain(m.Name), shortID(m.ID)))
		}
	}
	return who
}
