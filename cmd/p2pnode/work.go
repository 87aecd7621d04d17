package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) workCommand() *cobra.Command {
	c := parent("work", "Share out the search of nonces",
		a.workSubmitCommand(), a.workLsCommand(), a.workShowCommand(), a.workWatchCommand(), a.workCancelCommand())
	a.topicFlag(c.PersistentFlags())
	return c
}

// progressLine is a job's progress as --json writes it.
type progressLine struct {
	Type    string        `json:"type"` // progress
	Job     string        `json:"job"`
	Done    api.Uint64    `json:"done"`
	Total   api.Uint64    `json:"total"`
	Leased  api.Uint64    `json:"leased"`
	Rate    float64       `json:"rate"` // nonces/s of all workers
	ETA     *float64      `json:"eta_seconds"`
	Workers activeWorkers `json:"workers"`
}

type activeWorkers struct {
	Active int `json:"active"`
}

// resultLine is how a job ended, as --json writes it.
type resultLine struct {
	Type  string      `json:"type"` // result
	Job   string      `json:"job"`
	State string      `json:"state"`
	Found []foundLine `json:"found"`
	Done  api.Uint64  `json:"done"`
	Total api.Uint64  `json:"total"`
}

type foundLine struct {
	Nonce api.Uint64 `json:"nonce"`
	Hash  string     `json:"hash"`
}

// follow shows a job's progress until it has ended, and then its result. The error is that of how it ended.
func (a *app) follow(ctx context.Context, c *api.Client, id string) error {
	p := progress{app: a}
	var job api.Job
	for j, err := range c.WatchJob(ctx, id) {
		if err != nil {
			p.clear()
			return err
		}
		if job = j; !j.Ended() {
			if err := p.show(j, time.Now()); err != nil {
				return err
			}
		}
	}
	p.clear()
	if !job.Ended() {
		a.note("still running in the network; see it again with: p2pnode work watch %s", id)
		return ctx.Err()
	}
	return a.finish(job)
}

// finish shows how a job ended.
func (a *app) finish(j api.Job) error {
	if a.json {
		line := resultLine{Type: "result", Job: j.ID, State: j.State, Found: []foundLine{}, Done: j.Done, Total: j.Total}
		for _, f := range j.Found {
			line.Found = append(line.Found, foundLine{f.Nonce, f.Hash})
		}
		if err := a.writeJSON(line); err != nil {
			return err
		}
	} else {
		for _, f := range j.Found {
			a.printf("nonce %s  hash %s\n", f.Nonce, plain(f.Hash))
		}
		a.note("%s %s: searched %s of %s nonces", cell(firstOf(j.Name, j.ID), 40), j.State, group(uint64(j.Done)), group(uint64(j.Total)))
	}
	switch j.State {
	case api.JobCanceled:
		return node.NewError(node.CodeJobCanceled, nil, "job "+j.ID+" was cancelled", "")
	case api.JobFailed:
		return node.NewError(node.CodeJobFailed, nil, "job "+j.ID+" failed: several workers were lost on part of its range", "'p2pnode work show "+j.ID+"' says which part")
	case api.JobExhausted:
		return node.NewError(node.CodeNothingFound, nil, fmt.Sprintf("none of the %s nonces from %s to %s meets the target", group(uint64(j.Total)), j.Range.Start, j.Range.End), "")
	}
	return nil
}

// progress shows one job over and over: a line that is redrawn on a terminal, else one line a second.
type progress struct {
	app   *app
	last  time.Time
	drawn bool
}

const progressPause = time.Second

func (p *progress) show(j api.Job, now time.Time) error {
	a := p.app
	redraw := a.terminal() && !a.json
	if a.quiet || !redraw && now.Sub(p.last) < progressPause {
		return nil
	}
	p.last = now
	if a.json {
		return a.writeJSON(progressLine{
			Type: "progress", Job: j.ID, Done: j.Done, Total: j.Total, Leased: j.Leased,
			Rate: networkRate(j.JobSummary), ETA: j.ETASeconds, Workers: activeWorkers{j.Workers},
		})
	}
	line := jobProgress(j)
	if !redraw {
		a.note("%s", line)
		return nil
	}
	fmt.Fprintf(a.out, "\r\x1b[K%s", line)
	p.drawn = true
	return nil
}

// clear takes the redrawn line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.app.out, "\r\x1b[K")
	}
}

// jobProgress is a job on one line: name, bar, share, rate, time left, workers.
func jobProgress(j api.Job) string {
	const width = 30
	full := 0
	if j.Total > 0 {
		full = int(float64(j.Done) / float64(j.Total) * width)
	}
	bar := strings.Repeat("█", full) + strings.Repeat("░", width-full)
	return fmt.Sprintf("[%s]  %s  %s", bar, jobLine(j.JobSummary), count(j.Workers, "worker"))
}
