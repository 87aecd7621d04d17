// Package testnet runs whole networks of real p2pnode processes on one machine's loopback: no docker, no root. It is what
// `p2pnode testnet` and testnet.sh are made of. It needs Linux, whose /proc tells one process from the next with its pid.
//
// A testnet is a directory. It outlives the command that made it, and every other command finds its way from there:
//
//	DIR/NAME.lock            held by the command that changes the testnet, and gone afterwards
//	DIR/ports.lock           held while free ports are picked
//	DIR/NAME/testnet.json    nodes, their ports and peer ids
//	DIR/NAME/n1/             home of node n1: what p2pnode keeps there, and
//	DIR/NAME/n1/pid          pid, start time and boot of its process, so that a reused pid is never killed
//	DIR/NAME/n1/log          its output, over all restarts
//
// Nodes are sessions of their own: they live on when the command ends, and Ctrl-C does not reach them. The network's name
// is testnet-NAME, so two testnets never mix.
package testnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/p2pnode/p2pnode/node"
)

// Defaults and limits.
const (
	DefaultName     = "default"
	DefaultDeadline = 30 * time.Second
	MaxNodes        = 200 // guess: 100 processes take some 4 GB
)

// Options choose a testnet and how it is run. The zero value is the testnet "default" of the calling program.
type Options struct {
	Name     string        // 1-24 of [a-z0-9-]; "": DefaultName
	Dir      string        // where all testnets live; "": $P2PNODE_TESTNET_DIR, else ~/.p2pnode-testnet
	Binary   string        // the p2pnode to run; "": the calling program
	Deadline time.Duration // for Up and Restart, until the nodes are ready and agree; 0: DefaultDeadline
}

// NodeState says whether a node's process lives.
type NodeState string

// The states of a node.
const (
	StateUp     NodeState = "up"     // the process lives and answers
	StateSilent NodeState = "silent" // the process lives, but its API does not answer
	StateKilled NodeState = "killed" // there is no process
)

// Node is one node of a testnet as it is now.
type Node struct {
	Name         string            `json:"name"`
	ID           string            `json:"id"` // peer id, full; "" before its first start
	State        NodeState         `json:"state"`
	PID          int               `json:"pid"`           // 0: no process
	Address      string            `json:"address"`       // multiaddr, without /p2p/
	API          string            `json:"api"`           // path of the API socket; "" while no process lives
	Home         string            `json:"home"`          // data directory
	MembersAlive int               `json:"members_alive"` // as this node sees it, itself included; 0 unless up
	Fingerprints map[string]string `json:"fingerprints"`  // topic -> 64 hex digits for all that it holds; empty unless up
	Agrees       int               `json:"agrees"`        // nodes that are up and hold the same on every topic, itself included
}

// Status looks at every node. The error is a *node.Error unknown-testnet when there is no such testnet.
func Status(ctx context.Context, o Options) (Report, error) {
	l, err := o.layout()
	if err != nil {
		return Report{}, err
	}
	p, err := l.load()
	if err != nil {
		return Report{}, err
	}
	nodes, err := l.survey(ctx, p)
	return Report{Name: l.name, Nodes: nodes}, err
}

// Down stops every process of the testnet, by SIGTERM and after a few seconds, or when ctx ends, by SIGKILL, and removes its
// directory. It says how many processes it stopped; existed is false when there was no such testnet, which is no error.
func Down(ctx context.Context, o Options) (stopped int, existed bool, err error) {
	l, err := o.layout()
	if err != nil {
		return 0, false, err
	}
	release, err := l.change(ctx)
	if err != nil {
		return 0, false, err
	}
	defer release()
	existed = l.exists()
	ps, err := l.processes()
	if err != nil {
		return 0, existed, err
	}
	if stopped, err = stop(ctx, downGrace, ps); err != nil {
		return stopped, existed, err
	}
	return stopped, existed, os.RemoveAll(l.dir)
}

// Kill ends a node's process by SIGKILL and returns when it is gone. A node without a process is no error.
func Kill(ctx context.Context, o Options, name string) (Node, error) {
	l, err := o.layout()
	if err != nil {
		return Node{}, err
	}
	release, err := l.change(ctx)
	if err != nil {
		return Node{}, err
	}
	defer release()
	p, i, err := l.find(name)
	if err != nil {
		return Node{}, err
	}
	proc, err := readPID(l.pid(name))
	if err == nil {
		err = kill(proc)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Node{}, err
	}
	return l.node(p.Nodes[i]), nil
}

// Restart starts a node again on its own home and ports, after a SIGTERM if it still runs, and returns when it is ready.
func Restart(ctx context.Context, o Options, name string) (Node, error) {
	l, err := o.layout()
	if err != nil {
		return Node{}, err
	}
	release, err := l.change(ctx)
	if err != nil {
		return Node{}, err
	}
	defer release()
	p, i, err := l.find(name)
	if err != nil {
		return Node{}, err
	}
	if proc, err := readPID(l.pid(name)); err == nil {
		if _, err := stop(ctx, leaveGrace, []process{proc}); err != nil {
			return Node{}, err
		}
	}
	ctx, cancel := o.withDeadline(ctx)
	defer cancel()
	c, err := l.spawn(p.Nodes[i], l.bootstraps(p, i))
	if err != nil {
		return Node{}, err
	}
	if p.Nodes[i].ID, err = c.ready(ctx); err != nil {
		return Node{}, err
	}
	if err := l.save(p); err != nil {
		return Node{}, err
	}
	n := l.node(p.Nodes[i])
	n.State = StateUp
	return n, l.look(ctx, &n)
}

// bootstraps are the addresses that a restarted node joins through: of the first two others that run.
func (l layout) bootstraps(p plan, self int) []string {
	var addrs []string
	for i, pn := range p.Nodes {
		if i != self && len(addrs) < 2 && pn.ID != "" && l.node(pn).State != StateKilled {
			addrs = append(addrs, pn.dialAddress())
		}
	}
	return addrs
}

// change takes the testnet's lock.
func (l layout) change(ctx context.Context) (release func(), err error) {
	return lock(ctx, l.lockFile(), fmt.Sprintf("is at work on testnet %q", l.name))
}

// Logs copies a node's log to w.
func Logs(_ context.Context, o Options, name string, w io.Writer) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	if _, _, err := l.find(name); err != nil {
		return err
	}
	f, err := os.Open(l.log(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil // never started, so it has said nothing
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// Exec replaces the calling process by argv, with an environment in which `p2pnode` is this testnet's program and talks to
// the named node. Standard input, exit code and signals are those of argv. It returns only when argv cannot be started.
func Exec(o Options, name string, argv []string) error {
	l, err := o.layout()
	if err != nil {
		return err
	}
	if _, _, err := l.find(name); err != nil {
		return err
	}
	if len(argv) == 0 {
		return node.NewError(node.CodeBadUsage, nil, "no command to run", "write it behind --")
	}
	bin := filepath.Dir(l.binary)
	path, err := exec.LookPath(argv[0])
	if own, ownErr := exec.LookPath(filepath.Join(bin, argv[0])); ownErr == nil && !strings.Contains(argv[0], "/") {
		path, err = own, nil
	}
	if err != nil {
		return node.NewError(node.CodeNotFound, err, fmt.Sprintf("no program %q", argv[0]), "")
	}
	err = syscall.Exec(path, argv, environment(
		"P2PNODE_HOME="+l.home(name), "P2PNODE_API=unix:"+l.socket(name), "P2PNODE_TESTNET_DIR="+l.root,
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH")))
	return fmt.Errorf("run %s: %w", path, err)
}

// Locate returns home and API address of the node that ref names: nX of the testnet of o, or NAME/nX. It is what
// `p2pnode --node` means.
func Locate(o Options, ref string) (home, api string, err error) {
	if name, n, ok := strings.Cut(ref, "/"); ok {
		if name == "" {
			return "", "", node.NewError(node.CodeBadUsage, nil, fmt.Sprintf("%q is no node of a testnet", ref), "write nX or NAME/nX")
		}
		o.Name, ref = name, n
	}
	l, err := o.layout()
	if err != nil {
		return "", "", err
	}
	if _, _, err := l.find(ref); err != nil {
		return "", "", err
	}
	return l.home(ref), "unix:" + l.socket(ref), nil
}
