package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/p2pnode/p2pnode/node"
)

func (a *app) initCommand() *cobra.Command {
	var force bool
	var profile, config string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a configuration and an identity",
		Long: `Make a configuration and an identity. 'run' makes what is missing by itself; this is to look at it first.

An identity is never overwritten: --force moves it, and the configuration, aside.`,
		Args: exactArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			p := firstOf(profile, node.ProfileLAN)
			if def := node.DefaultConfig(p); def.Validate() != nil {
				return usageError("--profile %q: must be local, lan or wan", profile)
			}
			paths, err := a.paths()
			if err != nil {
				return err
			}
			paths.Config = firstOf(config, os.Getenv(envConfig), paths.Config)
			return a.makeHome(paths, p, force)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "move aside what is there and make it anew")
	c.Flags().StringVar(&profile, "profile", "", "lan, wan or local (default lan)")
	c.Flags().StringVar(&config, "config", "", "file to write the configuration to")
	return c
}

func (a *app) makeHome(paths node.Paths, profile string, force bool) error {
	// Nobody may use the identity while it moves.
	release, err := node.LockDir(paths.Data, node.LockInfo{PID: os.Getpid(), Started: time.Now()})
	if err != nil {
		return err
	}
	defer release()
	var moved []string
	if force {
		if moved, err = moveAside(paths.Config, time.Now()); err != nil {
			return err
		}
	}
	madeConfig, err := writeNew(paths.Config, freshConfig(profile))
	if err != nil {
		return err
	}
	cfg, err := a.loadConfig(paths.Config, nil)
	if err != nil {
		return err
	}
	file := cfg.IdentityPath()
	if force {
		more, err := moveAside(file, time.Now())
		if err != nil {
			return err
		}
		moved = append(moved, more...)
	}
	madeKey := true
	key, err := node.MakeIdentity(file)
	if errors.Is(err, fs.ErrExist) && madeConfig {
		madeKey = false // a node has run here without a configuration
		key, err = node.LoadIdentity(file)
	}
	if err != nil {
		return err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("peer id: %w", err)
	}
	return a.showHome(newHome{
		ID: id.String(), Config: paths.Config, Identity: file,
		MadeConfig: madeConfig, MadeIdentity: madeKey, Moved: orEmpty(moved),
	})
}

// newHome is what init did, as --json writes it.
type newHome struct {
	ID           string   `json:"id"`
	Config       string   `json:"config"`
	Identity     string   `json:"identity"`
	MadeConfig   bool     `json:"made_config"` // false: it was there and was kept
	MadeIdentity bool     `json:"made_identity"`
	Moved        []string `json:"moved"` // new names of what was moved aside
}

func (a *app) showHome(h newHome) error {
	switch {
	case a.json:
		return a.writeJSON(h)
	case a.quiet:
		a.printf("%s\n", h.ID)
		return nil
	}
	did := map[bool]string{true: "made", false: "kept"}
	for _, name := range h.Moved {
		a.printf("moved what was there to %s\n", name)
	}
	a.printf("%s %s\n", did[h.MadeConfig], h.Config)
	a.printf("%s %s (ed25519, mode 0600)\n", did[h.MadeIdentity], h.Identity)
	a.printf("peer id %s\nnext: p2pnode run\n", h.ID)
	return nil
}

// moveAside renames a file to FILE.bak-TIME and returns the new name; nothing when there is no file.
func moveAside(file string, now time.Time) ([]string, error) {
	backup := file + ".bak-" + now.UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(backup); err == nil {
		return nil, node.NewError(node.CodeKeyExists, fs.ErrExist, backup+" exists already", "try again in a second")
	}
	switch err := os.Rename(file, backup); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, node.NewError(node.CodeKeyUnreadable, err, err.Error(), "")
	}
	return []string{backup}, nil
}

// writeNew writes a file that is not there yet. It reports whether it did.
func writeNew(file, text string) (bool, error) {
	fail := func(err error) (bool, error) {
		return false, node.NewError(node.CodeStoreUnreadable, err, fmt.Sprintf("the configuration can't be written: %v", err), "give another directory with --home")
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return fail(err)
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fail(err)
	}
	return true, nil
}
