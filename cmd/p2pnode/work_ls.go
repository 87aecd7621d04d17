package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) workLsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List jobs",
		Args:  exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				jobs, err := node.Jobs(ctx)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(struct {
						Schema string    `json:"schema"`
						Jobs   []api.Job `json:"jobs"`
					}{"p2pnode.jobs/v1", orEmpty(jobs)})
				}
				if a.quiet {
					for _, j := range jobs {
						a.printf("%s\n", j.ID)
					}
					return nil
				}
				return a.showJobs(ctx, jobs, &names{node: node})
			})
		},
	}
}

func (a *app) showJobs(ctx context.Context, jobs []api.Job, who *names) error {
	if len(jobs) == 0 {
		a.note("no jobs")
		return nil
	}
	t := a.table("JOB", "NAME", "KIND", "STATE", "DONE", "RATE", "ETA", "WORKERS", "FOUND", "BY")
	for _, j := range jobs {
		eta := none
		if j.ETASeconds != nil && !j.Ended() {
			eta = span(seconds(*j.ETASeconds))
		}
		t.row(j.ID, cell(j.Name, 20), cell(j.Kind, 12), a.status(j.State), share(uint64(j.Done), uint64(j.Total)),
			rate(networkRate(j.JobSummary)), eta, j.Workers, len(j.Found), who.of(ctx, j.Submitter))
	}
	return t.write()
}
