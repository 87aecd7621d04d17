// Command compare measures p2pnode beside other programs that keep a membership: in one run, on one machine, each node a
// process of its own, every contender by the same clock.
//
//	go -C testnet/compare run .                                   # everything: about an hour
//	go -C testnet/compare run . -measures crash,freeze -nodes 8   # a first look
//
// Contenders are memberlist and serf with their LAN defaults, memberlist with faster clocks, the program p2pnode, and, for
// what idle nodes cost, bare libp2p hosts with as many connections as p2pnode kept. Nodes live on a simulated LAN, a network
// namespace each (package lab: Linux and root), or, where that cannot be made and the measure does not need it, on loopback.
//
// An event counts from when this program reads it: an agent's from a pipe, p2pnode's from the event stream of its API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/p2pnode/p2pnode/testnet/lab"
)

// defaultDegree is how many connections libp2p alone keeps when p2pnode was not measured before it: p2pnode's target.
const defaultDegree = 8

// options are what the caller chose.
type options struct {
	measures, contenders string // names with commas; "": all
	nodes                int    // 0: as each measure says
	net                  string // auto, lab or loopback
	json                 bool
	p2pnode              string // program; "": built from this repository
	keep                 bool
	seed                 uint64

	faults   int           // of crash and silent
	patience time.Duration // for all to see one
	settle   time.Duration // before each crash, and before what is done once
	recovery time.Duration // before each silence

	freeze, after time.Duration

	loss    float64 // percent
	lossFor time.Duration

	idle, idleSettle time.Duration
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(&o.measures, "measures", "", "which of crash,silent,freeze,loss,idle (default all)")
	f.StringVar(&o.contenders, "contenders", "", "which, by name, with commas (default all)")
	f.IntVar(&o.nodes, "nodes", 0, "number of nodes (default 32, loss 64, idle 128)")
	f.StringVar(&o.net, "net", "auto", "lab, loopback, or auto: lab where it can be made")
	f.BoolVar(&o.json, "json", false, "write a line of JSON for each contender and measure")
	f.StringVar(&o.p2pnode, "p2pnode", "", "the program to measure (default: built from this repository)")
	f.BoolVar(&o.keep, "keep", false, "keep the nodes' logs")
	f.Uint64Var(&o.seed, "seed", 1, "chooses the nodes that fail")
	f.IntVar(&o.faults, "faults", 5, "crash and silent: how many nodes fail, one after the other")
	f.DurationVar(&o.patience, "patience", time.Minute, "crash and silent: how long the others have to see it")
	f.DurationVar(&o.settle, "settle", 5*time.Second, "crash, freeze and loss: pause before each fault")
	// Who was cut off trusts itself less for a while, by Lifeguard's local health: p2pnode for half a minute.
	f.DurationVar(&o.recovery, "recovery", 30*time.Second, "silent: pause before each fault")
	f.DurationVar(&o.freeze, "freeze", 3*time.Second, "freeze: how long nodes are stopped")
	f.DurationVar(&o.after, "after", 20*time.Second, "freeze: how long deaths are counted after it")
	f.Float64Var(&o.loss, "loss", 20, "loss: percent of the packets")
	f.DurationVar(&o.lossFor, "loss-for", 2*time.Minute, "loss: how long")
	f.DurationVar(&o.idle, "idle", time.Minute, "idle: how long")
	f.DurationVar(&o.idleSettle, "idle-settle", time.Minute, "idle: pause before it")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.nodes < 0 || o.nodes == 1:
		return o, errors.New("-nodes must be 2 or more")
	case o.faults < 1:
		return o, errors.New("-faults must be 1 or more")
	case o.net != "auto" && o.net != "lab" && o.net != "loopback":
		return o, fmt.Errorf("-net must be auto, lab or loopback, not %q", o.net)
	case o.loss < 0 || o.loss > 100:
		return o, errors.New("-loss must be 0 to 100")
	case o.idle <= 0:
		return o, errors.New("-idle must be longer than 0s")
	}
	return o, nil
}

func main() {
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// run compares, and writes each table when it is complete.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "compare") // short: paths of sockets end at 107 bytes
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "logs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	bin, err := build(dir, o.p2pnode)
	if err != nil {
		return err
	}
	s := &session{options: o, dir: dir, progress: os.Stderr, degree: defaultDegree}
	if s.makeNet, err = networks(o.net); err != nil {
		return err
	}
	all, err := contenders(bin, &s.degree)
	if err != nil {
		return err
	}
	chosen, err := named(all, func(c *contender) string { return c.name }, o.contenders)
	if err != nil {
		return fmt.Errorf("-contenders: %w", err)
	}
	measured, err := named(measures(o), func(m measure) string { return m.name }, o.measures)
	if err != nil {
		return fmt.Errorf("-measures: %w", err)
	}
	anyFailed := false
	for _, m := range measured {
		t, failed, err := s.compare(ctx, m, chosen)
		if err != nil {
			return err
		}
		anyFailed = anyFailed || failed
		write := t.writeText
		if o.json {
			write = t.writeJSON
		}
		if err := write(os.Stdout); err != nil {
			return err
		}
	}
	if anyFailed {
		return errors.New("not everything could be measured: see the notes")
	}
	return nil
}

// networks says how the network of a cluster is made.
func networks(kind string) (func(n int) (network, error), error) {
	unavailable := lab.Available()
	if kind == "loopback" || kind == "auto" && unavailable != nil {
		if kind == "auto" {
			fmt.Fprintln(os.Stderr, "on loopback:", unavailable)
		}
		return func(n int) (network, error) { return newLoopback(n) }, nil
	}
	if unavailable != nil {
		return nil, unavailable
	}
	return func(n int) (network, error) { return newLAN(n) }, nil
}
