package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) workShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show JOB",
		Short: "Tell of one job",
		Long:  "Tell of one job. JOB is its id, its name, or a beginning of the id of at least 4 digits.",
		Args:  exactArgs("JOB"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.ask(c.Context(), func(ctx context.Context, node *api.Client) error {
				j, err := node.Job(ctx, args[0])
				switch {
				case err != nil:
					return err
				case a.json:
					return a.writeJSON(j)
				case a.quiet:
					a.printf("%s\n", j.ID)
					return nil
				}
				return a.showJob(ctx, j, &names{node: node})
			})
		},
	}
}

func (a *app) showJob(ctx context.Context, j api.Job, who *names) error {
	line := func(name, format string, args ...any) { a.printf("%-9s  %s\n", name, fmt.Sprintf(format, args...)) }
	line("job", "%s", j.ID)
	line("name", "%s", cell(j.Name, 64))
	line("state", "%s", a.status(j.State))
	line("by", "%s", who.of(ctx, j.Submitter))
	line("kind", "%s, stop %s", plain(j.Kind), plain(j.Stop))
	line("target", "%s", plain(j.Target))
	line("range", "%s : %s, in cells of %s", group(uint64(j.Range.Start)), group(uint64(j.Range.End)), group(uint64(j.Chunk)))
	line("done", "%s of %s, %s", group(uint64(j.Done)), group(uint64(j.Total)), share(uint64(j.Done), uint64(j.Total)))
	if !j.Ended() {
		line("running", "%s leased by %s, %s", group(uint64(j.Leased)), count(j.Workers, "worker"), rate(networkRate(j.JobSummary)))
	}
	for _, r := range j.Failed {
		line("given up", "%s : %s", group(uint64(r.Start)), group(uint64(r.End)))
	}
	for _, f := range j.Found {
		line("found", "nonce %s  hash %s  by %s", f.Nonce, plain(f.Hash), who.of(ctx, f.Worker))
	}
	return nil
}
