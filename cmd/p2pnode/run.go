package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

func (a *app) runCommand() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run a node until Ctrl-C",
		Long: `Run a node until Ctrl-C or SIGTERM; it then tells the others that it leaves. A second signal stops it at once.

A flag counts before the environment (P2PNODE_SECTION_KEY), that before config.toml, and that before the profile's
defaults. A list given by flag replaces one from elsewhere. Without --bootstrap a node is the first of its network, or
finds it on the local link.`,
		Args: exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig(config, c.Flags())
			if err != nil {
				return err
			}
			return a.run(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file (default: config.toml in its usual place, if it is there)")
	addConfigFlags(c.Flags())
	return c
}

// addConfigFlags adds the flags that are settings; configFlags says which. Without a flag the setting comes from
// elsewhere, so none has a default here.
func addConfigFlags(f *pflag.FlagSet) {
	f.StringArray("bootstrap", nil, "multiaddr, with /p2p/, of a node to join through; may be repeated")
	f.StringArray("listen", nil, "multiaddr to listen on; may be repeated")
	f.StringArray("announce", nil, "multiaddr to tell others beside those found; may be repeated")
	f.StringArray("topic", nil, "state topic to take part in; may be repeated (default main)")
	f.String("name", "", "what others see in their tables (default: the host name)")
	f.String("network", "", "network to be part of (default main)")
	f.String("profile", "", "lan, wan or local (default lan)")
	f.Bool("quiet-node", false, "cost as little as possible while idle, and notice failures later")
	f.String("api", "", "where the API listens: unix:PATH or off")
	f.String("log-level", "", "debug, info, warn or error (default info)")
	f.String("log-format", "", "text or json (default text)")
}

// run runs a node and its API until ctx ends, and then until the node has left.
func (a *app) run(ctx context.Context, cfg node.Config) error {
	began := time.Now()
	log, err := logger(cfg.Log)
	if err != nil {
		return err
	}
	n, err := node.New(cfg, node.Options{Logger: log, Version: readVersion().Version, API: cfg.API.Listen})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serve := func(context.Context) error { return nil }
	if cfg.API.Listen != apiOff {
		server, err := listenAPI(n, api.Config{Listen: cfg.API.Listen, Stop: stop, Logger: log})
		if err != nil {
			return errors.Join(err, n.Close())
		}
		serve = server.Serve
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stop() // whatever ends the node ends the rest
		return n.Run(ctx)
	})
	g.Go(func() error { return serve(ctx) })
	g.Go(func() error {
		a.narrate(ctx, n, cfg.API.Listen, began)
		return nil
	})
	return g.Wait()
}

// listenAPI opens the API, so that a fault shows before the node takes part in anything.
func listenAPI(n *node.Node, cfg api.Config) (*api.Server, error) {
	server, err := api.New(api.Of(n), cfg)
	if err != nil {
		return nil, err
	}
	return server, server.Listen()
}
