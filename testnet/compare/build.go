package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binaries are the programs of the comparison, in a directory that may be removed.
type binaries struct{ dir, p2pnode, agent, bare string }

// build makes the programs from this directory's sources; p2pnode is one that exists already, or "".
func build(dir, p2pnode string) (binaries, error) {
	if _, err := os.Stat("agent/main.go"); err != nil {
		return binaries{}, errors.New("no agent/main.go here: start with 'go -C testnet/compare run .' in the repository")
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	b := binaries{dir: dir, agent: in("agent"), bare: in("bare"), p2pnode: in("p2pnode")}
	if err := goBuild(".", b.agent, "./agent"); err != nil {
		return b, err
	}
	if err := goBuild(".", b.bare, "./bare"); err != nil {
		return b, err
	}
	if p2pnode != "" {
		var err error
		b.p2pnode, err = filepath.Abs(p2pnode)
		return b, err
	}
	// In its own module, so that it is made of the versions that it names.
	return b, goBuild("../..", b.p2pnode, "./cmd/p2pnode")
}

func goBuild(dir, output, pkg string) error {
	cmd := exec.Command("go", "build", "-o", output, pkg)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, said)
	}
	return nil
}
