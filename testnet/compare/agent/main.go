// Command agent is one node of a contender that is a library: it joins a cluster, writes what it sees of the others to
// standard output as package event says, and ends when standard input does, so that none outlives its runner.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// options are what every contender is told.
type options struct {
	name string
	bind netip.AddrPort // UDP and TCP
	join string         // ADDR:PORT of a node of the cluster; "": the first one
	tell *event.Writer
	log  io.Writer
}

// contenders start a node that has joined, by name of the contender.
var contenders = map[string]func(options) error{
	"memberlist":      func(o options) error { return runMemberlist(o, false) },
	"memberlist-fast": func(o options) error { return runMemberlist(o, true) },
	"serf":            runSerf,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run() error {
	kind := flag.String("kind", "", "memberlist, memberlist-fast or serf")
	name := flag.String("name", "", "name of the node")
	bind := flag.String("bind", "", "ADDR:PORT to listen on")
	join := flag.String("join", "", "ADDR:PORT of a node of the cluster")
	flag.Parse()
	start, ok := contenders[*kind]
	if !ok {
		return fmt.Errorf("unknown contender %q", *kind)
	}
	addr, err := netip.ParseAddrPort(*bind)
	if err != nil {
		return fmt.Errorf("-bind: %w", err)
	}
	// The libraries log each probe at level DEBUG; a production set-up filters that out too.
	o := options{name: *name, bind: addr, join: *join, tell: event.NewWriter(os.Stdout), log: withoutDebug{os.Stderr}}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := start(o); err != nil {
		return fmt.Errorf("start %s: %w", *kind, err)
	}
	select {}
}

// withoutDebug drops lines of level DEBUG.
type withoutDebug struct{ w io.Writer }

func (f withoutDebug) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "[DEBUG]") {
		return len(line), nil
	}
	return f.w.Write(line)
}

// joinAgain is the pause between attempts to join: on a full machine one may fail, and a service would try again too.
const joinAgain = time.Second

// joined returns when join has reached the cluster; the runner ends a node that it has waited for long enough.
func (o options) joined(join func(addrs []string) error) {
	for o.join != "" {
		err := join([]string{o.join})
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "agent: join:", err)
		time.Sleep(joinAgain)
	}
}

// must ends the process when its runner no longer reads: nobody wants the node then.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent: tell the runner:", err)
		os.Exit(1)
	}
}
