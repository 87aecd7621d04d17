package testnet

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/node/api"
)

// What nodes tell of each other: helpers of tests that end, freeze and silence processes, and look at all others' tables.

// storyLook is how often a story is read without a sign that it goes on: the sign may come before the watch for it runs.
const storyLook = 500 * time.Millisecond

// names are those of all nodes but these.
func (n testNet) names(but ...string) (names []string) {
	n.t.Helper()
	p, err := n.l.load()
	require.NoError(n.t, err)
	for _, pn := range p.Nodes {
		if !slices.Contains(but, pn.Name) {
			names = append(names, pn.Name)
		}
	}
	return names
}

// stories are of one member, by the node that tells them.
type stories map[string]api.MemberStory

// everywhere returns what all observers tell of a member, once what each of them tells is ok.
func (n testNet) everywhere(ctx context.Context, observers []string, member, what string, ok func(api.MemberStory) bool) stories {
	n.t.Helper()
	told := make([]api.MemberStory, len(observers))
	var g errgroup.Group
	for i, observer := range observers {
		c := n.client(observer)
		g.Go(func() (err error) {
			if told[i], err = await(ctx, c, member, ok); err != nil {
				err = fmt.Errorf("%s waits for %s %s; it told last: %s: %w", observer, member, what, tale(told[i]), err)
			}
			return err
		})
	}
	require.NoError(n.t, g.Wait())
	all := stories{}
	for i, observer := range observers {
		all[observer] = told[i]
	}
	return all
}

// await returns what a node tells of a member once it is ok.
func await(ctx context.Context, c *api.Client, member string, ok func(api.MemberStory) bool) (last api.MemberStory, err error) {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	watched := make(chan struct{})
	defer func() {
		cancel()
		<-watched
	}()
	go func() {
		defer close(watched)
		for tr, err := range c.WatchMembers(ctx) {
			if err != nil {
				return // the ticker goes on
			}
			if tr.Name != member && tr.ID != member {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	tick := time.NewTicker(storyLook)
	defer tick.Stop()
	for {
		m, err := c.Member(ctx, member)
		if err == nil {
			if last = m; ok(m) {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}

// is says whether a member has that status now.
func is(status string) func(api.MemberStory) bool {
	return func(m api.MemberStory) bool { return m.Status == status }
}

// has says whether a member has come into that status since then.
func has(status string, since time.Time) func(api.MemberStory) bool {
	return func(m api.MemberStory) bool { return !when(m, status, since).IsZero() }
}

// when is the first time since then that a member came into that status; zero: never.
func when(m api.MemberStory, status string, since time.Time) time.Time {
	for _, tr := range m.Story {
		if tr.To == status && !tr.At.Before(since.Truncate(time.Millisecond)) { // as precise as the API
			return tr.At.Time
		}
	}
	return time.Time{}
}

// tale is a story in one line.
func tale(m api.MemberStory) string {
	s := m.Name + " is " + m.Status
	for _, tr := range m.Story {
		s += fmt.Sprintf("; %s %s (%s)", tr.At.Format("05.000"), tr.To, tr.Reason)
	}
	return s
}

// delays is how long after then each observer saw the member come into that status, sorted; those that did not are left out.
func (s stories) delays(status string, since time.Time) (all []time.Duration) {
	for _, m := range s {
		if at := when(m, status, since); !at.IsZero() {
			all = append(all, at.Sub(since))
		}
	}
	slices.Sort(all)
	return all
}

// never requires that no observer has seen the member in that status since then.
func (n testNet) never(s stories, status string, since time.Time) {
	n.t.Helper()
	for observer, m := range s {
		require.True(n.t, when(m, status, since).IsZero(), "%s tells: %s", observer, tale(m))
	}
}

// measured logs a distribution.
func (n testNet) measured(what string, all []time.Duration) {
	n.t.Helper()
	if len(all) == 0 {
		n.t.Logf("%s: never", what)
		return
	}
	n.t.Logf("%s: median %v, least %v, most %v, at %d nodes", what, all[len(all)/2], all[0], all[len(all)-1], len(all))
}

// signal sends a signal to a node's process and returns the time right before.
func (n testNet) signal(name string, sig syscall.Signal) time.Time {
	n.t.Helper()
	p, err := readPID(n.l.pid(name))
	require.NoError(n.t, err)
	at := time.Now()
	require.NoError(n.t, p.signal(sig))
	return at
}

// freeze stops a node's process for d: that long it does not run, whatever is done to it. It returns when that began and ended.
func (n testNet) freeze(name string, d time.Duration) (froze, woke time.Time) {
	n.t.Helper()
	froze = n.signal(name, syscall.SIGSTOP)
	<-time.After(d)
	return froze, n.signal(name, syscall.SIGCONT)
}

// tellsOfOthers is what a node tells of all others: their stories by their names.
func (n testNet) tellsOfOthers(ctx context.Context, name string) stories {
	n.t.Helper()
	c := n.client(name)
	all := stories{}
	for _, other := range n.names(name) {
		m, err := c.Member(ctx, other)
		require.NoError(n.t, err)
		all[other] = m
	}
	return all
}
