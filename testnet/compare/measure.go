package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// startWait bounds the start of a cluster, and its becoming whole again.
const startWait = 5 * time.Minute

// measure is one thing that is measured of every contender alike.
type measure struct {
	name  string
	what  string // in words, for the report
	nodes int    // unless the caller says otherwise
	needs need
	idle  bool // contenders that detect nothing take part too
	run   func(ctx context.Context, s *session, cl *cluster) ([]figure, error)
}

// need is what a measure wants of its network.
type need int

const (
	needsNothing need = iota
	needsMeter
	needsBreaker
)

// meets says whether net has it.
func (n need) meets(net network) bool {
	switch n {
	case needsMeter:
		_, ok := net.(meter)
		return ok
	case needsBreaker:
		_, ok := net.(breaker)
		return ok
	default:
		return true
	}
}

// session is one run of the comparison.
type session struct {
	options
	dir      string
	progress io.Writer
	makeNet  func(n int) (network, error)
	degree   int // connections that p2pnode kept when it was idle; libp2p alone keeps as many
}

func (s *session) say(format string, args ...any) { fmt.Fprintf(s.progress, format+"\n", args...) }

// choose returns the random numbers of a measure: the same for each contender.
func (s *session) choose(m string) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed, uint64(len(m))<<8|uint64(m[0])))
}

// compare runs a measure for all contenders, one after the other. A contender that fails has its error in its row, and
// failed is true; err is only for what ends the whole run.
func (s *session) compare(ctx context.Context, m measure, all []*contender) (t table, failed bool, err error) {
	n := m.nodes
	if s.nodes > 0 {
		n = s.nodes
	}
	t = table{measure: m.name, nodes: n}
	for _, c := range all {
		if c.idleOnly && !m.idle {
			continue
		}
		if c.absent != "" {
			t.rows = append(t.rows, row{contender: c.name, note: c.absent})
			continue
		}
		figures, what, err := s.one(ctx, m, c, n)
		t.what = what
		if ctx.Err() != nil {
			return t, true, ctx.Err()
		}
		r := row{contender: c.name, figures: figures}
		if err != nil {
			r.note, failed = err.Error(), true
			s.say("%s: %s: %v", m.name, c.name, err)
		}
		t.rows = append(t.rows, r)
	}
	return t, failed, nil
}

// one runs a measure for one contender, in a network of its own.
func (s *session) one(ctx context.Context, m measure, c *contender, n int) (figures []figure, what string, err error) {
	net, err := s.makeNet(n)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if closeErr := net.close(); err == nil {
			err = closeErr
		}
	}()
	what = m.what + "; " + net.what()
	if !m.needs.meets(net) {
		return nil, what, errNeedsLab
	}
	dir := filepath.Join(s.dir, m.name+"-"+strings.ReplaceAll(c.name, " ", "-"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, what, err
	}
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	cl, err := startCluster(starting, c, net, dir, n)
	defer func() {
		if stopErr := cl.stop(); err == nil {
			err = stopErr
		}
	}()
	if err != nil {
		return nil, what, err
	}
	s.say("%s: %s: %d nodes see each other after %.1f s", m.name, c.name, n, time.Since(began).Seconds())
	figures, err = m.run(ctx, s, cl)
	return figures, what, err
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// others are all running nodes but i.
func (cl *cluster) others(i int) map[string]bool {
	out := map[string]bool{}
	for j, m := range cl.members {
		if m != nil && j != i {
			out[nodeName(j)] = true
		}
	}
	return out
}

// measures are those of the comparison, with the options' durations in their words.
func measures(o options) []measure {
	return []measure{
		crashMeasure(o), silentMeasure(o), freezeMeasure(o), lossMeasure(o), idleMeasure(o),
	}
}

// named are the items that a list with commas names, in the order of all; an unknown name is an error.
func named[T any](all []T, name func(T) string, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	for _, w := range wanted {
		if !slices.ContainsFunc(all, func(t T) bool { return name(t) == w }) {
			return nil, fmt.Errorf("there is no %q", w)
		}
	}
	var out []T
	for _, t := range all {
		if slices.Contains(wanted, name(t)) {
			out = append(out, t)
		}
	}
	return out, nil
}
